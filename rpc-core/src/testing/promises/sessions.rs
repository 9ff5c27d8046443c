//! Short sessions on one connection that are always the same, each with another mix of calls; to be cut
//! and disturbed by a network. What is random is in `plan`.

use std::time::Duration;

use super::{
    ledger::LATE,
    plan::{CallPlan, Flow, GRACE, Leave, Patience, Plan, Shape, Step, limits, message_bytes},
};
use crate::limits::Limits;

/// How many there are.
pub(super) const SESSIONS: usize = 20;

impl Plan {
    /// The session with this number; the first again behind the last. Large messages have about
    /// `large_bytes`.
    pub(super) fn session(number: usize, large_bytes: usize) -> Self {
        let (server, client) = (limits(large_bytes), Limits::default());
        let steps = steps(number % SESSIONS, large_bytes);
        Self { peaceful: true, server, client, steps, late: LATE, left: None }
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What happens between a first call, which shows that there is a connection, and a last one.
fn steps(number: usize, large_bytes: usize) -> Vec<Step> {
    let mut steps = vec![call(Shape::Echo), Step::AwaitCalls];
    steps.extend(match number {
        0 => one_of_each_sort(large_bytes),
        1..=7 => answered(number, large_bytes),
        8..=13 => streamed(number, large_bytes),
        _ => unanswered(number, large_bytes),
    });
    steps.extend([Step::AwaitCalls, call(Shape::Echo)]);
    steps
}

fn call(shape: Shape) -> Step {
    Step::Call(CallPlan::of(shape))
}

/// A call with so many bytes each way.
fn sized(shape: Shape, bytes: [usize; 2]) -> Step {
    Step::Call(CallPlan { bytes, ..CallPlan::of(shape) })
}

/// A call whose caller leaves.
fn left(shape: Shape, leave: Leave) -> Step {
    Step::Call(CallPlan { leave, ..CallPlan::of(shape) })
}

/// A call with so much time.
fn within(shape: Shape, millis: u64) -> Step {
    let patience = Patience::Timeout(ms(millis));
    Step::Call(CallPlan { patience, ..CallPlan::of(shape) })
}

fn one_of_each_sort(large_bytes: usize) -> Vec<Step> {
    vec![
        Step::Call(CallPlan { metadata: true, ..CallPlan::of(Shape::Echo) }),
        sized(Shape::Echo, [large_bytes; 2]),
        call(Shape::Fail),
        call(Shape::Oneway(ms(1))),
        left(Shape::Forever, Leave::After(ms(5))),
        call(Shape::Wait(ms(1))),
    ]
}

/// Calls that end as their handlers do.
fn answered(number: usize, large_bytes: usize) -> Vec<Step> {
    match number {
        // One after the other.
        1 => (0..4).flat_map(|_| [call(Shape::Echo), Step::AwaitCalls]).collect(),
        // All at once.
        2 => vec![call(Shape::Echo); 8],
        // Large one way, large the other, both.
        3 => vec![sized(Shape::Echo, [large_bytes, 0]), call(Shape::Echo)],
        4 => vec![sized(Shape::Echo, [0, large_bytes]), call(Shape::Echo)],
        5 => vec![sized(Shape::Wait(ms(1)), [large_bytes; 2]); 2],
        // Errors of handlers, with metadata.
        6 => {
            let fail = CallPlan { metadata: true, ..CallPlan::of(Shape::Fail) };
            vec![Step::Call(fail), call(Shape::Fail), call(Shape::Echo)]
        }
        // What may run twice, and what waits.
        _ => {
            let again = CallPlan { idempotent: true, ..CallPlan::of(Shape::Wait(ms(2))) };
            vec![Step::Call(again), call(Shape::Wait(ms(1))), call(Shape::Wait(Duration::ZERO))]
        }
    }
}

/// Calls with items.
fn streamed(number: usize, large_bytes: usize) -> Vec<Step> {
    let stream = |flow, items| Shape::Stream(flow, items);
    match number {
        8 => vec![call(stream(Flow::Down, 10)), call(stream(Flow::Down, 0))],
        9 => vec![call(stream(Flow::Up, 10)), call(stream(Flow::Up, 0))],
        10 => vec![call(stream(Flow::Both, 6)), call(Shape::Echo)],
        // Items of several frames.
        11 => vec![sized(stream(Flow::Both, 1), [large_bytes / 2; 2])],
        // All sorts at once.
        12 => {
            let flows = [Flow::Down, Flow::Up, Flow::Both];
            flows.map(|flow| call(stream(flow, 3))).into_iter().chain([call(Shape::Echo)]).collect()
        }
        // A reader that leaves.
        _ => vec![left(stream(Flow::Endless, 3), Leave::After(ms(5))), call(Shape::Echo)],
    }
}

/// Calls that end otherwise, and connections that do.
fn unanswered(number: usize, large_bytes: usize) -> Vec<Step> {
    let too_much = message_bytes(large_bytes);
    match number {
        // Callers that leave: at once, with the request on its way, and later.
        14 => vec![
            left(Shape::Echo, Leave::AfterPolls(0)),
            left(Shape::Echo, Leave::AfterPolls(1)),
            left(Shape::Forever, Leave::AfterPolls(4)),
            left(Shape::Forever, Leave::After(ms(3))),
        ],
        15 => vec![
            within(Shape::Echo, 0),
            within(Shape::Forever, 5),
            within(Shape::Wait(ms(20)), 10),
            within(Shape::Wait(ms(1)), 10),
        ],
        16 => vec![
            call(Shape::UnknownMethod),
            call(Shape::UnknownService),
            call(Shape::Malformed),
            sized(Shape::LargeRequest, [too_much, 0]),
            sized(Shape::LargeReply, [0, too_much]),
        ],
        17 => vec![call(Shape::Panic), call(Shape::Echo), call(Shape::Panic)],
        18 => vec![
            call(Shape::Oneway(Duration::ZERO)),
            call(Shape::Oneway(ms(2))),
            sized(Shape::Oneway(ms(1)), [large_bytes, 0]),
        ],
        // A drain, with calls under way.
        _ => vec![
            call(Shape::Wait(ms(3))),
            call(Shape::Stream(Flow::Down, 3)),
            call(Shape::Oneway(ms(2))),
            Step::Pause(ms(1)),
            Step::Restart(GRACE),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sessions_are_different() {
        for number in 0..SESSIONS {
            let session = Plan::session(number, 1000);
            assert_eq!(session, Plan::session(number + SESSIONS, 1000));
            let same = (0..number).find(|other| Plan::session(*other, 1000) == session);
            assert_eq!(same, None, "session {number}");
        }
    }
}
