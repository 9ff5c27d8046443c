//! The frames that come in: each handed out once, those of one lane in order; no packets.
//!
//! Every frame of a direction has a number. The numbers that have come are the duplicate filter, the
//! window is counted in them, and the end of the direction is one. The order within a lane is in its
//! lane sequence; a frame that comes too early is held until those before it are there.

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

use std::{
    collections::BTreeMap,
    mem,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rpc_core::transport::{InFrame, Inbox, Lane, Payload};

use super::{Violation, budget::Budget, lanes::Lanes};
use crate::{
    planted::planted,
    proto::{frame::LaneFrame, packet::expand, ranges::Ranges},
};

/// Lanes that have begun and not ended, at most. Core closes a peer that has more than 65,536 calls; this is
/// for one whose calls end, but never their lanes.
const LANES_MAX: usize = 1 << 18;

/// How many of them cost nothing. The others count as held bytes: what such a lane costs.
const LANES_FREE: usize = 1024;
const LANE_COST: usize = 128;

/// How much of a silence counts as waiting for a frame. The peer's machine may have slept, or this one.
// r[impl lane-frame.late]
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A frame that is waited for: when others last came, and for how long it has been.
#[derive(Debug)]
struct Gap {
    last: Instant,
    waited: Duration,
}

/// What a held frame costs beside its bytes.
const HELD_COST: usize = 64;

/// What one side has received.
#[derive(Debug)]
pub(super) struct Receiving {
    /// Every frame below this has come.
    next: u64,
    /// Frames beyond it that have come.
    ahead: Ranges,
    /// Lanes that have begun and not ended. A lane of one frame never gets here.
    lanes: Lanes<LaneState>,
    /// Whether the hello was handed out: everything else waits for it.
    is_begun: bool,
    /// Boxed: most sessions never have any.
    disorder: Option<Box<Disorder>>,
    /// How many frames beyond `next` the peer may send.
    window: u32,
    /// How many frames the peer sends in all, once it has said so.
    total: Option<u64>,
    /// Set while frames beyond the lowest missing number have come, and that one hasn't. Boxed: it is rare.
    gap: Option<Box<Gap>>,
    budget: Budget,
}

#[derive(Debug, Default)]
struct LaneState {
    /// The lane sequence that comes next.
    next: u64,
    /// Boxed: most lanes have none.
    early: Option<Box<Early>>,
}

impl LaneState {
    fn has_held(&self) -> bool {
        self.early.as_ref().is_some_and(|early| !early.held.is_empty())
    }

    fn has_partial(&self) -> bool {
        self.early.as_ref().is_some_and(|early| !early.partial.is_empty())
    }
}

/// What has come of a lane and can't be handed out yet.
#[derive(Debug, Default)]
struct Early {
    held: BTreeMap<u64, Held>,
    /// The pieces so far of a frame that is cut into several.
    partial: Vec<u8>,
}

/// What is out of order, in all lanes.
#[derive(Debug, Default)]
struct Disorder {
    /// The lanes of frames that are held, by their numbers.
    held: BTreeMap<u64, u64>,
    /// Pieces that go on in the next number, with their lanes, as far as that hasn't come.
    unfinished: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct Held {
    number: u64,
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
            lanes: Lanes::new(),
            is_begun: false,
            disorder: None,
            window,
            total: None,
            gap: None,
            budget,
        }
    }

    /// The first frame that the peer may not send yet.
    pub(super) fn window_end(&self) -> u64 {
        // r[impl window.limit]
        self.next.saturating_add(self.window.into())
    }

    /// Whether everything that the peer sends has come.
    pub(super) fn is_complete(&self) -> bool {
        self.total == Some(self.next)
    }

    /// Frames have come. Returns for how long the lowest that is missing has been waited for.
    pub(super) fn note_gap(&mut self, now: Instant) -> Duration {
        if self.ahead.is_empty() {
            return Duration::ZERO;
        }
        let gap =
            self.gap.get_or_insert_with(|| Box::new(Gap { last: now, waited: Duration::ZERO }));
        let silence = now.saturating_duration_since(gap.last).min(SILENCE_MAX);
        **gap = Gap { last: now, waited: gap.waited.saturating_add(silence) };
        gap.waited
    }

    /// Gives back the memory that an idle session doesn't need.
    pub(super) fn shrink(&mut self) {
        self.lanes.shrink();
        self.ahead.shrink();
        self.disorder.take_if(|it| it.held.is_empty() && it.unfinished.is_empty());
    }

    /// Bytes that are held for the frames before them, with what they cost.
    #[cfg(any(fuzzing, test))]
    pub(super) fn held_bytes(&self) -> usize {
        self.budget.used()
    }

    /// Lanes that haven't ended, and gaps between the frames that came.
    #[cfg(any(fuzzing, test))]
    pub(super) fn lanes_and_gaps(&self) -> (usize, usize) {
        (self.lanes.len(), self.ahead.len())
    }

    /// As if so many frames had come, so many of them on this lane.
    #[cfg(any(fuzzing, test))]
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
        let number = expand(frame.number, self.next);
        // r[impl window.exceeded]
        if number >= self.window_end() {
            return Err(Violation::Window);
        }
        // r[impl session.fin]
        if self.total.is_some_and(|total| number >= total) {
            return Err(Violation::Protocol("a frame behind the last one"));
        }
        // r[impl lane-frame.once]
        if number < self.next || self.ahead.contains(number) && !planted("frame-taken-twice") {
            return Ok(Taken::Again);
        }
        check_size(frame.payload.len(), inbox)?;
        self.check_pieces(number, frame)?;
        let taken = self.place(number, frame, inbox)?;
        if taken == Taken::New {
            self.note(number)?;
        }
        Ok(taken)
    }

    /// The peer has sent so many frames in all.
    pub(super) fn handle_fin(&mut self, total: u32) -> Result<(), Violation> {
        let total = expand(total, self.next);
        let beyond = self.ahead.max().is_some_and(|last| last >= total);
        // r[impl session.fin]
        if total < self.next || beyond || self.total.is_some_and(|before| before != total) {
            return Err(Violation::Protocol("an end that doesn't fit the frames"));
        }
        self.total = Some(total);
        Ok(())
    }

    /// The pieces of a frame have numbers in a row, so that one frame at a time is incomplete but
    /// for what was lost.
    fn check_pieces(&mut self, number: u64, frame: &LaneFrame<'_>) -> Result<(), Violation> {
        // r[impl lane-frame.pieces]
        const BROKEN: Violation = Violation::Protocol("a frame in the middle of another one");
        let disorder = self.disorder.as_ref();
        let goes_on = disorder.and_then(|it| it.unfinished.get(&number));
        if goes_on.is_some_and(|lane| *lane != frame.lane) {
            return Err(BROKEN);
        }
        let after = number.saturating_add(1);
        let next = disorder.and_then(|it| it.held.get(&after));
        if frame.more && self.ahead.contains(after) && next != Some(&frame.lane) {
            return Err(BROKEN);
        }
        Ok(())
    }

    /// Counts a frame that has come.
    fn note(&mut self, number: u64) -> Result<(), Violation> {
        if let Some(disorder) = &mut self.disorder {
            disorder.unfinished.remove(&number);
        }
        if number != self.next {
            self.ahead.insert(number);
            return Ok(());
        }
        self.next = self.next.saturating_add(1);
        self.gap = None;
        if !self.ahead.is_empty() {
            self.next = self.ahead.lowest_missing(self.next);
            self.ahead.remove_below(self.next);
        }
        // r[impl lane-frame.gap]
        // Numbers follow the lanes: everything before this number was handed out or never will be.
        let held = self.disorder.as_ref().and_then(|it| it.held.first_key_value());
        if held.is_some_and(|(first, _)| *first < self.next) {
            return Err(Violation::Protocol("a frame whose lane lacks one before it"));
        }
        Ok(())
    }

    /// Hands the frame out, or holds it.
    fn place(
        &mut self,
        number: u64,
        frame: &LaneFrame<'_>,
        inbox: &mut impl Inbox,
    ) -> Result<Taken, Violation> {
        let lane = frame.lane;
        let state = self.lanes.get(lane);
        let next = state.map_or(0, |state| state.next);
        let sequence = expand(frame.lane_seq, next);
        // r[impl lane-frame.first]
        let is_control = lane == Lane::CONTROL.number();
        if number == 0 && !(is_control && sequence == 0) {
            return Err(Violation::Protocol("a first frame that isn't that of lane 0"));
        }
        if sequence < next {
            return Err(Violation::Protocol("two frames in one place of a lane"));
        }
        let was_begun = self.is_begun;
        let may_pass = was_begun || is_control;
        // The usual cases: the whole of a lane, or the next of it, where nothing is incomplete.
        let is_plain = !frame.more && state.is_none_or(|state| !state.has_partial());
        let in_order = sequence == next || planted("lane-order-lost");
        let is_new = state.is_none();
        if in_order && may_pass && is_plain {
            let cost = if is_new && !frame.end { self.lane_cost() } else { 0 };
            if cost > 0 && !self.budget.take(cost, number == self.next) {
                return Ok(Taken::NoRoom);
            }
            inbox.push(InFrame {
                lane: Lane::new(lane),
                end: frame.end,
                payload: Payload::Borrowed(frame.payload),
            });
            self.is_begun = true;
            self.pass(lane, frame.end)?;
        } else if self.hold(number, sequence, frame)? == Taken::NoRoom {
            return Ok(Taken::NoRoom);
        }
        if may_pass {
            self.release(lane, inbox)?;
        }
        if self.is_begun && !was_begun {
            self.release_all(inbox)?;
        }
        Ok(Taken::New)
    }

    /// The next frame of the lane was handed out.
    fn pass(&mut self, lane: u64, end: bool) -> Result<(), Violation> {
        if end {
            let left = self.lanes.remove(lane);
            if left.is_some() {
                self.budget.give(self.lane_cost());
            }
            if left.is_some_and(|state| state.has_held()) {
                return Err(Violation::Protocol("frames behind the end of their lane"));
            }
            return Ok(());
        }
        let state = self.open(lane)?;
        state.next = state.next.saturating_add(1);
        Ok(())
    }

    /// What one more lane costs than there are.
    fn lane_cost(&self) -> usize {
        if self.lanes.len() < LANES_FREE { 0 } else { LANE_COST }
    }

    fn open(&mut self, lane: u64) -> Result<&mut LaneState, Violation> {
        // r[impl lane-frame.gap]
        if self.lanes.len() >= LANES_MAX && !self.lanes.contains(lane) {
            return Err(Violation::Limit("more lanes are open than this side allows"));
        }
        Ok(self.lanes.begin(lane))
    }

    /// Keeps a frame for later.
    fn hold(
        &mut self,
        number: u64,
        sequence: u64,
        frame: &LaneFrame<'_>,
    ) -> Result<Taken, Violation> {
        // r[impl window.budget]
        let is_new = !self.lanes.contains(frame.lane);
        let lane_cost = if is_new { self.lane_cost() } else { 0 };
        let cost = frame.payload.len().saturating_add(HELD_COST).saturating_add(lane_cost);
        if !self.budget.take(cost, number == self.next) {
            return Ok(Taken::NoRoom);
        }
        let payload = Bytes::copy_from_slice(frame.payload);
        let held = Held { number, end: frame.end, more: frame.more, payload };
        let early = self.open(frame.lane)?.early.get_or_insert_default();
        let before = early.held.insert(sequence, held);
        if before.is_some() {
            return Err(Violation::Protocol("two frames in one place of a lane"));
        }
        let disorder = self.disorder.get_or_insert_default();
        disorder.held.insert(number, frame.lane);
        let after = number.saturating_add(1);
        if frame.more && after >= self.next && !self.ahead.contains(after) {
            disorder.unfinished.insert(after, frame.lane);
        }
        Ok(Taken::New)
    }

    /// Hands out what came before the hello.
    fn release_all(&mut self, inbox: &mut impl Inbox) -> Result<(), Violation> {
        let waiting: Vec<u64> = self.lanes.numbers().collect();
        waiting.into_iter().try_for_each(|lane| self.release(lane, inbox))
    }

    /// Hands out what is held of a lane and can go now.
    fn release(&mut self, lane: u64, inbox: &mut impl Inbox) -> Result<(), Violation> {
        loop {
            let Some(state) = self.lanes.get_mut(lane) else { return Ok(()) };
            let Some(early) = &mut state.early else { return Ok(()) };
            let Some(held) = early.held.remove(&state.next) else {
                state.early.take_if(|it| it.held.is_empty() && it.partial.is_empty());
                return Ok(());
            };
            let Held { number, end, more, payload } = held;
            if let Some(disorder) = &mut self.disorder {
                disorder.held.remove(&number);
            }
            let mut whole = payload;
            if more || !early.partial.is_empty() {
                check_size(early.partial.len().saturating_add(whole.len()), inbox)?;
                early.partial.extend_from_slice(&whole);
                if more {
                    // Its bytes are still held.
                    self.budget.give(HELD_COST);
                    state.next = state.next.saturating_add(1);
                    continue;
                }
                whole = Bytes::from(mem::take(&mut early.partial));
            }
            let cost = if planted("memory-not-given-back") { 0 } else { HELD_COST };
            self.budget.give(whole.len().saturating_add(cost));
            inbox.push(InFrame { lane: Lane::new(lane), end, payload: Payload::Owned(whole) });
            self.is_begun = true;
            self.pass(lane, end)?;
        }
    }
}

/// Whether this side takes a frame of so many bytes.
fn check_size(bytes: usize, inbox: &impl Inbox) -> Result<(), Violation> {
    let limit = inbox.frame_bytes_max();
    if bytes > limit { Err(Violation::FrameTooLarge { bytes, limit }) } else { Ok(()) }
}
