//! What goes of streams: room for items, items, ends, and what the peer says about them.

use std::{
    mem,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{Need, Place, Room, STAGE_BYTES, StreamEnd, WAKE_MAX};
use crate::{
    counters::count,
    error::{CloseReason, Delivery, ErrorKind},
    frame::{self, CallId, Lane},
    mux::{Mux, calls::Whereabouts, outgoing::Withdrawn},
    outbox::BULK_BYTES,
    planted::planted,
};

impl Mux {
    // ---- for writers

    /// Whether what is needed next can be sent. Whatever comes out, the waker is used when the stream
    /// ends, or when there may be more room.
    pub(crate) fn poll_room(&mut self, id: CallId, need: Need, waker: &Waker) -> Poll<Room> {
        let Some(writer) = self.streams.writers.get_mut(&id) else {
            return Poll::Ready(Room::Gone);
        };
        self.output.discarded.extend(writer.wait(waker));
        let (credit, place) = (writer.credit, writer.place);
        let is_held_up = writer.is_busy || credit < need.cost();
        if self.is_closed() {
            return Poll::Ready(Room::Gone);
        }
        if let Need::Item(bytes) = need
            && let Some(refused) = self.check_item(bytes)
        {
            return refused;
        }
        if is_held_up {
            // It waits for something of its own, and not before others.
            self.leave_stream_queue(id);
            return Poll::Pending;
        }
        let is_called = matches!(place, Place::Called(_)) || self.streams.queue.is_empty();
        if need != Need::Nothing && !(is_called && self.has_stream_room(need.cost())) {
            self.streams.enqueue(id, need.cost());
            return Poll::Pending;
        }
        self.leave_stream_queue(id);
        let cost = credit.min(self.outbox.bulk_credit()).min(STAGE_BYTES);
        let item =
            (BULK_BYTES - 1).min(self.frame_bytes().saturating_sub(frame::DATA_HEADER_BYTES));
        Poll::Ready(Room::Bytes { cost, item: item.min(self.reply_limits().message_bytes) })
    }

    /// Whether an item of so many bytes can't be sent, or not yet.
    fn check_item(&self, bytes: usize) -> Option<Poll<Room>> {
        // r[impl message.size]
        let ours = self.limits.message_bytes as usize;
        if bytes > ours {
            return Some(Poll::Ready(Room::TooLarge { limit: ours, whose: "this side" }));
        }
        let limit = self.peer_limits.message_bytes;
        if bytes <= limit {
            return None;
        }
        // r[impl hello.base-limits]
        let known = self.hello_arrived();
        Some(if known {
            Poll::Ready(Room::TooLarge { limit, whose: "the peer" })
        } else {
            Poll::Pending
        })
    }

    /// Whether so much can be sent of what all streams share.
    fn has_stream_room(&self, cost: usize) -> bool {
        self.outbox.small_bytes() < STAGE_BYTES && self.outbox.bulk_credit() >= cost
    }

    /// Whether there is room for the writer that is first in the queue, and nobody was called to use it.
    #[cfg(any(fuzzing, test))]
    pub(in crate::mux) fn is_turn_lost(&self) -> bool {
        let first = self.streams.queue.first_key_value();
        first.is_some_and(|(_, (_, cost))| self.has_stream_room(*cost))
            && !self.streams.writers.values().any(|writer| matches!(writer.place, Place::Called(_)))
    }

    /// A writer doesn't wait for room any more. If it was its turn, it is another's.
    fn leave_stream_queue(&mut self, id: CallId) {
        if self.streams.dequeue(id) && !planted("turn-to-send-lost") {
            self.wake_writers(1);
        }
    }

    /// Sends items that were staged within the [`Room`], and that together cost so much. Returns
    /// `false` if there is no longer room for them: others may have taken the connection's credit
    /// since.
    pub(crate) fn send_items(
        &mut self,
        now: Instant,
        id: CallId,
        staged: &[u8],
        cost: usize,
    ) -> bool {
        let Some(writer) = self.streams.writers.get_mut(&id) else { return true };
        if cost > writer.credit.min(self.outbox.bulk_credit()) {
            return false;
        }
        writer.credit = writer.credit.saturating_sub(cost);
        let patience = writer.patience;
        self.outbox.append_items(staged, cost);
        self.extend_call(now, id, patience);
        true
    }

    /// Sends an item that is larger than the [`Room`], or too large to be copied.
    pub(crate) fn send_large_item(&mut self, now: Instant, id: CallId, item: Bytes) {
        let Some(writer) = self.streams.writers.get_mut(&id) else { return };
        writer.is_busy = true;
        let (credit, patience) = (mem::take(&mut writer.credit), writer.patience);
        self.outbox.push_item(id, item, credit);
        self.extend_call(now, id, patience);
    }

    /// No more items come from this side. Not to be called while one is being sent.
    pub(crate) fn end_writer(&mut self, id: CallId) {
        if !self.close_writer(id) || self.is_closed() {
            return;
        }
        if id.opener() == self.role {
            self.outbox.append(|out| frame::encode_end(out, id));
        } else if self.finish(id) {
            self.outbox.append(|out| frame::encode_end(out, id));
            self.outbox.count_terminal();
        }
    }

    /// The items among the arguments of a call break off: the call fails, and so does its reply if
    /// that is a stream.
    pub(crate) fn fail_arguments(&mut self, id: CallId, kind: ErrorKind, detail: String) {
        if !self.streams.writers.contains_key(&id) {
            return;
        }
        if self.calls.whereabouts(id).is_some() {
            return self.fail_call(id, kind, detail);
        }
        // r[impl item.abort]
        self.end_call_writer(id, None);
        let end = StreamEnd::Failed { kind, delivery: Delivery::Unknown, detail };
        let waker = self.streams.change(id, |reader| reader.break_off(end));
        self.output.wakers.extend(waker.flatten());
        self.streams.due.remove(&id);
        self.send_cancel(id);
    }

    /// Progress: the deadline of a call counts from now on.
    pub(super) fn extend_call(&mut self, now: Instant, id: CallId, patience: Option<Duration>) {
        let deadline = patience.and_then(|patience| now.checked_add(patience));
        if deadline.is_none() {
            return;
        }
        if id.opener() == self.role {
            self.calls.set_deadline(id, deadline);
        } else {
            self.requests.set_deadline(id, deadline);
        }
        self.note_deadline(deadline);
    }

    // ---- inputs

    pub(in crate::mux) fn handle_stop(&mut self, id: CallId) -> Result<(), CloseReason> {
        // r[impl call.opener]
        if id.opener() != self.role {
            return Err(CloseReason::BadCallId);
        }
        // r[impl stop.effect]
        let is_early = match self.calls.whereabouts(id) {
            Some(Whereabouts::Bulk) => true,
            Some(Whereabouts::At { end, .. }) => end > self.outbox.drawn(),
            None => false,
        };
        if is_early {
            return Err(CloseReason::UnexpectedFrame);
        }
        // r[impl flood.strays]
        count(&mut self.streams.stopped, true);
        if self.streams.stopped > self.streams.begun {
            self.count_stray()?;
        }
        // If there is no writer its call has ended, and the two crossed.
        self.end_call_writer(id, None);
        Ok(())
    }

    pub(in crate::mux) fn handle_credit(
        &mut self,
        now: Instant,
        lane: Lane,
        bytes: u32,
    ) -> Result<(), CloseReason> {
        count(&mut self.grants, true);
        // Each answers to a frame that was charged, to its stream and to the connection.
        if bytes == 0 || self.grants > self.outbox.charged_frames().saturating_mul(2) {
            self.count_stray()?;
        }
        if lane == Lane::CONTROL {
            let allowed = self.outbox.allow_bulk(bytes as usize);
            self.wake_writers(WAKE_MAX);
            return if allowed { Ok(()) } else { Err(CloseReason::CreditExceeded) };
        }
        let id = CallId::from_wire(lane.number()).ok_or(CloseReason::BadCallId)?;
        // Its call may have ended meanwhile.
        let Some(writer) = self.streams.writers.get_mut(&id) else { return Ok(()) };
        let queued = self.outbox.allow_item(id, bytes as usize);
        let allowed = queued.unwrap_or_else(|| writer.allow(bytes as usize));
        if !planted("grant-wakes-nobody") {
            self.output.wakers.extend(writer.wake());
        }
        let patience = writer.patience;
        self.extend_call(now, id, patience);
        if allowed { Ok(()) } else { Err(CloseReason::CreditExceeded) }
    }

    // ---- outputs

    /// There is room again, perhaps: wakes so many of those who wait for it.
    pub(in crate::mux) fn wake_writers(&mut self, most: usize) {
        for _ in 0..most {
            let Some((_, (_, cost))) = self.streams.queue.first_key_value() else { return };
            if !self.has_stream_room(*cost) {
                return;
            }
            self.streams.call_next(&mut self.output.wakers);
        }
    }

    // ---- ends of calls

    /// A call of this side's is over, and so is what it sends. Unless its request was taken back, the
    /// peer is told that its items break off, and the lane ends.
    pub(in crate::mux) fn end_call_writer(&mut self, id: CallId, withdrawn: Option<Withdrawn>) {
        if self.streams.is_empty() || !self.close_writer(id) {
            return;
        }
        let begun = !matches!(withdrawn, Some(Withdrawn::Unheard | Withdrawn::Aborted));
        if self.is_closed() {
            return;
        }
        self.outbox.drop_bulk_of(id);
        if begun {
            self.outbox.append(|out| frame::encode_abort(out, id.lane()));
        }
    }

    /// Forgets the writer of a call, and wakes whoever waits to send.
    pub(super) fn close_writer(&mut self, id: CallId) -> bool {
        self.leave_stream_queue(id);
        let Some(mut writer) = self.streams.writers.remove(&id) else { return false };
        self.output.wakers.extend(writer.wake());
        true
    }
}
