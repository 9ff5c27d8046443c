//! What one seed makes happen, as data: the same seed gives the same plan. Who carries it out is
//! `run`.

use std::{ops::Range, time::Duration};

use super::{super::random::Random, ledger::LATE};
use crate::limits::Limits;

/// Channels at a time.
pub(super) const CHANNELS: usize = 3;

/// Makes streams follow from other numbers than all else that a seed makes happen.
const STREAMS: u64 = 0x7374_7265_616d_7321;

/// How long a server may drain if nothing is to be lost.
pub(super) const GRACE: Duration = Duration::from_secs(60);

/// Everything that one run does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Nothing ends a connection but drains that have time enough: no call may be lost.
    pub(super) peaceful: bool,
    pub(super) server: Limits,
    pub(super) client: Limits,
    pub(super) steps: Vec<Step>,
    /// How long after its deadline a call may end.
    pub(super) late: Duration,
    /// How long after the end of all calls something may be left of them; if nothing is said, as long as the
    /// network needs.
    pub(super) left: Option<Duration>,
}

/// One thing that is done, after the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A call begins, in a task of its own.
    Call(CallPlan),
    /// These channels get a connection, unless a first one may be begun while a server goes.
    Greet(Range<usize>),
    /// Other tasks run.
    Yield,
    Pause(Duration),
    /// Every call so far comes to its end.
    AwaitCalls,
    /// A new server at the same address, while the old one drains.
    Restart(Duration),
    /// The server is dropped; a new one comes at the same address.
    Crash,
    /// The channel is dropped, whatever calls it has; another takes its place.
    Reopen(usize),
    /// A connection that is made from now on dies.
    Kill(u64),
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CallPlan {
    pub(super) channel: usize,
    /// Which of the services.
    pub(super) service: usize,
    pub(super) shape: Shape,
    /// Bytes of text in the arguments, and in the reply.
    pub(super) bytes: [usize; 2],
    pub(super) idempotent: bool,
    pub(super) metadata: bool,
    pub(super) patience: Patience,
    pub(super) leave: Leave,
    /// Of a stream: what whoever gets items does, the caller if both do.
    pub(super) reading: Reading,
}

/// What the handler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// It answers at once.
    Echo,
    /// It returns an error of its own.
    Fail,
    /// It waits, then answers.
    Wait(Duration),
    Panic,
    /// It runs until it is stopped.
    Forever,
    /// The request is above the server's limit.
    LargeRequest,
    /// The reply is.
    LargeReply,
    /// There is no such method, or no such service.
    UnknownMethod,
    UnknownService,
    /// The arguments aren't what the method takes.
    Malformed,
    /// Its caller waits only until the request has left; it waits, then ends.
    Oneway(Duration),
    /// So many items follow the arguments, the reply, or both.
    Stream(Flow, usize),
}

/// Which way items go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Up,
    Down,
    /// Each is sent back.
    Both,
    /// Down, and behind them neither another nor an end.
    Endless,
}

/// How items are read. The place of the end is the one behind the last item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Before the item at this place its reader does something else for so long.
    pub(super) pause: Option<(usize, Duration)>,
    /// Before the item at this place it drops the stream.
    pub(super) leave: Option<usize>,
}

/// How long the call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as the channel says.
    Usual,
    Timeout(Duration),
    Endless,
}

/// When the caller drops the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    Never,
    /// After so many polls, one after the other; after none, it was never polled.
    AfterPolls(usize),
    After(Duration),
}

impl Plan {
    /// A run like any other. Large messages have about `large_bytes`.
    pub(super) fn random(seed: u64, large_bytes: usize) -> Self {
        let mut plan = Self::without_streams(seed, large_bytes);
        plan.add_streams(&mut Random::new(seed ^ STREAMS), large_bytes);
        plan
    }

    fn without_streams(seed: u64, large_bytes: usize) -> Self {
        let random = &mut Random::new(seed);
        let peaceful = random.one_in(3);
        let mut plan = Self {
            peaceful,
            server: server_limits(random, large_bytes),
            client: client_limits(random),
            steps: Vec::new(),
            late: LATE,
            left: None,
        };
        for _ in 0..plan.deaths(random) {
            plan.steps.push(Step::Kill(random.next()));
        }
        if peaceful {
            plan.steps.push(Step::Greet(0..CHANNELS));
        }
        let crowded = random.one_in(10);
        let steps = if crowded { random.between(100, 200) } else { random.between(10, 50) };
        for _ in 0..steps {
            plan.step(random, large_bytes);
        }
        plan
    }

    /// Puts calls with items between the steps that there are, in every other run.
    fn add_streams(&mut self, random: &mut Random, large_bytes: usize) {
        if random.one_in(2) {
            return;
        }
        for _ in 0..random.between(1, 8) {
            let at = random.between(0, self.steps.len());
            self.steps.insert(at, Step::Call(CallPlan::streaming(random, large_bytes)));
        }
    }

    /// How many connections die.
    fn deaths(&self, random: &mut Random) -> usize {
        if self.peaceful || random.one_in(3) { 0 } else { random.between(1, 3) }
    }

    fn step(&mut self, random: &mut Random, large_bytes: usize) {
        let step = match random.below(100) {
            0..60 => Step::Call(CallPlan::random(random, large_bytes)),
            60..75 => Step::Yield,
            75..85 => Step::Pause(millis(random, 10)),
            85..88 => Step::AwaitCalls,
            88..91 => {
                // In the middle of calls, which may be anywhere then.
                for _ in 0..random.below(4) {
                    self.steps.push(Step::Call(CallPlan::random(random, large_bytes)));
                }
                self.steps.extend((0..random.below(12)).map(|_| Step::Yield));
                let grace = if self.peaceful { GRACE } else { millis(random, 20) };
                Step::Restart(grace)
            }
            91..94 => {
                let channel = random.below(CHANNELS);
                self.steps.push(Step::Reopen(channel));
                if self.peaceful {
                    self.steps.push(Step::Greet(channel..channel + 1));
                }
                return;
            }
            94..97 if !self.peaceful => Step::Crash,
            97..100 if !self.peaceful => Step::Kill(random.next()),
            _ => Step::Yield,
        };
        self.steps.push(step);
    }
}

impl CallPlan {
    /// A small call on the first channel that nothing disturbs.
    pub(super) fn of(shape: Shape) -> Self {
        Self {
            channel: 0,
            service: 0,
            shape,
            bytes: [10, 20],
            idempotent: false,
            metadata: false,
            patience: Patience::Usual,
            leave: Leave::Never,
            reading: Reading::default(),
        }
    }

    /// A call that needs a connection of this channel, and nothing else.
    pub(super) fn greeting(channel: usize) -> Self {
        Self { channel, ..Self::of(Shape::Echo) }
    }

    fn random(random: &mut Random, large_bytes: usize) -> Self {
        let shape = Shape::random(random);
        let mut call = Self {
            channel: random.below(CHANNELS),
            service: random.below(2),
            shape,
            bytes: [bytes(random, large_bytes), bytes(random, large_bytes)],
            idempotent: random.one_in(4),
            metadata: random.one_in(4),
            patience: match random.below(10) {
                0 => Patience::Endless,
                1 if random.one_in(3) => Patience::Timeout(Duration::ZERO),
                1..4 => Patience::Timeout(millis(random, 30)),
                _ => Patience::Usual,
            },
            leave: match random.below(20) {
                0 => Leave::AfterPolls(random.below(2)),
                // Most of what can be overtaken by a cancel is on its way for a few polls only.
                1..4 => Leave::AfterPolls(random.below(8)),
                4 => Leave::AfterPolls(random.below(40)),
                5..7 => Leave::After(millis(random, 15)),
                _ => Leave::Never,
            },
            reading: Reading::default(),
        };
        match shape {
            Shape::LargeRequest => call.bytes[0] = message_bytes(large_bytes),
            Shape::LargeReply => call.bytes[1] = message_bytes(large_bytes),
            _ => {}
        }
        if shape == Shape::Forever && call.leave == Leave::Never {
            call.patience = Patience::Timeout(millis(random, 30));
        }
        call
    }

    /// A call with items: some, or a few large ones, or more than are sent unread.
    fn streaming(random: &mut Random, large_bytes: usize) -> Self {
        let flow = match random.below(7) {
            0..2 => Flow::Up,
            2..4 => Flow::Down,
            4..6 => Flow::Both,
            _ => Flow::Endless,
        };
        let (items, bytes) = match random.below(8) {
            0 => (random.between(1, 3), large_bytes),
            1 => (random.between(20, 80), (large_bytes / 20).min(4000)),
            _ => (random.between(0, 20), large_bytes.min(1000)),
        };
        let mut call = Self {
            channel: random.below(CHANNELS),
            service: random.below(2),
            bytes: [random.below(bytes), random.below(bytes)],
            metadata: random.one_in(4),
            patience: match random.below(10) {
                0 => Patience::Endless,
                1..3 => Patience::Timeout(millis(random, 30)),
                _ => Patience::Usual,
            },
            leave: match random.below(10) {
                0 => Leave::AfterPolls(random.below(40)),
                1 => Leave::After(millis(random, 15)),
                _ => Leave::Never,
            },
            ..Self::of(Shape::Stream(flow, items))
        };
        if random.one_in(3) {
            call.reading.pause = Some((random.between(0, items), millis(random, 30)));
        }
        if random.one_in(4) {
            call.reading.leave = Some(random.between(0, items));
        }
        if flow == Flow::Endless && call.leave == Leave::Never && call.reading.leave.is_none() {
            call.patience = Patience::Timeout(millis(random, 30));
        }
        call
    }

    /// How often the time that the call has may begin anew: with each item that is sent.
    pub(super) fn periods(&self) -> u32 {
        match self.shape {
            Shape::Stream(Flow::Up | Flow::Both, items) => {
                u32::try_from(items).unwrap_or(u32::MAX).saturating_add(1)
            }
            _ => 1,
        }
    }

    /// How long the call may take, as far as its caller said so.
    pub(super) fn timeout(&self) -> Option<Duration> {
        match self.patience {
            Patience::Usual => Some(super::TIMEOUT),
            Patience::Timeout(timeout) => Some(timeout),
            Patience::Endless => None,
        }
    }
}

impl Shape {
    fn random(random: &mut Random) -> Self {
        match random.below(40) {
            0..12 => Self::Echo,
            12..16 => Self::Oneway(millis(random, 10)),
            16..21 => Self::Fail,
            21..29 => Self::Wait(millis(random, 10)),
            29..31 => Self::Panic,
            31..35 => Self::Forever,
            35 => Self::LargeRequest,
            36 => Self::LargeReply,
            37 => Self::UnknownMethod,
            38 => Self::UnknownService,
            _ => Self::Malformed,
        }
    }
}

/// Nothing, something, or a message of many frames.
fn bytes(random: &mut Random, large_bytes: usize) -> usize {
    match random.below(10) {
        0 => 0,
        1..8 => random.below(200),
        8 => random.below(large_bytes / 8),
        _ => random.between(large_bytes / 2, large_bytes),
    }
}

fn millis(random: &mut Random, most: usize) -> Duration {
    Duration::from_millis(random.between(0, most) as u64)
}

/// Limits of a server that accepts large messages, but not those that are meant to be too large.
pub(super) fn limits(large_bytes: usize) -> Limits {
    let message_bytes = u32::try_from(message_bytes(large_bytes)).unwrap_or(u32::MAX);
    Limits { message_bytes, ..Limits::default() }
}

/// The server's limit. A text of so many bytes is above it, with all that comes around it.
pub(super) fn message_bytes(large_bytes: usize) -> usize {
    2 * large_bytes
}

fn server_limits(random: &mut Random, large_bytes: usize) -> Limits {
    let mut limits = limits(large_bytes);
    if random.one_in(2) {
        limits.calls = u32::try_from(random.between(1, 8)).unwrap_or(1);
    }
    limits
}

fn client_limits(random: &mut Random) -> Limits {
    let mut limits = Limits::default();
    if random.one_in(2) {
        limits.outbox_bytes = random.between(100, 4000);
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_plans_the_same() {
        for seed in 0..50 {
            assert_eq!(Plan::random(seed, 1000), Plan::random(seed, 1000));
            assert_ne!(Plan::random(seed, 1000), Plan::random(seed + 1, 1000));
        }
    }

    #[test]
    fn a_peaceful_plan_ends_no_connection_by_force() {
        let peaceful = (0..300).map(|seed| Plan::random(seed, 1000)).filter(|plan| plan.peaceful);
        let steps: Vec<_> = peaceful.flat_map(|plan| plan.steps).collect();
        let forced = |step: &&Step| match step {
            Step::Crash | Step::Kill(_) => true,
            Step::Restart(grace) => *grace < GRACE,
            _ => false,
        };
        assert_eq!(steps.iter().find(forced), None);
        assert!(steps.contains(&Step::Restart(GRACE)), "and yet servers are restarted");
    }

    #[test]
    fn every_call_is_planned_to_end() {
        let steps = (0..300).flat_map(|seed| Plan::random(seed, 1000).steps);
        for step in steps {
            let Step::Call(call) = step else { continue };
            let stops = matches!(call.patience, Patience::Timeout(_)) || call.leave != Leave::Never;
            let ends = match call.shape {
                Shape::Forever => stops,
                Shape::Stream(Flow::Endless, _) => stops || call.reading.leave.is_some(),
                _ => true,
            };
            assert!(ends, "{call:?}");
        }
    }

    #[test]
    fn streams_of_all_sorts_are_added_and_nothing_else_changes() {
        let (mut flows, mut paused, mut left, mut calm) = (Vec::new(), 0, 0, 0);
        for seed in 0..300 {
            let mut plan = Plan::random(seed, 1000);
            calm += usize::from(plan == Plan::without_streams(seed, 1000));
            plan.steps.retain(|step| {
                let Step::Call(CallPlan { shape: Shape::Stream(flow, items), reading, .. }) = step
                else {
                    return true;
                };
                flows.push(*flow);
                paused += usize::from(reading.pause.is_some());
                left += usize::from(reading.leave.is_some_and(|before| before < *items));
                false
            });
            assert_eq!(plan, Plan::without_streams(seed, 1000));
        }
        for flow in [Flow::Up, Flow::Down, Flow::Both, Flow::Endless] {
            assert!(flows.iter().filter(|other| **other == flow).count() > 50, "{flow:?}");
        }
        assert!(paused > 100 && left > 100 && calm > 100, "{paused} {left} {calm}");
    }
}
