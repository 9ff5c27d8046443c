//! The frames that come in: each handed out once, those of one lane in order; no packets.
//!
//! Every frame of a direction has a number. The numbers that have come are the duplicate filter, the
//! window is counted in them, and the end of the direction is one. The order within a lane is in its
//! lane sequence; a frame that comes too early is held until those before it are there.

use std::{collections::BTreeMap, mem};

use bytes::Bytes;
use rpc_core::transport::{InFrame, Inbox, Lane, Payload};

use super::{Violation, budget::Budget};
use crate::proto::{
    frame::LaneFrame,
    packet::{FRAME_BYTES, expand},
    ranges::Ranges,
};

/// Lanes of which frames are missing, or that haven't ended, at most. Core allows 65,536 calls in
/// each direction and closes a peer that opens more; this is for whoever gets past that.
const LANES_MAX: usize = 1 << 18;

/// What a held frame costs beside its bytes.
const HELD_COST: usize = 64;

/// What one side has received.
#[derive(Debug)]
pub(super) struct Receiving {
    /// Every frame below this has come.
    next: u64,
    /// Frames beyond it that have come.
    ahead: Ranges,
    /// Lanes that haven't ended. A lane of one frame never gets here.
    lanes: BTreeMap<u64, LaneState>,
    /// The lane of the hello, once the first of its pieces has come.
    hello: Option<u64>,
    /// Whether the hello was handed out: everything else waits for it.
    is_begun: bool,
    /// How many frames beyond `next` the peer may send.
    window: u32,
    /// How many frames the peer sends in all, once it has said so.
    total: Option<u64>,
    budget: Budget,
}

#[derive(Debug, Default)]
struct LaneState {
    /// The lane sequence that comes next.
    next: u64,
    held: BTreeMap<u64, Held>,
    /// The pieces so far of a frame that is cut into several.
    partial: Vec<u8>,
}

#[derive(Debug)]
struct Held {
    end: bool,
    more: bool,
    payload: Bytes,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was new.
    New,
    /// It had come before.
    Again,
    /// There is no memory to hold it. It counts as lost.
    NoRoom,
}

impl Receiving {
    pub(super) fn new(window: u32, budget: Budget) -> Self {
        Self {
            next: 0,
            ahead: Ranges::new(),
            lanes: BTreeMap::new(),
            hello: None,
            is_begun: false,
            window,
            total: None,
            budget,
        }
    }

    /// The first frame that the peer may not send yet.
    pub(super) fn window_end(&self) -> u64 {
        self.next + u64::from(self.window)
    }

    /// Whether everything that the peer sends has come.
    pub(super) fn is_complete(&self) -> bool {
        self.total == Some(self.next)
    }

    /// Whether frames wait for others.
    pub(super) fn has_gaps(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Bytes that are held for the frames before them, with what they cost.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.budget.used()
    }

    /// Lanes that haven't ended, and gaps between the frames that came.
    #[cfg(test)]
    pub(super) fn lanes_and_gaps(&self) -> (usize, usize) {
        (self.lanes.len(), self.ahead.len())
    }

    /// As if so many frames had come, so many of them on this lane.
    #[cfg(test)]
    pub(super) fn begin_at(&mut self, number: u64, lane: u64, lane_seq: u64) {
        self.next = number;
        self.is_begun = number > 0;
        self.lanes.insert(lane, LaneState { next: lane_seq, ..LaneState::default() });
    }

    /// Takes one frame, and hands out all that this completes.
    pub(super) fn handle_frame(
        &mut self,
        frame: &LaneFrame<'_>,
        inbox: &mut impl Inbox,
    ) -> Result<Taken, Violation> {
        // r[impl lane-frame.number]
        let number = expand(frame.number, self.next);
        // r[impl window.exceeded]
        if number >= self.window_end() {
            return Err(Violation::Window);
        }
        // r[impl fin.total]
        if self.total.is_some_and(|total| number >= total) {
            return Err(Violation::Protocol("a frame behind the last one"));
        }
        if number < self.next || self.ahead.contains(number) {
            return Ok(Taken::Again);
        }
        let taken = self.place(number, frame, inbox)?;
        if taken == Taken::New {
            self.note(number);
        }
        Ok(taken)
    }

    /// The peer has sent so many frames in all.
    pub(super) fn handle_fin(&mut self, total: u32) -> Result<(), Violation> {
        let total = expand(total, self.next);
        let beyond = self.ahead.max().is_some_and(|last| last >= total);
        // r[impl fin.total]
        if total < self.next || beyond || self.total.is_some_and(|before| before != total) {
            return Err(Violation::Protocol("an end that doesn't fit the frames"));
        }
        self.total = Some(total);
        Ok(())
    }

    /// Counts a frame that has come.
    fn note(&mut self, number: u64) {
        if number != self.next {
            self.ahead.insert(number);
            return;
        }
        self.next += 1;
        if !self.ahead.is_empty() {
            self.next = self.ahead.lowest_missing(self.next);
            self.ahead.remove_below(self.next);
        }
    }

    /// Hands the frame out, or holds it.
    fn place(
        &mut self,
        number: u64,
        frame: &LaneFrame<'_>,
        inbox: &mut impl Inbox,
    ) -> Result<Taken, Violation> {
        let lane = frame.lane;
        let state = self.lanes.get_mut(&lane);
        let next = state.as_ref().map_or(0, |state| state.next);
        let sequence = expand(frame.lane_seq, next);
        if sequence < next {
            return Err(Violation::Protocol("two frames in one place of a lane"));
        }
        // r[impl lane-frame.first]
        if number == 0 {
            if sequence != 0 || state.as_ref().is_some_and(|state| state.held.contains_key(&0)) {
                return Err(Violation::Protocol("a first frame that isn't the first of its lane"));
            }
            self.hello = Some(lane);
        }
        let may_pass = self.is_begun || self.hello == Some(lane);
        // r[impl lane-frame.order]
        let frame_bytes_max = inbox.frame_bytes_max();
        if sequence > next || !may_pass {
            return self.hold(lane, sequence, frame, frame_bytes_max);
        }
        let was_begun = self.is_begun;
        // The usual cases: the whole of a lane, or the next of it, where nothing is held.
        if !frame.more && state.as_ref().is_none_or(|state| state.partial.is_empty()) {
            let payload = Payload::Borrowed(frame.payload);
            inbox.push(InFrame { lane: Lane::new(lane), end: frame.end, payload });
            self.is_begun = true;
            self.pass(lane, frame.end)?;
        } else if self.hold(lane, sequence, frame, frame_bytes_max)? == Taken::NoRoom {
            return Ok(Taken::NoRoom);
        }
        self.release(lane, inbox)?;
        if self.is_begun && !was_begun {
            // Everything that came before the hello waits for it.
            let waiting: Vec<u64> = self.lanes.keys().copied().collect();
            for lane in waiting {
                self.release(lane, inbox)?;
            }
        }
        Ok(Taken::New)
    }

    /// The next frame of the lane was handed out.
    fn pass(&mut self, lane: u64, end: bool) -> Result<(), Violation> {
        if end {
            let left = self.lanes.remove(&lane);
            if left.is_some_and(|state| !state.held.is_empty()) {
                return Err(Violation::Protocol("frames behind the end of their lane"));
            }
            return Ok(());
        }
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.next += 1;
            return Ok(());
        }
        self.open(lane)?.next = 1;
        Ok(())
    }

    fn open(&mut self, lane: u64) -> Result<&mut LaneState, Violation> {
        // r[impl limit.lanes]
        if self.lanes.len() >= LANES_MAX && !self.lanes.contains_key(&lane) {
            return Err(Violation::Limit("too many lanes"));
        }
        Ok(self.lanes.entry(lane).or_default())
    }

    /// Keeps a frame for later.
    fn hold(
        &mut self,
        lane: u64,
        sequence: u64,
        frame: &LaneFrame<'_>,
        frame_bytes_max: usize,
    ) -> Result<Taken, Violation> {
        // What is held waits for a frame that lies within the window, as it does itself, or is of
        // the one large frame of which the peer is sending the pieces. A peer that skips places of
        // lanes for good, or leaves many frames in pieces, would hold the memory of all sessions.
        let window_bytes = (FRAME_BYTES + HELD_COST).saturating_mul(self.window as usize);
        if self.budget.used() > window_bytes.saturating_add(frame_bytes_max) {
            return Err(Violation::Limit("more unfinished frames than fit the window"));
        }
        // r[impl limit.held]
        if !self.budget.take(frame.payload.len() + HELD_COST) {
            return Ok(Taken::NoRoom);
        }
        let held = Held {
            end: frame.end,
            more: frame.more,
            payload: Bytes::copy_from_slice(frame.payload),
        };
        let state = self.open(lane)?;
        let before = state.held.insert(sequence, held);
        if before.is_some() {
            return Err(Violation::Protocol("two frames in one place of a lane"));
        }
        Ok(Taken::New)
    }

    /// Hands out what is held of a lane and can go now.
    fn release(&mut self, lane: u64, inbox: &mut impl Inbox) -> Result<(), Violation> {
        loop {
            let Some(state) = self.lanes.get_mut(&lane) else { return Ok(()) };
            let Some(held) = state.held.remove(&state.next) else { return Ok(()) };
            let Held { end, more, mut payload } = held;
            if more || !state.partial.is_empty() {
                // r[impl lane-frame.more]
                let bytes = state.partial.len() + payload.len();
                if bytes > inbox.frame_bytes_max() {
                    return Err(Violation::Limit("a frame above the limit"));
                }
                state.partial.extend_from_slice(&payload);
                if more {
                    self.budget.give(HELD_COST);
                    state.next += 1;
                    continue;
                }
                payload = Bytes::from(mem::take(&mut state.partial));
            }
            self.budget.give(payload.len() + HELD_COST);
            let payload = Payload::Owned(payload);
            inbox.push(InFrame { lane: Lane::new(lane), end, payload });
            self.is_begun = true;
            self.pass(lane, end)?;
        }
    }
}
