//! Moves items from the user's stream into a connection: encodes as many as there is credit for,
//! and waits for more.

use std::{
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use serde::Serialize;

use super::{Source, Streaming};
use crate::{
    codec::{Bincode, Codec},
    connection::Connection,
    error::{Delivery, ErrorKind, RpcError},
    frame::{self, CallId},
    mux::{ITEM_COST, Need, Room},
};

/// How often it goes round before other tasks have their turn.
const ROUNDS: usize = 32;

/// Items that are staged at a time, however small.
const STAGED_MAX: usize = 256;

/// Why items break off.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// One of them can't be encoded, and why.
    Unencodable(String),
    /// One of them is above a limit, and which.
    TooLarge(String),
    /// The stream that is forwarded broke off, and how.
    Forwarded(String),
    /// Their sender gave up, and why.
    Aborted(String),
    /// The code that makes them panicked.
    Panicked,
}

impl Broken {
    /// What the caller learns when it is the arguments' stream that breaks off.
    fn of_arguments(self) -> (ErrorKind, String) {
        match self {
            Self::Unencodable(text) => (ErrorKind::MalformedRequest, text),
            Self::Panicked => {
                let text = "the stream among its arguments panicked";
                (ErrorKind::MalformedRequest, text.into())
            }
            Self::TooLarge(text) => (ErrorKind::TooLarge, text),
            Self::Forwarded(text) | Self::Aborted(text) => (ErrorKind::Cancelled, text),
        }
    }

    /// What a reader in the same process gets.
    pub(super) fn within_process(self) -> RpcError {
        let (kind, text) = self.of_reply();
        RpcError::new(kind, Delivery::Replied, text)
    }

    /// What the caller learns when it is the reply that breaks off. The text of a panic stays here.
    pub(crate) fn of_reply(self) -> (ErrorKind, String) {
        match self {
            Self::Unencodable(text) => (ErrorKind::MalformedReply, text),
            Self::Panicked => (ErrorKind::HandlerPanicked, String::new()),
            Self::TooLarge(text) => (ErrorKind::TooLarge, text),
            Self::Forwarded(text) | Self::Aborted(text) => (ErrorKind::Cancelled, text),
        }
    }
}

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
                    Err(error) => Err(Broken::Forwarded(format!(
                        "the stream that it forwards broke off: {error}"
                    ))),
                })
            });
        }
        let next = match &mut self.source {
            Source::Local(stream) => ready!(stream.as_mut().poll_next(cx)).map(Ok),
            Source::Sent(items) => ready!(items.as_mut().poll_next(cx)),
            Source::Remote(..) => None,
        };
        Poll::Ready(next.map(|next| {
            Bincode::encode(&next?, item).map_err(|error| {
                Broken::Unencodable(format!("an item could not be encoded: {error}"))
            })
        }))
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
    /// Frames of small items, and what they cost.
    staged: Vec<u8>,
    cost: usize,
    /// What comes after them.
    next: Next,
}

/// What the source has said last.
enum Next {
    /// It has no item at present.
    Dry,
    /// This one hasn't been staged.
    Item(Vec<u8>),
    End(Pumped),
}

impl Pump {
    pub(crate) fn new(connection: Arc<Connection>, id: CallId, items: Items) -> Self {
        let (staged, cost) = (Vec::new(), 0);
        Self { connection, id, items, staged, cost, next: Next::Dry }
    }

    /// Sends what there is. Ready when there is nothing more to be done; the caller then says so to
    /// the peer. Panics of the source are contained.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Pumped> {
        for _ in 0..ROUNDS {
            // Looked at before there is room for an item: an end needs none.
            if matches!(self.next, Next::Dry) && self.cost == 0 {
                self.advance(cx);
            }
            let need = match &self.next {
                _ if self.cost > 0 => Need::Staged(self.cost),
                Next::Item(item) => Need::Item(item.len()),
                Next::Dry | Next::End(_) => Need::Nothing,
            };
            // This also sees to it that the task is woken when nobody wants any more.
            let room = match self.connection.poll_room(self.id, need, cx.waker()) {
                Poll::Ready(Room::Bytes { cost, item }) => (cost, item),
                Poll::Ready(Room::Gone) => return Poll::Ready(Pumped::Gone),
                Poll::Ready(Room::TooLarge { limit, whose }) => {
                    return Poll::Ready(self.refuse_item(limit, whose));
                }
                Poll::Pending => return Poll::Pending,
            };
            match need {
                Need::Staged(_) => {}
                Need::Item(_) => self.stage(cx, room),
                Need::Nothing if matches!(self.next, Next::End(_)) => {
                    return Poll::Ready(self.take_end());
                }
                Need::Nothing => return Poll::Pending,
            }
            self.send();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what is staged, or the one item that is too large for that.
    fn send(&mut self) {
        if self.cost > 0 {
            // If others have taken the room meanwhile, it waits for room once more.
            if self.connection.send_items(self.id, &self.staged, self.cost) {
                self.cost = 0;
                self.staged.clear();
            }
        } else if let Next::Item(item) = mem::replace(&mut self.next, Next::Dry) {
            self.connection.send_large_item(self.id, Bytes::from(item));
        }
    }

    fn take_end(&mut self) -> Pumped {
        match mem::replace(&mut self.next, Next::Dry) {
            Next::End(end) => end,
            Next::Dry | Next::Item(_) => Pumped::Gone,
        }
    }

    /// The next item can't be sent. It is the sender that must act, so it isn't sent to be refused.
    fn refuse_item(&mut self, limit: usize, whose: &str) -> Pumped {
        let bytes = if let Next::Item(item) = &self.next { item.len() } else { 0 };
        Pumped::Broken(Broken::TooLarge(format!(
            "an item of {bytes} bytes, {whose} accepts {limit} (Limits::message_bytes)"
        )))
    }

    /// Looks what the source has next.
    fn advance(&mut self, cx: &mut Context<'_>) {
        let mut item = Vec::new();
        let polled = catch_unwind(AssertUnwindSafe(|| self.items.poll_item(cx, &mut item)));
        self.next = match polled {
            Ok(Poll::Ready(Some(Ok(())))) => Next::Item(item),
            Ok(Poll::Ready(Some(Err(broken)))) => Next::End(Pumped::Broken(broken)),
            Ok(Poll::Ready(None)) => Next::End(Pumped::Finished),
            Ok(Poll::Pending) => Next::Dry,
            Err(panic) => {
                crate::connection::forget_panic(panic);
                Next::End(Pumped::Broken(Broken::Panicked))
            }
        };
    }

    /// Stages small items, as far as there is room for them.
    fn stage(&mut self, cx: &mut Context<'_>, (room, largest): (usize, usize)) {
        for _ in 0..STAGED_MAX {
            let Next::Item(item) = &self.next else { return };
            if item.len() > largest || self.cost + item.len() + ITEM_COST > room {
                return;
            }
            self.cost += item.len() + ITEM_COST;
            frame::framed(&mut self.staged, self.id.lane(), false, |out| {
                frame::encode_item_header(out, false);
                out.extend_from_slice(item);
            });
            self.advance(cx);
        }
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
            Pumped::Broken(broken) => {
                let (kind, text) = broken.of_arguments();
                connection.fail_arguments(*id, kind, text);
            }
        }
        Poll::Ready(())
    }
}

impl Drop for ArgumentPump {
    fn drop(&mut self) {
        if !self.is_over {
            // Its call is over, which has said so already; or the runtime is going.
            let text = "the task that sent its stream was stopped";
            let Pump { connection, id, .. } = &self.pump;
            connection.fail_arguments(*id, ErrorKind::Cancelled, text.into());
        }
    }
}
