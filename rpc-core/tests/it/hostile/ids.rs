//! Call ids that aren't valid, new or the sender's, and frames that don't fit the state of a call.

use rpc_core::Limits;

use super::{DATA, MORE, NO_TIMEOUT, Target, cancel, nth, request, request_begins, text_body};
use crate::raw::{call_id, framed};

const TOO_MANY_CALLS: u16 = 12;
const BAD_CALL_ID: u16 = 13;
const UNEXPECTED_FRAME: u16 = 14;
const FLOOD: u16 = 15;

const CANCELLED: u8 = 1;
const NEVER: u8 = 0;

fn forever(id: u64) -> Vec<u8> {
    request(id, "forever", NO_TIMEOUT, &[])
}

fn echo(id: u64) -> Vec<u8> {
    request(id, "echo", NO_TIMEOUT, &text_body("x"))
}

fn data(id: u64, flags: u8, body: &[u8]) -> Vec<u8> {
    framed(id, DATA, flags, body)
}

/// What an attacker sends after a good call with the id `nth(1)`, and what it is closed with.
fn violations() -> Vec<(&'static str, Vec<Vec<u8>>, u16)> {
    let begun = request_begins(nth(2), "echo", b"x");
    vec![
        ("an id twice", vec![forever(nth(2)), forever(nth(2))], BAD_CALL_ID),
        ("the id of a call that was answered", vec![echo(nth(1))], BAD_CALL_ID),
        ("a slot that is in use", vec![forever(nth(2)), echo(nth(3))], BAD_CALL_ID),
        ("a slot of a half-sent request", vec![begun.clone(), echo(nth(3))], BAD_CALL_ID),
        ("an older id than the slot's last", vec![cancel(nth(9)), echo(nth(8))], BAD_CALL_ID),
        ("an id of ours", vec![echo(nth(2) | 1)], BAD_CALL_ID),
        ("sequence 0", vec![echo(call_id(0, 1))], BAD_CALL_ID),
        ("the first slot beyond the limit", vec![echo(call_id(2, 1024))], BAD_CALL_ID),
        ("the last slot there is", vec![echo(call_id(2, (1 << 23) - 1))], BAD_CALL_ID),
        ("every bit set", vec![echo(u64::MAX)], BAD_CALL_ID),
        ("a cancel of a call of ours", vec![cancel(nth(2) | 1)], BAD_CALL_ID),
        ("a cancel beyond the limit", vec![cancel(call_id(2, 1024))], BAD_CALL_ID),
        ("data before its request", vec![data(nth(2), 0, b"x")], UNEXPECTED_FRAME),
        ("data in a slot never used", vec![data(call_id(2, 9), 0, b"x")], UNEXPECTED_FRAME),
        ("data after the end", vec![forever(nth(2)), data(nth(2), 0, b"x")], UNEXPECTED_FRAME),
        (
            "data of a cancelled request",
            vec![cancel(nth(2)), data(nth(2), 0, b"x")],
            UNEXPECTED_FRAME,
        ),
        ("data of a call of ours", vec![data(nth(2) | 1, 0, b"x")], FLOOD),
        ("data without data", vec![begun, data(nth(2), MORE, b"")], FLOOD),
    ]
}

// r[verify call.id] r[verify call.new] r[verify call.opener] r[verify call.slot]
// r[verify data.unexpected] r[verify data.progress]
#[tokio::test]
async fn a_violation_of_the_calls_rules_ends_that_connection_and_its_handlers_only() {
    let target = Target::start().await;
    for (name, frames, code) in violations() {
        let mut raw = target.attacker().await;
        raw.good_call(nth(1)).await;
        // Stray frames are borne a thousand times.
        let times = if name == "data of a call of ours" { 1001 } else { 1 };
        for frame in frames.iter().cycle().take(frames.len() * times) {
            raw.put(frame).await;
        }
        assert_eq!(raw.closed().await.0, code, "{name}");
        target.gauge.nothing_runs().await;
    }
    target.others_go_on().await;
}

#[tokio::test]
async fn the_last_sequence_there_is_may_be_used() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    raw.good_call(call_id((1 << 40) - 1, 0)).await;
    raw.good_call(call_id(5, 1)).await;
}

// r[verify cancel.early] r[verify cancel.late]
#[tokio::test]
async fn cancels_of_nothing_do_nothing_and_those_that_come_early_are_kept() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    raw.good_call(nth(1)).await;
    let started = target.gauge.started();
    for frame in [cancel(nth(1)), cancel(nth(1)), cancel(call_id(7, 3)), echo(call_id(7, 3))] {
        raw.put(&frame).await;
    }
    assert_eq!(raw.refusal(call_id(7, 3)).await, (CANCELLED, NEVER));
    assert_eq!(target.gauge.started(), started);
    raw.good_call(call_id(8, 3)).await;
    target.others_go_on().await;
}

// r[verify data.late] r[verify data.abort]
#[tokio::test]
async fn what_still_comes_for_a_refused_request_is_dropped() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    let started = target.gauge.started();
    // Aborted, with a body and MORE, neither of which belongs there.
    raw.put(&request_begins(nth(1), "echo", b"x")).await;
    raw.put(&data(nth(1), 2 | MORE, b"y")).await;
    assert_eq!(raw.refusal(nth(1)).await, (CANCELLED, NEVER));
    for flags in [MORE, 0, 2] {
        raw.put(&data(nth(1), flags, b"z")).await;
    }
    raw.good_call(nth(2)).await;
    // The past stays the past.
    raw.put(&data(nth(1), 0, b"z")).await;
    raw.good_call(nth(3)).await;
    assert_eq!(target.gauge.started(), started + 2);
}

// r[verify call.limit]
#[tokio::test]
async fn one_call_too_many_ends_the_connection_and_stops_all_of_them() {
    let mut limits = Limits::default();
    limits.calls = 100;
    let target = Target::limited(limits).await;
    let mut raw = target.attacker().await;
    for slot in 0..100 {
        raw.put(&forever(call_id(1, slot))).await;
    }
    while target.gauge.running() < 100 {
        super::a_moment().await;
    }
    raw.put(&forever(call_id(1, 100))).await;
    assert_eq!(raw.closed().await.0, TOO_MANY_CALLS);
    target.gauge.nothing_runs().await;
    assert_eq!(target.gauge.most(), 100);
    target.others_go_on().await;
}

#[tokio::test]
async fn requests_that_never_end_are_as_many_as_calls() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    let started = target.gauge.started();
    let begin = async {
        for n in 0..100_000 {
            if raw.io_write(&request_begins(call_id(1, n), "echo", b"x")).await.is_err() {
                break;
            }
        }
    };
    begin.await;
    assert_eq!(raw.closed().await.0, TOO_MANY_CALLS);
    assert_eq!(target.gauge.started(), started, "none was complete");
    target.others_go_on().await;
}

/// Beyond the bytes that incomplete messages may have together, it is the one that asks for more
/// that fails.
// r[verify message.reassembly]
#[tokio::test]
async fn half_sent_requests_hold_no_more_bytes_than_the_limit() {
    let mut limits = Limits::default();
    limits.held_bytes = 100_000;
    let target = Target::limited(limits).await;
    let mut raw = target.attacker().await;
    let part = vec![0; 30_000];
    for slot in 0..4 {
        raw.put(&request_begins(call_id(1, slot), "echo", &part)).await;
    }
    assert_eq!(raw.refusal(call_id(1, 3)).await, (3, NEVER), "OVERLOADED");
    raw.put(&data(call_id(1, 2), MORE, &part)).await;
    assert_eq!(raw.refusal(call_id(1, 2)).await, (3, NEVER), "OVERLOADED");
    // There is room again: the slots that were refused are free, and a call may have many frames.
    raw.put(&request_begins(call_id(2, 2), "echo", &5u64.to_le_bytes())).await;
    raw.put(&data(call_id(2, 2), 0, b"there")).await;
    assert_eq!(raw.answer(call_id(2, 2)).await.1[3..], text_body("there"));
    target.others_go_on().await;
}

/// Requests and their cancels at once, for as long as there are answers to it.
// r[verify reply.handler-gone]
#[tokio::test]
async fn at_no_time_do_more_handlers_run_than_calls_were_announced() {
    let mut limits = Limits::default();
    limits.calls = 70;
    let target = Target::limited(limits).await;
    let mut raw = target.attacker().await;
    for round in 1..=300 {
        for slot in 0..70 {
            raw.put(&forever(call_id(round, slot))).await;
            raw.put(&cancel(call_id(round, slot))).await;
        }
        for _ in 0..70 {
            let (lane, frame) = raw.frame().await;
            assert_eq!((lane >> 24, frame[0], frame[4]), (round, super::ERROR, CANCELLED));
        }
    }
    assert!(target.gauge.most() <= 70, "{}", target.gauge.most());
    target.gauge.nothing_runs().await;
    raw.good_call(nth(1000)).await;
    target.others_go_on().await;
}

/// The same without waiting for the answers. A request that is read together with its cancel is
/// refused at once; one that isn't runs, and its slot isn't free for the next.
#[tokio::test]
async fn cancelling_does_not_make_room_for_the_next_call() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    let pairs: Vec<u8> = (1..100_000)
        .flat_map(|sequence| [forever(nth(sequence)), cancel(nth(sequence))].concat())
        .collect();
    let (code, _) = raw.flood(&pairs).await;
    assert!([TOO_MANY_CALLS, BAD_CALL_ID].contains(&code), "{code}");
    target.gauge.nothing_runs().await;
    assert!(target.gauge.most() <= 2, "one, and the honest client's");
    target.others_go_on().await;
}
