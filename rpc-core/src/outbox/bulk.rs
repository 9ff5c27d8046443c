//! A large message or item: how its turns cut it into frames, within what the peer allows.

use std::mem;

use bytes::Bytes;

use super::{Batch, TURN_BYTES};
use crate::{
    frame::{self, CallId, PREFIX_BYTES},
    mux::ITEM_COST,
};

/// A large message. Its first frame has the header of its kind, the others are DATA frames.
#[derive(Debug)]
pub(super) struct Bulk {
    pub(super) lane: CallId,
    /// The first frame's header; empty once that frame was drawn.
    pub(super) header: Vec<u8>,
    pub(super) body: Bytes,
    /// What comes after `body`.
    pub(super) tail: Bytes,
    pub(super) terminal: bool,
    /// Whether its last frame is the last of its lane in this direction.
    pub(super) ends_lane: bool,
    /// What the stream of an item may still send. `None` for messages.
    pub(super) credit: Option<usize>,
}

/// What a turn of a large message came to.
pub(super) struct Turn {
    pub(super) bytes: usize,
    /// How much of the connection's credit it took, and in how many frames.
    pub(super) charged: usize,
    pub(super) frames: u32,
    pub(super) next: Next,
}

/// What is to become of a large message after its turn.
pub(super) enum Next {
    /// All of it is drawn.
    Done,
    /// It comes to the end of the queue.
    Again,
    /// It waits for the connection's credit.
    Stalled,
    /// It waits for its stream's credit.
    Blocked,
}

impl Bulk {
    /// A message in two parts.
    pub(super) fn new(
        lane: CallId,
        header: Vec<u8>,
        [body, tail]: [Bytes; 2],
        terminal: bool,
    ) -> Self {
        Self { lane, header, body, tail, terminal, ends_lane: true, credit: None }
    }

    /// An item, with what its stream may still send.
    pub(super) fn item(lane: CallId, header: Vec<u8>, body: Bytes, credit: usize) -> Self {
        let message = Self::new(lane, header, [body, Bytes::new()], false);
        Self { ends_lane: false, credit: Some(credit), ..message }
    }

    /// What is left of it.
    pub(super) fn bytes(&self) -> usize {
        self.body.len() + self.tail.len()
    }

    /// Adds one turn to the batch: one frame of at most `frame_bytes` (or its header and a byte, if
    /// that is more), and more of them as long as
    /// the turn is kept, and as `bulk_credit` and the stream's credit allow.
    pub(super) fn draw(
        &mut self,
        batch: &mut Batch,
        frame_bytes: usize,
        bulk_credit: usize,
    ) -> Turn {
        let mut turn = Turn { bytes: 0, charged: 0, frames: 0, next: Next::Again };
        loop {
            let head = if self.is_begun() { frame::DATA_HEADER_BYTES } else { self.header.len() };
            let room = frame_bytes.saturating_sub(head).max(1);
            // r[impl credit.cost]
            let fixed = if self.credit.is_some() && !self.is_begun() { ITEM_COST } else { 0 };
            let is_one_frame = self.bytes() <= room;
            let is_free = self.credit.is_none() && !self.is_begun() && is_one_frame;
            let mut bytes = room.min(self.bytes());
            if !is_free {
                let own = self.credit.unwrap_or(usize::MAX);
                let rest = bulk_credit - turn.charged;
                bytes = bytes.min(own.min(rest).saturating_sub(fixed));
                if bytes == 0 {
                    turn.next = if own <= fixed { Next::Blocked } else { Next::Stalled };
                    return turn;
                }
                self.credit = self.credit.map(|credit| credit - (bytes + fixed));
                turn.charged += bytes + fixed;
                turn.frames += 1;
            }
            self.draw_frame(batch, head, bytes);
            turn.bytes += bytes;
            if self.bytes() == 0 {
                turn.next = Next::Done;
                return turn;
            }
            if turn.bytes + frame_bytes.min(self.bytes()) > TURN_BYTES {
                return turn;
            }
        }
    }

    /// Whether its first frame was drawn.
    fn is_begun(&self) -> bool {
        self.header.is_empty()
    }

    /// Adds one frame with so many bytes of the body to the batch.
    fn draw_frame(&mut self, batch: &mut Batch, head: usize, bytes: usize) {
        let header = mem::take(&mut self.header);
        let body = self.body.split_to(bytes.min(self.body.len()));
        let tail = self.tail.split_to(bytes - body.len());
        let last = self.bytes() == 0;
        let start = batch.bytes.len();
        // r[impl lane.end]
        let end = last && self.ends_lane;
        frame::encode_prefix(&mut batch.bytes, self.lane.lane(), head + bytes, end);
        if header.is_empty() {
            frame::encode_data_header(&mut batch.bytes, !last);
        } else {
            batch.bytes.extend_from_slice(&header);
            // r[impl message.frames]
            frame::set_more(&mut batch.bytes, start + PREFIX_BYTES, !last);
        }
        batch.remaining += PREFIX_BYTES + head + bytes;
        for part in [body, tail] {
            if !part.is_empty() {
                batch.bodies.push_back((batch.bytes.len(), part));
            }
        }
    }
}
