//! What tests see of a session, and numbers that it can be made to begin with; no tests.

use std::time::Instant;

use super::super::Session;

/// What a session holds, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inspected {
    /// Whether packets wait for acknowledgements, and how many bytes they have.
    pub(crate) is_waiting: bool,
    pub(crate) in_flight: u64,
    /// Packets that are kept an account of.
    pub(crate) sent_entries: usize,
    /// Frames that may still be sent.
    pub(crate) window: u64,
    /// Packets whose frames wait to be sent again.
    pub(crate) resends: usize,
    pub(crate) lanes_out: usize,
    pub(crate) lanes_in: usize,
    /// Runs of frames that came before others.
    pub(crate) gaps: usize,
    /// Bytes that are held of frames that can't be handed out yet.
    pub(crate) held_bytes: usize,
    /// Ranges of packet numbers that came.
    pub(crate) ranges: usize,
    pub(crate) timer: Option<Instant>,
    pub(crate) is_over: bool,
    pub(crate) congestion_window: u64,
    pub(crate) datagram_bytes: u16,
}

impl Inspected {
    /// Whether nothing is under way, held or waited for.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.is_waiting
            && self.in_flight == 0
            && self.resends == 0
            && self.gaps == 0
            && self.held_bytes == 0
            && self.timer.is_none()
    }
}

/// Where the numbers of one direction begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) packet: u64,
    pub(crate) frame: u64,
    pub(crate) lane: u64,
    pub(crate) lane_seq: u64,
}

impl Session {
    pub(crate) fn inspect(&self) -> Inspected {
        let (window, resends) = self.sending.room();
        let (lanes_in, gaps) = self.receiving.lanes_and_gaps();
        Inspected {
            is_waiting: self.sent.is_waiting(),
            in_flight: self.sent.in_flight(),
            sent_entries: self.sent.entries(),
            window,
            resends,
            lanes_out: self.sending.lanes(),
            lanes_in,
            gaps,
            held_bytes: self.receiving.held_bytes(),
            ranges: self.acks.ranges(),
            timer: self.poll_timeout(),
            is_over: self.is_over,
            congestion_window: self.congestion.window(),
            datagram_bytes: self.mtu.current(),
        }
    }

    /// Lets the numbers of both directions begin elsewhere than at 0.
    pub(crate) fn begin_at(&mut self, now: Instant, out: Numbers, into: Numbers) {
        self.sent.begin_at(out.packet);
        self.sending.begin_at(out.frame, out.lane, out.lane_seq);
        self.acks.begin_at(into.packet, now);
        self.receiving.begin_at(into.frame, into.lane, into.lane_seq);
    }
}
