//! The outbox: frames that wait to be sent, and the batches that transports drain; no I/O.
//!
//! Frames lie in it as they go over a byte stream ([`stream layout`](crate::frame#stream-layout)),
//! so TCP writes a batch as it lies. Small frames are copied in; bodies of 16 KiB and more enter as
//! [`Bytes`] and are cut into frames when their turn comes, round-robin, so that a large message
//! never holds up a small one.

mod batch;
mod bulk;

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
};

use bytes::Bytes;

use crate::{
    frame::{self, CallId, Lane, PREFIX_BYTES},
    limits::BULK_WINDOW_BASE,
    mux::ITEM_COST,
    planted::planted,
};
pub use batch::{Batch, FrameInfo, OutFrame};
use bulk::{Bulk, Next};

/// Bodies of at least this many bytes are sent without being copied into the outbox.
/// Below it one copy is cheaper than an entry of its own and a longer `writev`.
pub(crate) const BULK_BYTES: usize = 16 * 1024;

/// How much one message may add to a batch before the next message has its turn.
const TURN_BYTES: usize = 65 * 1024;

/// How much large messages together add to one batch, so that small frames queued meanwhile wait
/// for at most this much.
const BATCH_BULK_BYTES: usize = 4 * TURN_BYTES;

/// Frames that wait for the connection's next batch.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Small frames, in stream layout.
    small: Vec<u8>,
    /// Large messages, whose remaining bytes are cut into frames when they are drawn.
    bulk: VecDeque<Bulk>,
    /// Frames in `small` that end a call of the peer.
    terminals: u32,
    /// Messages in `bulk` that end a call of the peer.
    bulk_terminals: u32,
    /// Large items whose stream has no credit left, by call.
    blocked: BTreeMap<CallId, Box<Bulk>>,
    /// Large messages and items that wait for the connection's credit.
    stalled: VecDeque<Bulk>,
    /// Bytes of the bodies in the three.
    bulk_bytes: usize,
    /// How much of messages and items of many frames may still be sent.
    bulk_credit: usize,
    /// Frames that were charged to it.
    charged_frames: u64,
    /// Bytes drawn so far: the position at which `small` begins.
    drawn: u64,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            small: Vec::new(),
            bulk: VecDeque::new(),
            terminals: 0,
            bulk_terminals: 0,
            blocked: BTreeMap::new(),
            stalled: VecDeque::new(),
            bulk_bytes: 0,
            bulk_credit: BULK_WINDOW_BASE,
            charged_frames: 0,
            drawn: 0,
        }
    }
}

impl Outbox {
    /// Appends a frame in stream layout through `encode`, and returns the position of its end.
    pub(crate) fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> u64 {
        encode(&mut self.small);
        self.drawn + self.small.len() as u64
    }

    /// Appends frames that were staged elsewhere; `terminals` of them end calls of the peer.
    pub(crate) fn append_staged(&mut self, staged: &[u8], terminals: u32) {
        self.small.extend_from_slice(staged);
        self.terminals += terminals;
    }

    /// Queues a large message in two parts. `header` is its first frame's header, without the
    /// prefix.
    pub(crate) fn push_bulk(
        &mut self,
        lane: CallId,
        header: Vec<u8>,
        parts: [Bytes; 2],
        terminal: bool,
    ) {
        self.bulk_terminals += u32::from(terminal);
        let message = Bulk::new(lane, header, parts, terminal);
        self.bulk_bytes += message.bytes();
        self.bulk.push_back(message);
    }

    /// Queues the large request of a call whose items follow.
    pub(crate) fn push_bulk_before_items(
        &mut self,
        lane: CallId,
        header: Vec<u8>,
        parts: [Bytes; 2],
    ) {
        self.push_bulk(lane, header, parts, false);
        if let Some(message) = self.bulk.back_mut() {
            message.ends_lane = false;
        }
    }

    /// Queues a large item, with what its stream may still send.
    pub(crate) fn push_item(&mut self, lane: CallId, body: Bytes, credit: usize) {
        let mut header = Vec::with_capacity(frame::DATA_HEADER_BYTES);
        frame::encode_item_header(&mut header, false);
        self.bulk_bytes += body.len();
        self.bulk.push_back(Bulk::item(lane, header, body, credit));
    }

    /// Appends items that were staged elsewhere, and together cost so much.
    pub(crate) fn append_items(&mut self, staged: &[u8], cost: usize) {
        self.small.extend_from_slice(staged);
        self.bulk_credit = self.bulk_credit.saturating_sub(cost);
        let mut rest = staged;
        while let Some((length, _, _)) = frame::decode_prefix(rest) {
            self.charged_frames += 1;
            rest = rest.get(PREFIX_BYTES + length..).unwrap_or_default();
        }
    }

    /// What may still be sent of messages and items of many frames.
    #[inline]
    pub(crate) fn bulk_credit(&self) -> usize {
        self.bulk_credit
    }

    pub(crate) fn charged_frames(&self) -> u64 {
        self.charged_frames
    }

    /// The peer allows more bulk. `false` if that is more than a peer can have meant.
    pub(crate) fn allow_bulk(&mut self, bytes: usize) -> bool {
        self.bulk_credit = self.bulk_credit.saturating_add(bytes);
        if !planted("stalled-for-ever") || self.bulk.is_empty() {
            self.bulk.append(&mut self.stalled);
        }
        self.bulk_credit <= u32::MAX as usize
    }

    /// The peer allows more of a stream. `None` unless a large item of it is queued, which then has
    /// the credit; `false` if that is more than a peer can have meant.
    pub(crate) fn allow_item(&mut self, call: CallId, bytes: usize) -> Option<bool> {
        self.bulk.extend(self.blocked.remove(&call).map(|bulk| *bulk));
        let mut queued = self.bulk.iter_mut().chain(&mut self.stalled);
        let item = queued.find(|bulk| bulk.lane == call && bulk.credit.is_some());
        let credit = item?.credit.as_mut()?;
        // r[impl credit.overflow]
        *credit = credit.saturating_add(bytes);
        Some(*credit <= u32::MAX as usize)
    }

    /// Counts one more frame that ends a call of the peer.
    pub(crate) fn count_terminal(&mut self) {
        self.terminals += 1;
    }

    /// Frames queued here that end calls of the peer.
    #[inline]
    pub(crate) fn terminals(&self) -> u32 {
        self.terminals + self.bulk_terminals
    }

    /// The position up to which frames were drawn.
    #[inline]
    pub(crate) fn drawn(&self) -> u64 {
        self.drawn
    }

    /// Turns the request of `bytes` bytes that ends at `position` into a frame that the peer skips,
    /// and with it the items behind it. Returns `false` when it was drawn already.
    pub(crate) fn void(&mut self, position: u64, bytes: usize) -> bool {
        let end = position.checked_sub(self.drawn).and_then(|end| usize::try_from(end).ok());
        let start = end.and_then(|end| end.checked_sub(bytes));
        let Some(start) = start.filter(|_| bytes > 0) else { return false };
        let Some(request) = self.small.get_mut(start..) else { return false };
        let has_items = request.get(PREFIX_BYTES + 1).is_some_and(|f| f & frame::flag::STREAM != 0);
        let Some((_, _, lane)) = frame::decode_prefix(request) else { return false };
        if has_items && !planted("items-outlive-their-call") {
            self.void_lane(start, lane);
        } else {
            frame::set_end(request);
            if let Some(kind) = request.get_mut(PREFIX_BYTES) {
                *kind = frame::VOID;
            }
        }
        true
    }

    /// Turns every frame of a lane from `at` on into one that the peer skips. What they cost is
    /// given back: the peer charges nothing for them.
    fn void_lane(&mut self, mut at: usize, lane: Lane) {
        let mut last = at;
        while let Some((length, _, of)) = self.small.get(at..).and_then(frame::decode_prefix) {
            let kind = self.small.get_mut(at + PREFIX_BYTES).filter(|_| of == lane);
            if let Some(kind) = kind {
                if *kind == frame::Kind::Item as u8 && !planted("credit-of-void-items-kept") {
                    self.bulk_credit += length - frame::DATA_HEADER_BYTES + ITEM_COST;
                }
                *kind = frame::VOID;
                last = at;
            }
            at += PREFIX_BYTES + length;
        }
        if let Some(frame) = self.small.get_mut(last..) {
            frame::set_end(frame);
        }
    }

    /// Takes back every request that wasn't drawn. Returns the position up to which frames were.
    pub(crate) fn void_requests(&mut self) -> u64 {
        let mut at = 0;
        while let Some((length, _, _)) = self.small.get(at..).and_then(frame::decode_prefix) {
            let kind = self.small.get(at + PREFIX_BYTES).copied();
            if kind == Some(frame::Kind::Request as u8) {
                self.void(self.drawn + (at + PREFIX_BYTES + length) as u64, PREFIX_BYTES + length);
            }
            at += PREFIX_BYTES + length;
        }
        self.bulk.retain(|bulk| bulk.terminal);
        self.stalled.retain(|bulk| bulk.terminal);
        self.blocked.clear();
        self.bulk_bytes = self.bulk.iter().chain(&self.stalled).map(Bulk::bytes).sum();
        self.drawn
    }

    /// Forgets what is left of the message of `call`. Returns the header of its first frame, or an
    /// empty one if that was drawn.
    pub(crate) fn drop_bulk_of(&mut self, call: CallId) -> Option<Vec<u8>> {
        let bulk = self.blocked.remove(&call).map(|bulk| *bulk).or_else(|| {
            [&mut self.bulk, &mut self.stalled].into_iter().find_map(|queue| {
                let at = queue.iter().position(|bulk| bulk.lane == call)?;
                queue.remove(at)
            })
        })?;
        self.bulk_terminals -= u32::from(bulk.terminal);
        self.bulk_bytes -= bulk.bytes();
        Some(bulk.header)
    }

    /// Bytes in front of the next small frame. Large messages aren't: they take turns, and are no
    /// copies, so they take no more memory here than with their callers.
    #[inline]
    pub(crate) fn small_bytes(&self) -> usize {
        self.small.len()
    }

    /// Bytes that wait here, with what is left of large messages.
    #[inline]
    pub(crate) fn queued_bytes(&self) -> usize {
        self.small.len() + self.bulk_bytes
    }

    /// Bytes that wait here beside the largest message: one message, however large, is no sign of a
    /// peer that doesn't read, and nothing waits behind it.
    pub(crate) fn bytes_beside_the_largest(&self) -> usize {
        let largest = self.bulk.iter().chain(&self.stalled).map(Bulk::bytes).max();
        self.queued_bytes() - largest.unwrap_or_default()
    }

    /// Whether any large message or item waits for credit.
    pub(crate) fn is_held_up(&self) -> bool {
        !self.stalled.is_empty() || !self.blocked.is_empty()
    }

    /// Whether something waits for the credit of the connection, which a peer grants as it reads.
    pub(crate) fn is_stalled(&self) -> bool {
        !self.stalled.is_empty()
    }

    /// Whether nothing waits here that can be sent now.
    pub(crate) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.bulk.is_empty()
    }

    /// Moves what is to be sent next into `batch`, which must be empty. `frame_bytes` bounds the
    /// frames that large messages are cut into. Calls `finished` for each large message whose last
    /// frame is now in the batch.
    pub(crate) fn draw(
        &mut self,
        batch: &mut Batch,
        frame_bytes: usize,
        mut finished: impl FnMut(Drawn),
    ) {
        debug_assert!(batch.is_empty());
        batch.bytes.clear();
        batch.at = 0;
        mem::swap(&mut self.small, &mut batch.bytes);
        batch.remaining = batch.bytes.len();
        self.terminals = 0;
        let mut drawn = 0;
        while drawn + TURN_BYTES <= BATCH_BULK_BYTES {
            let Some(mut bulk) = self.bulk.pop_front() else { break };
            let turn = bulk.draw(batch, frame_bytes, self.bulk_credit);
            drawn += turn.bytes;
            self.bulk_credit -= turn.charged;
            self.charged_frames += u64::from(turn.frames);
            match turn.next {
                Next::Done => {
                    self.bulk_terminals -= u32::from(bulk.terminal);
                    finished(Drawn {
                        call: bulk.lane,
                        position: self.drawn + batch.remaining as u64,
                        is_item: bulk.credit.is_some(),
                        credit: bulk.credit.unwrap_or_default(),
                    });
                }
                Next::Again => self.bulk.push_back(bulk),
                Next::Stalled => self.stalled.push_back(bulk),
                Next::Blocked => {
                    self.blocked.insert(bulk.lane, Box::new(bulk));
                }
            }
        }
        self.bulk_bytes -= drawn;
        self.drawn += batch.remaining as u64;
        batch.end = self.drawn;
    }

    /// Gives back the memory that nothing needs while the connection is idle.
    pub(crate) fn shrink(&mut self) {
        if self.small.is_empty() {
            self.small = Vec::new();
        }
        if self.bulk.is_empty() {
            self.bulk = VecDeque::new();
        }
        if self.stalled.is_empty() {
            self.stalled = VecDeque::new();
        }
    }
}

/// A large message or item of which the last frame was drawn.
#[derive(Debug)]
pub(crate) struct Drawn {
    pub(crate) call: CallId,
    /// The position after it.
    pub(crate) position: u64,
    pub(crate) is_item: bool,
    /// What is left of the credit of its stream.
    pub(crate) credit: usize,
}

#[cfg(any(fuzzing, test))]
impl Outbox {
    /// Small frames, as they lie.
    pub(crate) fn small_frames(&self) -> &[u8] {
        &self.small
    }

    /// The credit that a large item of this call has with it.
    pub(crate) fn credit_with_item(&self, call: CallId) -> usize {
        let all =
            self.bulk.iter().chain(&self.stalled).chain(self.blocked.values().map(AsRef::as_ref));
        all.filter(|bulk| bulk.lane == call).filter_map(|bulk| bulk.credit).sum()
    }

    /// Checks the counters against the frames. `terminal` says whether a frame that ends this lane
    /// ends a call of the peer.
    pub(crate) fn check_invariants(&self, terminal: impl Fn(Lane) -> bool) {
        let (mut rest, mut terminals) = (&self.small[..], 0);
        while let Some((length, end, lane)) = frame::decode_prefix(rest) {
            terminals += u32::from(end && terminal(lane));
            rest = &rest[PREFIX_BYTES + length..];
        }
        assert!(rest.is_empty(), "whole frames only");
        assert_eq!(self.terminals, terminals);
        let all = || {
            self.bulk.iter().chain(&self.stalled).chain(self.blocked.values().map(AsRef::as_ref))
        };
        let bulk_terminals = all().filter(|bulk| bulk.terminal).count();
        assert_eq!(self.bulk_terminals as usize, bulk_terminals);
        let bulk_bytes: usize = all().map(Bulk::bytes).sum();
        assert_eq!(self.bulk_bytes, bulk_bytes);
        assert!(all().all(|bulk| bulk.terminal == (bulk.ends_lane && terminal(bulk.lane.lane()))));
    }
}

#[cfg(test)]
mod tests;
