//! What comes of streams: items into their readers, and credit for them back to the peer.

use std::{
    task::{Poll, Waker},
    time::Instant,
};

use super::{NextItem, OverCredit, StreamEnd};
use crate::{
    counters::count,
    error::{CloseReason, Delivery, ErrorKind},
    frame::{self, CallId, Lane},
    mux::Mux,
};

impl Mux {
    // ---- for readers

    /// Takes the next item of a call's stream, or how it ended. If neither is there, the reader waits
    /// with [`set_item_waker`](Mux::set_item_waker).
    pub(crate) fn poll_item(&mut self, id: CallId) -> Poll<NextItem> {
        if let Some(item) = self.streams.take_item(id) {
            return Poll::Ready(NextItem::Item(item));
        }
        let lost = Poll::Ready(NextItem::End(StreamEnd::Lost));
        let Some(reader) = self.streams.any_reader(id) else { return lost };
        match reader.ending() {
            Some(end) => Poll::Ready(NextItem::End(end.clone())),
            None => Poll::Pending,
        }
    }

    /// Whether waking this waker is waking the reader that waits.
    pub(crate) fn will_wake_reader(&mut self, id: CallId, waker: &Waker) -> bool {
        self.streams.any_reader(id).is_none_or(|reader| reader.will_wake(waker))
    }

    /// The reader of a stream is to be woken through this waker from now on.
    pub(crate) fn set_item_waker(&mut self, id: CallId, waker: Waker) {
        let old = match self.streams.any_reader(id) {
            Some(reader) => reader.wait(waker),
            None => Some(waker),
        };
        self.output.discarded.extend(old);
    }

    /// The reader of a stream has gone. The peer is told, unless it has sent everything.
    pub(crate) fn drop_reader(&mut self, id: CallId) {
        if self.streams.forget_outlived(id, &mut self.output.discarded) {
            return;
        }
        let Some(reader) = self.streams.readers.get(&id).filter(|r| !r.is_abandoned()) else {
            return;
        };
        // The peer has been told already.
        let is_refused = reader.drops_items();
        let comes = self.streams.abandon_reader(id, &mut self.output.discarded);
        if comes && !is_refused && !self.is_closed() {
            count(&mut self.counters.calls_cancelled, id.opener() == self.role);
            self.refuse_items(id);
        }
    }

    /// Tells the peer to send no more items. What this side sends for a call goes with its reply.
    fn refuse_items(&mut self, id: CallId) {
        if id.opener() == self.role {
            self.end_call_writer(id, None);
            self.send_cancel(id);
        } else {
            // r[impl stop.effect]
            self.outbox.append(|out| frame::encode_stop(out, id));
        }
    }

    // ---- inputs

    pub(in crate::mux) fn handle_item(
        &mut self,
        now: Instant,
        id: CallId,
        more: bool,
        body: &[u8],
    ) -> Result<(), CloseReason> {
        let received = self.streams.change(id, |reader| {
            if reader.drops_items() {
                return Ok(0);
            }
            // r[impl item.order]
            if reader.is_collecting() || reader.has_ended() {
                return Err(CloseReason::UnexpectedFrame);
            }
            reader.begin(more, body).map_err(|OverCredit| CloseReason::CreditExceeded)
        });
        let Some(received) = received else { return self.late_item(id, true) };
        self.after_item(now, id, more, received?);
        Ok(())
    }

    /// Something of many frames has come.
    pub(in crate::mux) fn charge_bulk(&mut self, cost: usize) -> Result<(), CloseReason> {
        if self.bulk_in.charge(cost) { Ok(()) } else { Err(CloseReason::CreditExceeded) }
    }

    /// A DATA frame on a lane on which items come. `false` if it isn't part of one.
    pub(in crate::mux) fn handle_item_data(
        &mut self,
        now: Instant,
        id: CallId,
        more: bool,
        abort: bool,
        body: &[u8],
    ) -> Result<bool, CloseReason> {
        if abort {
            // r[impl item.abort]
            let end = StreamEnd::Failed {
                kind: ErrorKind::Cancelled,
                delivery: Delivery::Unknown,
                detail: "the peer gave up the stream".into(),
            };
            let Some(reader) = self.streams.readers.get(&id) else { return Ok(false) };
            // Only the items of a request break off so.
            if reader.has_ended() || id.opener() == self.role {
                return Err(CloseReason::UnexpectedFrame);
            }
            self.streams.finish(id, end, &mut self.output.wakers);
            return Ok(true);
        }
        let received = self.streams.change(id, |reader| {
            if reader.drops_items() {
                return Ok(0);
            }
            if !reader.is_collecting() || reader.has_ended() {
                return Err(CloseReason::UnexpectedFrame);
            }
            reader.go_on(more, body).map_err(|OverCredit| CloseReason::CreditExceeded)
        });
        let Some(received) = received else { return Ok(false) };
        self.after_item(now, id, more, received?);
        Ok(true)
    }

    /// An item has come, or a part of one; there are so many bytes of it.
    fn after_item(&mut self, now: Instant, id: CallId, more: bool, bytes: usize) {
        let Some(reader) = self.streams.readers.get_mut(&id).filter(|r| !r.drops_items()) else {
            return;
        };
        let patience = reader.patience;
        if !more {
            self.output.wakers.extend(reader.wake());
        }
        if id.opener() != self.role {
            self.extend_call(now, id, patience);
        }
        if let Err((kind, detail)) = self.check_message(bytes, 0, true, "an item") {
            self.fail_reader(id, more, kind, detail);
        }
    }

    /// What comes can't be used: the reader learns why, and the peer is told to send no more.
    fn fail_reader(&mut self, id: CallId, more: bool, kind: ErrorKind, detail: String) {
        let end = StreamEnd::Failed { kind, delivery: Delivery::Replied, detail };
        let waker = self.streams.change(id, |reader| reader.refuse(more, end));
        self.output.wakers.extend(waker.flatten());
        self.streams.due.remove(&id);
        self.refuse_items(id);
    }

    /// An item of a stream that nobody reads any more. `more` says that its call goes on.
    fn late_item(&mut self, id: CallId, more: bool) -> Result<(), CloseReason> {
        if id.opener() == self.role {
            let woken = self.calls.unwanted(id, more);
            return self.after_answer(woken);
        }
        // r[impl data.late] r[impl item.order]
        // A call that goes on and has no reader, not even one that has gone, announced no items.
        let late = self.requests.was_open(id) && !self.requests.is_open(id);
        if late { Ok(()) } else { Err(CloseReason::UnexpectedFrame) }
    }

    pub(in crate::mux) fn handle_end(&mut self, id: CallId) -> Result<(), CloseReason> {
        // r[impl item.end]
        let reader = self.streams.readers.get(&id);
        if reader.is_some_and(|reader| reader.is_collecting() || reader.has_ended()) {
            return Err(CloseReason::UnexpectedFrame);
        }
        let known = reader.is_some();
        self.streams.finish(id, StreamEnd::Finished, &mut self.output.wakers);
        if known && id.opener() != self.role {
            return Ok(());
        }
        self.late_item(id, false)?;
        if id.opener() == self.role {
            self.end_call_writer(id, None);
        }
        Ok(())
    }

    // ---- outputs

    /// Appends the credit that is due.
    pub(in crate::mux) fn append_credit(&mut self) {
        while let Some(id) = self.streams.due.pop_first() {
            let Some(reader) = self.streams.readers.get_mut(&id) else { continue };
            if !reader.is_due() {
                continue;
            }
            let granted = reader.grant(&mut self.streams.growth);
            #[expect(clippy::cast_possible_truncation, reason = "a window is below 4 GiB")]
            self.outbox.append(|out| frame::encode_credit(out, id.lane(), granted as u32));
        }
        if let Some(bytes) = self.bulk_in.grant() {
            self.outbox.append(|out| frame::encode_credit(out, Lane::CONTROL, bytes));
        }
    }
}
