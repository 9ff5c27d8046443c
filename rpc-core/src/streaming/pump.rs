//! Moves items from the user's stream into a connection: encodes as many as there is credit for,
//! and waits for more.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use serde::Serialize;

use super::{Source, Streaming};
use crate::{
    codec::{Bincode, Codec},
    connection::Connection,
    error::ErrorKind,
    frame::{self, CallId},
    mux::{ITEM_COST, Room},
};

/// How often it goes round before other tasks have their turn.
const ROUNDS: usize = 32;

/// Items that are staged at a time, however small.
const STAGED_MAX: usize = 256;

/// Why items break off.
pub(crate) type Broken = (ErrorKind, String);

/// Items of some type, encoded one by one.
pub(crate) trait ItemSource: Send {
    /// Appends the next item's encoding. `None` after the last.
    fn poll_item(
        &mut self,
        cx: &mut Context<'_>,
        item: &mut Vec<u8>,
    ) -> Poll<Option<Result<(), Broken>>>;
}

/// A source of items, whatever their type.
pub(crate) type Items = Box<dyn ItemSource>;

impl<T: Serialize> ItemSource for Streaming<T> {
    fn poll_item(
        &mut self,
        cx: &mut Context<'_>,
        item: &mut Vec<u8>,
    ) -> Poll<Option<Result<(), Broken>>> {
        if let Source::Remote(incoming, _) = &mut self.source {
            // Forwarded as it came: both ends have the same type.
            return incoming.poll_next(cx).map(|next| {
                Some(match next? {
                    Ok(bytes) => {
                        item.extend_from_slice(&bytes);
                        Ok(())
                    }
                    Err(error) => Err((
                        ErrorKind::Cancelled,
                        format!("the stream it forwards broke off: {error}"),
                    )),
                })
            });
        }
        let Source::Local(stream) = &mut self.source else { return Poll::Ready(None) };
        stream.as_mut().poll_next(cx).map(|next| {
            Some(Bincode::encode(&next?, item).map_err(|error| {
                (ErrorKind::MalformedReply, format!("an item could not be encoded: {error}"))
            }))
        })
    }
}

/// How pumping ended.
#[derive(Debug)]
pub(crate) enum Pumped {
    /// Every item is queued.
    Finished,
    /// Nobody wants any more.
    Gone,
    /// The source broke off.
    Broken(Broken),
}

/// One stream on its way out.
pub(crate) struct Pump {
    connection: Arc<Connection>,
    id: CallId,
    items: Items,
    /// Frames of small items, what they cost, and what is next when they are sent.
    staged: Vec<u8>,
    cost: usize,
    then: Option<Staged>,
    /// An item that hasn't been sent yet.
    next: Option<Vec<u8>>,
}

/// What staging came to.
enum Staged {
    /// There is no room for more.
    Full,
    /// The source has no item at present.
    Dry,
    End(Pumped),
}

impl Pump {
    pub(crate) fn new(connection: Arc<Connection>, id: CallId, items: Items) -> Self {
        Self { connection, id, items, staged: Vec::new(), cost: 0, then: None, next: None }
    }

    /// Sends what there is. Ready when there is nothing more to be done; the caller then says so to
    /// the peer. Panics of the source are contained.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Pumped> {
        for _ in 0..ROUNDS {
            let room = match self.connection.poll_room(self.id, self.cost, cx.waker()) {
                Poll::Ready(Room::Bytes { cost, item }) => (cost, item),
                Poll::Ready(Room::Gone) => return Poll::Ready(Pumped::Gone),
                Poll::Pending => return Poll::Pending,
            };
            let then = match self.then.take() {
                Some(then) => then,
                None => self.stage_safely(cx, room),
            };
            let cost = self.cost;
            if cost > 0 {
                if !self.connection.send_items(self.id, &self.staged, cost) {
                    // Others have taken the room meanwhile.
                    self.then = Some(then);
                    continue;
                }
                self.cost = 0;
                self.staged.clear();
            }
            match then {
                Staged::Full if cost == 0 => {
                    // Larger than the room, or than what is copied.
                    let item = self.next.take().unwrap_or_default();
                    self.connection.send_large_item(self.id, Bytes::from(item));
                }
                Staged::Full => {}
                Staged::Dry => return Poll::Pending,
                Staged::End(end) => return Poll::Ready(end),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn stage_safely(&mut self, cx: &mut Context<'_>, room: (usize, usize)) -> Staged {
        let staging = AssertUnwindSafe(|| self.stage(cx, room));
        catch_unwind(staging).unwrap_or_else(|panic| {
            crate::connection::forget_panic(panic);
            Staged::End(Pumped::Broken((ErrorKind::HandlerPanicked, String::new())))
        })
    }

    /// Stages small items, as far as there is room for them.
    fn stage(&mut self, cx: &mut Context<'_>, (room, largest): (usize, usize)) -> Staged {
        for _ in 0..STAGED_MAX {
            let item = match self.next.take() {
                Some(item) => item,
                None => {
                    let mut item = Vec::new();
                    match self.items.poll_item(cx, &mut item) {
                        Poll::Ready(Some(Ok(()))) => item,
                        Poll::Ready(Some(Err(broken))) => {
                            return Staged::End(Pumped::Broken(broken));
                        }
                        Poll::Ready(None) => return Staged::End(Pumped::Finished),
                        Poll::Pending => return Staged::Dry,
                    }
                }
            };
            if item.len() > largest || self.cost + item.len() + ITEM_COST > room {
                self.next = Some(item);
                return Staged::Full;
            }
            self.cost += item.len() + ITEM_COST;
            frame::framed(&mut self.staged, self.id.lane(), false, |out| {
                frame::encode_item_header(out, false);
                out.extend_from_slice(&item);
            });
        }
        Staged::Full
    }
}

/// The task that sends the items of a call's arguments.
pub(crate) struct ArgumentPump {
    pump: Pump,
    is_over: bool,
}

impl ArgumentPump {
    pub(crate) fn new(pump: Pump) -> Self {
        Self { pump, is_over: false }
    }
}

impl Future for ArgumentPump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let end = std::task::ready!(self.pump.poll(cx));
        self.is_over = true;
        let Pump { connection, id, .. } = &self.pump;
        match end {
            Pumped::Finished => connection.end_writer(*id),
            Pumped::Gone => {}
            Pumped::Broken(_) => connection.abort_writer(*id),
        }
        Poll::Ready(())
    }
}

impl Drop for ArgumentPump {
    fn drop(&mut self) {
        if !self.is_over {
            self.pump.connection.abort_writer(self.pump.id);
        }
    }
}
