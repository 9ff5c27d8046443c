//! The outbox: frames that wait to be sent, and the batches that transports drain; no I/O.
//!
//! Frames lie in it as they go over a byte stream ([`stream layout`](crate::frame#stream-layout)),
//! so TCP writes a batch as it lies. Small frames are copied in; bodies of 16 KiB and more enter as
//! [`Bytes`] and are cut into frames when their turn comes, round-robin, so that a large message
//! never holds up a small one.

use std::{collections::VecDeque, io::IoSlice, mem};

use bytes::{Buf, Bytes};

use crate::frame::{self, CallId, Lane, PREFIX_BYTES};

/// Bodies of at least this many bytes are sent without being copied into the outbox.
/// Below it one copy is cheaper than an entry of its own and a longer `writev`.
pub(crate) const BULK_BYTES: usize = 16 * 1024;

/// How much one message may add to a batch before the next message has its turn.
const TURN_BYTES: usize = 64 * 1024;

/// How much large messages together add to one batch, so that small frames queued meanwhile wait
/// for at most this much.
const BATCH_BULK_BYTES: usize = 256 * 1024;

/// Frames that wait for the connection's next batch.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Small frames, in stream layout.
    small: Vec<u8>,
    /// Large messages, whose remaining bytes are cut into frames when they are drawn.
    bulk: VecDeque<Bulk>,
    /// Frames in `small` that end a call of the peer.
    terminals: u32,
    /// Messages in `bulk` that end a call of the peer.
    bulk_terminals: u32,
    /// Bytes of the bodies in `bulk`.
    bulk_bytes: usize,
    /// Bytes drawn so far: the position at which `small` begins.
    drawn: u64,
}

/// A large message. Its first frame has the header of its kind, the others are DATA frames.
#[derive(Debug)]
struct Bulk {
    lane: CallId,
    /// The first frame's header; empty once that frame was drawn.
    header: Vec<u8>,
    body: Bytes,
    terminal: bool,
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

    /// Queues a large message. `header` is its first frame's header, without the prefix.
    pub(crate) fn push_bulk(&mut self, lane: CallId, header: Vec<u8>, body: Bytes, terminal: bool) {
        self.bulk_terminals += u32::from(terminal);
        self.bulk_bytes += body.len();
        self.bulk.push_back(Bulk { lane, header, body, terminal });
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

    /// Turns the frame of `bytes` bytes that ends at `position` into one that the peer skips.
    /// Returns `false` when it was drawn already.
    pub(crate) fn void(&mut self, position: u64, bytes: usize) -> bool {
        let end = position.checked_sub(self.drawn).and_then(|end| usize::try_from(end).ok());
        let start = end.and_then(|end| end.checked_sub(bytes));
        let kind = start.and_then(|start| self.small.get_mut(start + PREFIX_BYTES));
        match kind {
            Some(kind) if bytes > 0 => {
                *kind = frame::VOID;
                true
            }
            _ => false,
        }
    }

    /// Takes back every request that wasn't drawn. Returns the position up to which frames were.
    pub(crate) fn void_requests(&mut self) -> u64 {
        let mut at = 0;
        while let Some((length, _, _)) = self.small.get(at..).and_then(frame::decode_prefix) {
            let kind = self.small.get_mut(at + PREFIX_BYTES);
            if let Some(kind) = kind.filter(|kind| **kind == frame::Kind::Request as u8) {
                *kind = frame::VOID;
            }
            at += PREFIX_BYTES + length;
        }
        self.bulk.retain(|bulk| bulk.terminal);
        self.bulk_bytes = self.bulk.iter().map(|bulk| bulk.body.len()).sum();
        self.drawn
    }

    /// Forgets what is left of the message of `call`. Returns the header of its first frame, or an
    /// empty one if that was drawn.
    pub(crate) fn drop_bulk_of(&mut self, call: CallId) -> Option<Vec<u8>> {
        let at = self.bulk.iter().position(|bulk| bulk.lane == call)?;
        let bulk = self.bulk.remove(at)?;
        self.bulk_terminals -= u32::from(bulk.terminal);
        self.bulk_bytes -= bulk.body.len();
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

    /// Whether nothing waits here.
    pub(crate) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.bulk.is_empty()
    }

    /// Moves what is to be sent next into `batch`, which must be empty. `frame_bytes` bounds the
    /// frames that large messages are cut into. Calls `finished` with the call and the end position
    /// of each large message whose last frame is now in the batch.
    pub(crate) fn draw(
        &mut self,
        batch: &mut Batch,
        frame_bytes: usize,
        mut finished: impl FnMut(CallId, u64),
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
            drawn += bulk.draw(batch, frame_bytes);
            if bulk.body.is_empty() {
                self.bulk_terminals -= u32::from(bulk.terminal);
                finished(bulk.lane, self.drawn + batch.remaining as u64);
            } else {
                self.bulk.push_back(bulk);
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
    }
}

impl Bulk {
    /// Adds one turn to the batch: one frame of at most `frame_bytes`, and more of them as long as
    /// the turn is kept. Returns how many bytes of the body that was.
    fn draw(&mut self, batch: &mut Batch, frame_bytes: usize) -> usize {
        let mut drawn = 0;
        loop {
            let header = mem::take(&mut self.header);
            let head = if header.is_empty() { frame::DATA_HEADER_BYTES } else { header.len() };
            let room = frame_bytes.saturating_sub(head).max(1);
            let body = self.body.split_to(room.min(self.body.len()));
            drawn += body.len();
            let last = self.body.is_empty();
            let start = batch.bytes.len();
            // r[impl lane.end]
            frame::encode_prefix(&mut batch.bytes, self.lane.lane(), head + body.len(), last);
            if header.is_empty() {
                frame::encode_data_header(&mut batch.bytes, !last);
            } else {
                batch.bytes.extend_from_slice(&header);
                // r[impl message.frames]
                frame::set_more(&mut batch.bytes, start + PREFIX_BYTES, !last);
            }
            batch.remaining += PREFIX_BYTES + head + body.len();
            if !body.is_empty() {
                batch.bodies.push_back((batch.bytes.len(), body));
            }
            if last || drawn + frame_bytes.min(self.body.len()) > TURN_BYTES {
                return drawn;
            }
        }
    }
}

#[cfg(test)]
impl Outbox {
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
        let bulk_terminals = self.bulk.iter().filter(|bulk| bulk.terminal).count();
        assert_eq!(self.bulk_terminals as usize, bulk_terminals);
        let bulk_bytes: usize = self.bulk.iter().map(|bulk| bulk.body.len()).sum();
        assert_eq!(self.bulk_bytes, bulk_bytes);
        assert!(self.bulk.iter().all(|bulk| bulk.terminal == terminal(bulk.lane.lane())));
    }
}

/// Frames on their way out, in order: what the outbox held when the writer ran.
///
/// A byte stream writes it as it lies, through [`Buf`]; a transport of datagrams takes it frame by
/// frame through [`next_frame`](Batch::next_frame). What was consumed counts as possibly sent.
#[derive(Debug, Default)]
pub struct Batch {
    /// Small frames and the headers of large ones, in stream layout.
    bytes: Vec<u8>,
    /// How much of `bytes` is consumed.
    at: usize,
    /// Bodies that belong at the given offsets of `bytes`.
    bodies: VecDeque<(usize, Bytes)>,
    /// Bytes left, bodies included.
    remaining: usize,
    /// The outbox's position after this batch.
    end: u64,
}

/// One frame to send, as [`Batch::next_frame`] hands it out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutFrame {
    /// The lane it belongs to.
    pub lane: Lane,
    /// Whether it is the last frame of its lane in this direction.
    pub end: bool,
    /// The frame.
    pub payload: Bytes,
}

impl Batch {
    /// Whether everything was consumed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    /// Consumes one whole frame. `None` when the batch is empty.
    ///
    /// Not to be mixed with consuming it as a byte stream.
    pub fn next_frame(&mut self) -> Option<OutFrame> {
        let prefix = self.bytes.get(self.at..)?;
        let (length, end, lane) = frame::decode_prefix(prefix)?;
        self.advance(PREFIX_BYTES);
        let payload = self.copy_to_bytes(length.min(self.remaining));
        Some(OutFrame { lane, end, payload })
    }

    /// Appends one frame, laid out as the outbox does it: large payloads stay where they are.
    #[cfg(feature = "testing")]
    pub(crate) fn push(&mut self, OutFrame { lane, end, payload }: OutFrame) {
        frame::encode_prefix(&mut self.bytes, lane, payload.len(), end);
        self.remaining += PREFIX_BYTES + payload.len();
        self.end += (PREFIX_BYTES + payload.len()) as u64;
        if payload.len() < BULK_BYTES {
            self.bytes.extend_from_slice(&payload);
        } else {
            self.bodies.push_back((self.bytes.len(), payload));
        }
    }

    /// The position up to which the outbox's frames have been consumed.
    pub(crate) fn position(&self) -> u64 {
        self.end - self.remaining as u64
    }

    /// Gives back the memory that nothing needs while the connection is idle.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.bodies = VecDeque::new();
        }
    }

    /// Where the run of `bytes` that begins at `at` ends: at the next body, or at the end.
    fn run_end(&self) -> usize {
        self.bodies.front().map_or(self.bytes.len(), |(offset, _)| *offset)
    }
}

impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        match (self.bytes.get(self.at..self.run_end()), self.bodies.front()) {
            (Some([]) | None, Some((_, body))) => body,
            (Some(run), _) => run,
            (None, None) => &[],
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut at = self.at;
        let mut bodies = self.bodies.iter();
        let pieces = std::iter::from_fn(|| {
            let Some((offset, body)) = bodies.next() else {
                let rest = self.bytes.get(at..).unwrap_or_default();
                at = self.bytes.len();
                return (!rest.is_empty()).then_some((rest, &[][..]));
            };
            let run = self.bytes.get(at..*offset).unwrap_or_default();
            at = *offset;
            Some((run, &body[..]))
        });
        for (run, body) in pieces {
            for piece in [run, body] {
                let Some(slot) = slices.get_mut(used) else { return used };
                if !piece.is_empty() {
                    *slot = IoSlice::new(piece);
                    used += 1;
                }
            }
        }
        used
    }

    fn advance(&mut self, mut count: usize) {
        debug_assert!(count <= self.remaining);
        self.remaining = self.remaining.saturating_sub(count);
        while count > 0 {
            let run = self.run_end() - self.at;
            let step = run.min(count);
            self.at += step;
            count -= step;
            if count == 0 {
                break;
            }
            let Some((_, body)) = self.bodies.front_mut() else { break };
            let step = body.len().min(count);
            body.advance(step);
            count -= step;
            if body.is_empty() {
                self.bodies.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests;
