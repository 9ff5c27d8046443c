//! The frames that go out: their numbers, what is sent again, the end; no packets.

use std::collections::VecDeque;

use bytes::Bytes;

use super::lanes::Lanes;
use crate::{
    planted::planted,
    proto::{
        frame::{self, FrameHeader},
        packet::{FRAME_BYTES, FRAME_HEADER_BYTES, expand},
    },
};

/// Where new frames come from.
pub(crate) trait Source {
    /// The next frame: its lane, whether it ends it, its length. `None` when there is none.
    fn peek(&self) -> Option<(u64, bool, usize)>;

    /// Takes the next frame, and appends it.
    fn take(&mut self, out: &mut Vec<u8>);

    /// About how many bytes are left.
    fn remaining(&self) -> usize;

    /// Whether what it says is all there is to send. Else there may be frames elsewhere.
    fn is_all(&self) -> bool {
        true
    }
}

/// What one side sends.
#[derive(Debug)]
pub(super) struct Sending {
    /// The number of the next frame.
    next: u64,
    /// The first number that the peer doesn't take yet.
    window_end: u64,
    /// The next lane sequence of each lane that has begun and not ended.
    lanes: Lanes<u64>,
    /// A frame that is cut into several, and what is left of it.
    cut: Option<Box<Cut>>,
    /// Frames that were lost, as they lay in their packets.
    lost: VecDeque<Bytes>,
    fin: Fin,
}

#[derive(Debug)]
struct Cut {
    lane: u64,
    end: bool,
    rest: Bytes,
}

/// How far the end of this direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fin {
    /// More is to come.
    Open,
    /// It is to be sent, once everything else has been.
    Due,
    /// It is under way.
    Sent,
    /// The peer knows.
    Known,
}

impl Sending {
    pub(super) fn new(window: u32) -> Self {
        Self {
            next: 0,
            window_end: u64::from(window),
            lanes: Lanes::new(),
            cut: None,
            lost: VecDeque::new(),
            fin: Fin::Open,
        }
    }

    /// As if so many frames had been sent, so many of them on this lane.
    #[cfg(any(fuzzing, test))]
    pub(super) fn begin_at(&mut self, number: u64, lane: u64, lane_seq: u64) {
        self.window_end += number;
        self.next = number;
        self.lanes.insert(lane, lane_seq);
    }

    /// The frames that may still be sent, and packets' frames that wait to be sent again.
    #[cfg(any(fuzzing, test))]
    pub(super) fn room(&self) -> (u64, usize) {
        (self.window_end - self.next, self.lost.len())
    }

    /// Lanes that haven't ended.
    #[cfg(any(fuzzing, test))]
    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Gives back the memory that an idle session doesn't need.
    pub(super) fn shrink(&mut self) {
        self.lanes.shrink();
        if self.lost.is_empty() {
            self.lost = VecDeque::new();
        }
    }

    /// Nothing more comes from the source.
    pub(super) fn end(&mut self) {
        if self.fin == Fin::Open {
            self.fin = Fin::Due;
        }
    }

    /// Whether nothing more comes from the source.
    pub(super) fn is_ending(&self) -> bool {
        self.fin != Fin::Open
    }

    /// Whether the peer has everything, as far as this knows: nothing waits to be sent.
    pub(super) fn is_known(&self) -> bool {
        self.fin == Fin::Known && self.lost.is_empty() && self.cut.is_none()
    }

    /// The peer allows frames up to this number; it never takes that back.
    pub(super) fn allow(&mut self, window_end: u32) {
        // r[impl window.limit]
        self.window_end = self.window_end.max(expand(window_end, self.next));
    }

    /// Whether there is anything to send, but for the source.
    pub(super) fn has_own(&self) -> bool {
        !self.lost.is_empty() || self.cut.is_some() && self.is_open() || self.fin == Fin::Due
    }

    /// Whether the peer takes another new frame.
    pub(super) fn is_open(&self) -> bool {
        self.next < self.window_end + u64::from(planted("window-overrun"))
    }

    /// Whether a large frame has to be sent whole before the source's next.
    pub(super) fn is_cutting(&self) -> bool {
        self.cut.is_some()
    }

    /// The packet with these frames was lost, or may be: they are sent again.
    pub(super) fn resend(&mut self, frames: &Bytes, fin: bool) {
        if !frames.is_empty() {
            self.lost.push_back(frames.clone());
        }
        if fin && self.fin == Fin::Sent && !planted("lost-end-not-repeated") {
            self.fin = Fin::Due;
        }
    }

    /// The peer has the end.
    pub(super) fn note_fin_known(&mut self) {
        self.fin = Fin::Known;
    }

    /// Appends frames as long as they fit below `limit` bytes of `out`: first what was lost, then new
    /// ones. Returns whether the end is among them.
    pub(super) fn fill(
        &mut self,
        out: &mut Vec<u8>,
        limit: usize,
        source: &mut impl Source,
    ) -> bool {
        self.fill_lost(out, limit);
        if self.lost.is_empty() {
            self.fill_new(out, limit, source);
        }
        let all_sent = self.lost.is_empty() && self.cut.is_none() && source.peek().is_none();
        if self.fin != Fin::Due || !all_sent || limit.saturating_sub(out.len()) < frame::FIN_BYTES {
            return false;
        }
        // r[impl session.fin]
        frame::encode_fin(out, self.next);
        self.fin = Fin::Sent;
        true
    }

    fn fill_lost(&mut self, out: &mut Vec<u8>, limit: usize) {
        while let Some(frames) = self.lost.front_mut() {
            let Some(bytes) = first_frame_bytes(frames) else {
                self.lost.pop_front();
                continue;
            };
            if out.len() + bytes > limit {
                if planted("rest-of-lost-packet-dropped") {
                    self.lost.pop_front();
                }
                return;
            }
            out.extend_from_slice(&frames.split_to(bytes));
        }
    }

    fn fill_new(&mut self, out: &mut Vec<u8>, limit: usize, source: &mut impl Source) {
        while self.is_open() {
            if self.cut.is_some() {
                if !self.fill_cut(out, limit) {
                    return;
                }
                continue;
            }
            let Some((lane, end, bytes)) = source.peek() else { return };
            if bytes > FRAME_BYTES {
                let mut whole = Vec::with_capacity(bytes);
                source.take(&mut whole);
                self.cut = Some(Box::new(Cut { lane, end, rest: Bytes::from(whole) }));
                continue;
            }
            if out.len() + FRAME_HEADER_BYTES + bytes > limit {
                return;
            }
            self.begin(out, lane, bytes, end, false);
            source.take(out);
        }
    }

    /// Appends a piece of a large frame, if it fits. Pieces are as large as one datagram of the
    /// smallest kind takes, so that they can be sent again whatever becomes of the path.
    fn fill_cut(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        let Some(mut cut) = self.cut.take() else { return false };
        let bytes = cut.rest.len().min(FRAME_BYTES);
        if out.len() + FRAME_HEADER_BYTES + bytes > limit {
            self.cut = Some(cut);
            return false;
        }
        // r[impl lane-frame.size]
        let more = bytes < cut.rest.len();
        self.begin(out, cut.lane, bytes, cut.end && !more, more);
        out.extend_from_slice(&cut.rest.split_to(bytes));
        if more {
            self.cut = Some(cut);
        }
        true
    }

    /// Appends the header of a new frame.
    fn begin(&mut self, out: &mut Vec<u8>, lane: u64, bytes: usize, end: bool, more: bool) {
        // r[impl lane-frame.order]
        let lane_seq = match (end, self.lanes.get_mut(lane)) {
            (false, Some(next)) => {
                let this = *next;
                *next += 1;
                this
            }
            (true, Some(next)) => {
                let this = *next;
                self.lanes.remove(lane);
                this
            }
            (false, None) => {
                self.lanes.insert(lane, 1);
                0
            }
            (true, None) => 0,
        };
        let header = FrameHeader { number: self.next, lane, lane_seq, end, more };
        frame::encode_frame_header(out, header, bytes);
        self.next += 1;
    }
}

/// Bytes of the first lane frame in a piece of a packet.
fn first_frame_bytes(frames: &Bytes) -> Option<usize> {
    let payload = frame::lane_frame_bytes(frames)?;
    Some(FRAME_HEADER_BYTES + payload).filter(|bytes| *bytes <= frames.len())
}
