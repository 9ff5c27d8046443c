//! What goes of streams: room for items, items, ends, and what the peer says about them.

use std::{
    mem,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{ITEM_COST, Room, STAGE_BYTES, Writer};
use crate::{
    error::{CloseReason, Delivery, ErrorKind},
    frame::{self, CallId, Lane},
    mux::{Ending, Mux, calls::Whereabouts, outgoing::Withdrawn},
    outbox::BULK_BYTES,
};

impl Mux {
    // ---- for writers

    /// Whether items can be sent: any, or `need` if that isn't 0.
    pub(crate) fn poll_room(&mut self, id: CallId, need: usize, waker: &Waker) -> Poll<Room> {
        let closed = self.is_closed();
        let Some(writer) = self.streams.writers.get_mut(&id) else {
            return Poll::Ready(Room::Gone);
        };
        if closed || writer.is_stopped {
            return Poll::Ready(Room::Gone);
        }
        let room = writer.credit.min(self.outbox.bulk_credit());
        let staged = self.outbox.small_bytes();
        if !writer.is_busy && room >= need.max(ITEM_COST + 1) && staged < STAGE_BYTES {
            let item = BULK_BYTES.min(self.frame_bytes() - frame::DATA_HEADER_BYTES + 1) - 1;
            return Poll::Ready(Room::Bytes { cost: room.min(STAGE_BYTES), item });
        }
        self.output.discarded.extend(writer.wait(waker.clone()));
        Poll::Pending
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
        writer.credit -= cost;
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

    /// No more items come from this side.
    pub(crate) fn end_writer(&mut self, id: CallId) {
        if self.streams.writers.remove(&id).is_none() || self.is_closed() {
            return;
        }
        if id.opener() == self.role {
            self.outbox.append(|out| frame::encode_end(out, id));
        } else if self.finish(id) {
            self.outbox.append(|out| frame::encode_end(out, id));
            self.outbox.count_terminal();
        }
    }

    /// The items from this side break off: their reader is told so.
    pub(crate) fn abort_writer(&mut self, id: CallId) {
        // Without its request, the abort would be about a call that the peer doesn't know.
        if self.calls.whereabouts(id) == Some(Whereabouts::Bulk) {
            let withdrawn = self.withdraw(id);
            let ending = Ending::Failed {
                kind: ErrorKind::Cancelled,
                delivery: Delivery::NotSent,
                detail: "its stream was given up before it was sent".into(),
            };
            let waker = self.calls.give_up(id, ending, withdrawn == Some(Withdrawn::Unheard));
            self.output.wakers.extend(waker);
            return self.end_call_writer(id, withdrawn);
        }
        if self.streams.writers.remove(&id).is_some() && !self.is_closed() {
            self.outbox.drop_bulk_of(id);
            self.outbox.append(|out| frame::encode_abort(out, id.lane()));
        }
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
        // r[impl stop.effect]
        // If there is none, its call has ended, and the two crossed.
        let Some(writer) = self.streams.writers.get_mut(&id) else { return Ok(()) };
        if mem::replace(&mut writer.is_stopped, true) {
            return self.count_stray();
        }
        self.output.wakers.extend(writer.wake());
        if self.calls.whereabouts(id) != Some(Whereabouts::Bulk) {
            self.end_call_writer(id, None);
        }
        Ok(())
    }

    pub(in crate::mux) fn handle_credit(
        &mut self,
        now: Instant,
        lane: Lane,
        bytes: u32,
    ) -> Result<(), CloseReason> {
        self.grants += 1;
        // Each answers to a frame that was charged, to its stream and to the connection.
        if bytes == 0 || self.grants > 2 * self.outbox.charged_frames() {
            self.count_stray()?;
        }
        if lane == Lane::CONTROL {
            let allowed = self.outbox.allow_bulk(bytes as usize);
            self.wake_writers();
            return if allowed { Ok(()) } else { Err(CloseReason::CreditExceeded) };
        }
        let id = CallId::from_wire(lane.number()).ok_or(CloseReason::BadCallId)?;
        // Its call may have ended meanwhile.
        let Some(writer) = self.streams.writers.get_mut(&id) else { return Ok(()) };
        let queued = self.outbox.allow_item(id, bytes as usize);
        let allowed = queued.unwrap_or_else(|| writer.allow(bytes as usize));
        self.output.wakers.extend(writer.wake());
        let patience = writer.patience;
        self.extend_call(now, id, patience);
        if allowed { Ok(()) } else { Err(CloseReason::CreditExceeded) }
    }

    // ---- outputs

    /// There is room again, perhaps.
    pub(in crate::mux) fn wake_writers(&mut self) {
        if self.outbox.small_bytes() < STAGE_BYTES && self.outbox.bulk_credit() > ITEM_COST {
            let free = self.streams.writers.values_mut();
            let free = free.filter(|writer| !writer.is_busy && writer.credit > ITEM_COST);
            self.output.wakers.extend(free.filter_map(Writer::wake));
        }
    }

    // ---- ends of calls

    /// A call of this side's is over, and so is what it sends. Unless its request was taken back, the
    /// peer is told that its items break off, and the lane ends.
    pub(in crate::mux) fn end_call_writer(&mut self, id: CallId, withdrawn: Option<Withdrawn>) {
        if self.streams.is_empty() || !self.streams.close_writer(id, &mut self.output.wakers) {
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
}
