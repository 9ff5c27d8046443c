//! Streams: items on the lanes of calls, in either direction, and the credit that bounds them.
//!
//! A stream belongs to a call, and has no state of its own on the wire but items and credit: it
//! begins with the request or the reply that announces it, and ends with its last item, with its
//! call, or with the connection.

mod reader;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;

pub(crate) use reader::StreamEnd;
use reader::{OverCredit, Reader};
use writer::Writer;

use super::{CallId, Ending, Mux, calls::Whereabouts, outgoing::Withdrawn};
use crate::{
    error::{CloseReason, Delivery, ErrorKind, Ran},
    frame::{self, Lane},
    outbox::BULK_BYTES,
};

/// What an item costs beside its bytes, so that nobody can send empty ones without end. Spec:
/// `r[credit.cost]`.
pub(crate) const ITEM_COST: usize = 16;

/// What each stream may send before it is granted more. Spec: `r[credit.initial]`.
// r[impl credit.initial]
pub(crate) const WINDOW_BASE: usize = 64 * 1024;

/// What a stream may have under way at most, if its reader keeps up: 10 Gbit/s for 1.6 ms.
pub(super) const WINDOW_MAX: usize = 2 * 1024 * 1024;

/// Staged items are taken while fewer bytes than this wait to be sent: what is queued behind them
/// waits for them.
const STAGE_BYTES: usize = 64 * 1024;

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct Streams {
    readers: BTreeMap<CallId, Reader>,
    writers: BTreeMap<CallId, Writer>,
    /// Those that are to be granted credit.
    due: BTreeSet<CallId>,
    /// How much all windows together may still grow.
    growth: usize,
    /// Bytes of items that are incomplete, or that no stream's window accounts for.
    pub(super) partial_bytes: usize,
}

/// What there is for a reader.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextItem {
    Item(Vec<u8>),
    End(StreamEnd),
}

/// What a writer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Send items that cost so much at most, each of at most so many bytes; or a single one of any
    /// size.
    Bytes { cost: usize, item: usize },
    /// Nobody wants any more.
    Gone,
}

impl Streams {
    pub(super) fn new(growth: usize) -> Self {
        Self {
            readers: BTreeMap::new(),
            writers: BTreeMap::new(),
            due: BTreeSet::new(),
            growth,
            partial_bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.readers.is_empty() && self.writers.is_empty()
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Changes a reader, if there is one, and keeps the books.
    fn change<R>(&mut self, id: CallId, change: impl FnOnce(&mut Reader) -> R) -> Option<R> {
        let reader = self.readers.get_mut(&id)?;
        self.partial_bytes -= reader.partial_bytes();
        let result = change(reader);
        self.partial_bytes += reader.partial_bytes();
        if reader.is_due() {
            self.due.insert(id);
        }
        Some(result)
    }

    /// There will be no more items.
    fn finish(&mut self, id: CallId, end: StreamEnd, wakers: &mut Vec<Waker>) {
        wakers.extend(self.change(id, |reader| reader.finish(end)).flatten());
        if self.readers.get(&id).is_some_and(Reader::is_abandoned) {
            self.readers.remove(&id);
        }
    }

    /// The reply to a call is a stream too: from now on its items are what is waited for.
    pub(super) fn relax(&mut self, id: CallId) {
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.patience = None;
        }
    }

    /// Items are going to come that nobody reads.
    pub(super) fn open_abandoned(&mut self, id: CallId) {
        self.readers.insert(id, Reader::abandoned());
    }

    pub(super) fn open_reader(&mut self, id: CallId, patience: Option<Duration>) {
        self.readers.insert(id, Reader::new(patience));
    }

    pub(super) fn open_writer(&mut self, id: CallId, patience: Option<Duration>, is_busy: bool) {
        self.writers.insert(id, Writer::new(patience, is_busy));
    }

    /// The last frame of a large message or item was drawn; of the latter's credit so much is left.
    pub(super) fn drawn_to_the_end(&mut self, id: CallId, credit: usize) {
        if let Some(writer) = self.writers.get_mut(&id) {
            writer.is_busy = false;
            writer.credit += credit;
        }
    }

    /// Forgets the reader of a call that is over.
    fn close_reader(&mut self, id: CallId, discarded: &mut Vec<Waker>) {
        self.abandon_reader(id, discarded);
        self.readers.remove(&id);
    }

    /// Nobody reads a stream any more. Returns whether its items may still come, up to an end.
    fn abandon_reader(&mut self, id: CallId, discarded: &mut Vec<Waker>) -> bool {
        let Some(reader) = self.readers.get_mut(&id) else { return false };
        if !reader.is_abandoned() {
            self.partial_bytes -= reader.partial_bytes();
            self.growth += reader.grown();
            self.due.remove(&id);
            discarded.extend(reader.abandon());
        }
        let comes = !reader.has_ended();
        if !comes {
            self.readers.remove(&id);
        }
        comes
    }

    /// Forgets the writer of a call, and wakes whoever waits to send.
    fn close_writer(&mut self, id: CallId, wakers: &mut Vec<Waker>) -> bool {
        let Some(mut writer) = self.writers.remove(&id) else { return false };
        wakers.extend(writer.wake());
        true
    }
}

impl Mux {
    // ---- for readers

    /// Takes the next item of a call's stream.
    pub(crate) fn poll_item(&mut self, id: CallId, waker: &Waker) -> Poll<NextItem> {
        if let Some(item) = self.streams.change(id, Reader::take).flatten() {
            return Poll::Ready(NextItem::Item(item));
        }
        let lost = Poll::Ready(NextItem::End(StreamEnd::Lost));
        let Some(reader) = self.streams.readers.get_mut(&id) else { return lost };
        if let Some(end) = reader.ending() {
            return Poll::Ready(NextItem::End(end.clone()));
        }
        self.output.discarded.extend(reader.wait(waker.clone()));
        Poll::Pending
    }

    /// The reader of a stream has gone. The peer is told, unless it has sent everything.
    pub(crate) fn drop_reader(&mut self, id: CallId) {
        let Some(reader) = self.streams.readers.get(&id).filter(|r| !r.is_abandoned()) else {
            return;
        };
        // The peer has been told already.
        let is_refused = reader.drops_items();
        let comes = self.streams.abandon_reader(id, &mut self.output.discarded);
        if !comes || is_refused || self.is_closed() {
            return;
        }
        if id.opener() == self.role {
            self.counters.calls_cancelled += 1;
            self.send_cancel(id);
        } else {
            // r[impl stop.effect]
            self.outbox.append(|out| frame::encode_stop(out, id));
        }
    }

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
    fn extend_call(&mut self, now: Instant, id: CallId, patience: Option<Duration>) {
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

    pub(super) fn handle_item(
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
    pub(super) fn charge_bulk(&mut self, cost: usize) -> Result<(), CloseReason> {
        if self.bulk_in.charge(cost) { Ok(()) } else { Err(CloseReason::CreditExceeded) }
    }

    /// A DATA frame on a lane on which items come. `false` if it isn't part of one.
    pub(super) fn handle_item_data(
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
        if id.opener() == self.role {
            self.send_cancel(id);
        } else {
            self.outbox.append(|out| frame::encode_stop(out, id));
        }
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

    pub(super) fn handle_end(&mut self, id: CallId) -> Result<(), CloseReason> {
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

    pub(super) fn handle_stop(&mut self, id: CallId) -> Result<(), CloseReason> {
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

    pub(super) fn handle_credit(
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

    /// Appends the credit that is due.
    pub(super) fn append_credit(&mut self) {
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

    /// There is room again, perhaps.
    pub(super) fn wake_writers(&mut self) {
        if self.outbox.small_bytes() < STAGE_BYTES && self.outbox.bulk_credit() > ITEM_COST {
            let free = self.streams.writers.values_mut();
            let free = free.filter(|writer| !writer.is_busy && writer.credit > ITEM_COST);
            self.output.wakers.extend(free.filter_map(Writer::wake));
        }
    }

    // ---- ends of calls

    /// A call of the peer's has its terminal frame: its streams are over.
    pub(super) fn end_request_streams(&mut self, id: CallId) {
        if self.streams.is_empty() {
            return;
        }
        self.streams.close_reader(id, &mut self.output.discarded);
        if self.streams.close_writer(id, &mut self.output.wakers) {
            self.outbox.drop_bulk_of(id);
        }
    }

    /// A call of this side's is over, and so is what it sends. Unless its request was taken back, the
    /// peer is told that its items break off, and the lane ends.
    pub(super) fn end_call_writer(&mut self, id: CallId, withdrawn: Option<Withdrawn>) {
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

    /// A call of this side's failed after its stream had begun.
    pub(super) fn fail_call_stream(&mut self, id: CallId, kind: ErrorKind, ran: Ran, text: &str) {
        let end = StreamEnd::Failed { kind, delivery: ran.delivery(), detail: text.to_owned() };
        self.streams.finish(id, end, &mut self.output.wakers);
    }

    /// The connection is over, and with it every stream.
    pub(super) fn lose_streams(&mut self) {
        self.streams.due.clear();
        for reader in self.streams.readers.values_mut() {
            self.output.wakers.extend(reader.finish(StreamEnd::Lost));
        }
        self.streams.partial_bytes = self.streams.readers.values().map(Reader::partial_bytes).sum();
        for writer in self.streams.writers.values_mut() {
            self.output.wakers.extend(writer.wake());
        }
        self.streams.writers.clear();
    }
}

#[cfg(test)]
impl Streams {
    pub(super) fn credit_of(&self, id: CallId) -> usize {
        self.writers.get(&id).map_or(0, |writer| writer.credit)
    }

    pub(super) fn growth(&self) -> usize {
        self.growth
    }

    pub(super) fn check_invariants(&self) {
        self.readers.values().for_each(Reader::check_invariants);
        let partial_bytes: usize = self.readers.values().map(Reader::partial_bytes).sum();
        assert_eq!(self.partial_bytes, partial_bytes);
    }
}
