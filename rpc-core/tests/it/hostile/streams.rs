//! Items where none belong, more of them than was allowed, streams that nobody reads or ends.

use std::sync::atomic::Ordering;

use rpc_core::{Delivery, ErrorKind, Limits};

use super::{
    CREDIT, DATA, END, ERROR, ITEM, MORE, NO_TIMEOUT, Prey, REPLY, REQUEST, STREAM, Target, cancel,
    nth, request, request_fields, text_body,
};
use crate::raw::{call_id, framed};

const UNEXPECTED_FRAME: u16 = 14;
const CREDIT_EXCEEDED: u16 = 16;

const CANCELLED: u8 = 1;

/// What a stream may send before anything is granted.
const FIRST_CREDIT: usize = 65_536;
/// What an item costs beside its bytes.
const ITEM_COST: usize = 16;

/// A request that items follow.
fn opens(id: u64, method: &str) -> Vec<u8> {
    framed(id, REQUEST, STREAM, &request_fields(method, NO_TIMEOUT))
}

fn item(id: u64, text: &str) -> Vec<u8> {
    framed(id, ITEM, 0, &text_body(text))
}

fn item_begins(id: u64) -> Vec<u8> {
    framed(id, ITEM, MORE, b"x")
}

fn end(id: u64) -> Vec<u8> {
    framed(id, END, 0, b"")
}

fn numbers(id: u64) -> Vec<u8> {
    request(id, "numbers", NO_TIMEOUT, b"")
}

fn credit(lane: u64, bytes: u32) -> Vec<u8> {
    framed(0, CREDIT, 0, &[&lane.to_le_bytes()[..], &bytes.to_le_bytes()].concat())
}

/// What an attacker sends on a lane of its own, and what it is closed with.
fn violations(id: u64) -> Vec<(&'static str, Vec<Vec<u8>>, u16)> {
    let hold = || opens(id, "hold");
    let empty_items = FIRST_CREDIT / ITEM_COST + 1;
    vec![
        ("an item of no call", vec![item(id, "x")], UNEXPECTED_FRAME),
        ("an end of no call", vec![end(id)], UNEXPECTED_FRAME),
        (
            "an item of a call without any",
            vec![request(id, "forever", NO_TIMEOUT, b""), item(id, "x")],
            UNEXPECTED_FRAME,
        ),
        ("an item after the end", vec![hold(), end(id), item(id, "x")], UNEXPECTED_FRAME),
        ("a second end", vec![hold(), end(id), end(id)], UNEXPECTED_FRAME),
        ("an item within one", vec![hold(), item_begins(id), item(id, "x")], UNEXPECTED_FRAME),
        ("an end within an item", vec![hold(), item_begins(id), end(id)], UNEXPECTED_FRAME),
        (
            "more than the credit",
            vec![hold(), item(id, &"x".repeat(40_000)), item(id, &"x".repeat(40_000))],
            CREDIT_EXCEEDED,
        ),
        (
            "items of no bytes",
            [vec![hold()], vec![framed(id, ITEM, 0, b""); empty_items]].concat(),
            CREDIT_EXCEEDED,
        ),
        ("credit of the connection that overflows", vec![credit(0, u32::MAX)], CREDIT_EXCEEDED),
    ]
}

// r[verify item.order] r[verify item.end] r[verify credit.exceeded] r[verify credit.overflow]
// r[verify credit.cost] r[verify credit.initial]
#[tokio::test]
async fn a_violation_of_the_streams_rules_ends_that_connection_and_its_handlers_only() {
    let target = Target::start().await;
    for (name, frames, code) in violations(nth(2)) {
        let mut raw = target.attacker().await;
        raw.good_call(nth(1)).await;
        raw.put(&frames.concat()).await;
        assert_eq!(raw.closed().await.0, code, "{name}");
        target.gauge.nothing_runs().await;
    }
    target.others_go_on().await;
}

// r[verify credit.overflow]
#[tokio::test]
async fn credit_that_overflows_ends_its_connection_only() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    raw.put(&numbers(nth(1))).await;
    assert_eq!(raw.answer(nth(1)).await.0, REPLY);
    raw.put(&credit(nth(1), u32::MAX).repeat(2)).await;
    assert_eq!(raw.closed().await.0, CREDIT_EXCEEDED);
    target.gauge.nothing_runs().await;
    target.others_go_on().await;
}

#[tokio::test]
async fn what_still_comes_for_a_stream_whose_call_is_over_is_dropped() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    raw.put(&[opens(nth(1), "hold"), cancel(nth(1))].concat()).await;
    assert_eq!(raw.refusal(nth(1)).await.0, CANCELLED);
    raw.put(&[item(nth(1), "x"), item_begins(nth(1))].concat()).await;
    raw.put(&framed(nth(1), DATA, 2, b"")).await;
    raw.good_call(nth(2)).await;
    target.gauge.nothing_runs().await;
    target.others_go_on().await;
}

/// Neither a peer that reads nothing, nor one that grants nothing, gets more made than its credit.
#[tokio::test]
async fn streams_that_are_not_read_stop_at_their_credit_and_hold_up_nothing_else() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    const STREAMS: usize = 8;
    for slot in 1..=STREAMS as u64 {
        raw.put(&numbers(call_id(1, slot))).await;
    }
    let most = STREAMS * (FIRST_CREDIT / (8 + ITEM_COST));
    let (mut items, mut sequence) = (0, 0);
    // Calls go on beside them, also when every stream stands still.
    for _ in 0..200 {
        sequence += 1;
        raw.put(&request(nth(sequence), "echo", NO_TIMEOUT, &text_body("beside"))).await;
        loop {
            let (lane, frame) = raw.frame().await;
            items += usize::from(frame[0] == ITEM);
            if lane == nth(sequence) {
                break;
            }
        }
    }
    assert!(items <= most, "{items} items of {most}");
    let made = target.gauge.numbers.load(Ordering::SeqCst);
    assert!(made <= most + STREAMS * 2048, "{made} numbers were made, {most} could be sent");
    // What is granted is made good use of.
    raw.put(&credit(call_id(1, 1), 48)).await;
    while items < most + 2 {
        items += usize::from(raw.frame().await.1[0] == ITEM);
    }
    drop(raw);
    target.gauge.nothing_runs().await;
    target.others_go_on().await;
}

/// Sends parts of an item until the reader has had enough, and returns what the method made of it.
async fn endless_item(raw: &mut crate::raw::Raw, id: u64, bytes: usize) {
    raw.put(&[opens(id, "read"), item_begins(id)].concat()).await;
    let part = vec![b'x'; 10_000];
    for _ in 0..bytes / part.len() {
        raw.put(&framed(id, DATA, MORE, &part)).await;
    }
}

// r[verify item.layout]
#[tokio::test]
async fn an_item_whose_parts_never_end_fails_its_stream_at_the_limit() {
    let mut limits = Limits::default();
    limits.message_bytes = 50_000;
    let target = Target::limited(limits).await;
    let mut raw = target.attacker().await;
    endless_item(&mut raw, nth(1), 60_000).await;
    let (kind, rest) = raw.answer(nth(1)).await;
    let text = String::from_utf8_lossy(&rest[11..]).into_owned();
    assert_eq!(kind, REPLY, "{text}");
    assert!(text.starts_with("0 items, ") && text.contains("more than 50000 bytes"), "{text}");
    raw.good_call(nth(2)).await;
    target.others_go_on().await;
}

#[tokio::test]
async fn items_that_are_incomplete_hold_no_more_bytes_than_the_limit() {
    let mut limits = Limits::default();
    limits.held_bytes = 100_000;
    let target = Target::limited(limits).await;
    let mut raw = target.attacker().await;
    for slot in 1..=3 {
        endless_item(&mut raw, call_id(1, slot), 40_000).await;
    }
    let (kind, rest) = raw.answer(call_id(1, 3)).await;
    let text = String::from_utf8_lossy(&rest[11..]).into_owned();
    assert_eq!(kind, REPLY, "{text}");
    assert!(text.starts_with("0 items, ") && text.contains("overloaded"), "{text}");
    raw.good_call(nth(1)).await;
    target.others_go_on().await;
}

#[tokio::test]
async fn a_hundred_thousand_streams_that_are_opened_and_dropped_leave_nothing() {
    const SLOTS: u64 = 100;
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    let gives_up: [fn(u64) -> Vec<u8>; 4] = [
        |id| [opens(id, "hold"), cancel(id), framed(id, DATA, 2, b"")].concat(),
        |id| [opens(id, "read"), item(id, "x"), end(id)].concat(),
        |id| [opens(id, "hold"), item_begins(id), framed(id, DATA, 2, b""), cancel(id)].concat(),
        |id| [numbers(id), cancel(id)].concat(),
    ];
    for (round, give_up) in (1..=1000).zip(gives_up.iter().cycle()) {
        let batch: Vec<u8> = (0..SLOTS).flat_map(|slot| give_up(call_id(round, slot))).collect();
        raw.put(&batch).await;
        let mut ended = 0;
        while ended < SLOTS {
            let (_, frame) = raw.frame().await;
            assert_ne!(frame[0], super::CLOSE, "{}", String::from_utf8_lossy(&frame[8..]));
            // A reply that is a stream ends with an error, the others are their call's end.
            let whole = frame[0] == REPLY && frame[1] & STREAM == 0;
            ended += u64::from(whole || frame[0] == ERROR);
        }
    }
    target.gauge.nothing_runs().await;
    raw.good_call(call_id(2000, 0)).await;
    target.others_go_on().await;
}

/// What a server may send of a stream's items is as little.
#[tokio::test]
async fn a_server_that_sends_more_than_its_credit_ends_the_stream_and_not_the_channel() {
    let prey = Prey::new();
    let mut raw = prey.liar();
    let call = tokio::spawn(prey.client.numbers().into_future());
    raw.greet().await;
    let id = raw.asked().await;
    raw.put(&framed(id, REPLY, STREAM, b"")).await;
    let mut items = call.await.unwrap().unwrap();
    // They are not read: there is no credit beyond the first.
    let number = framed(id, ITEM, 0, &7_u64.to_le_bytes());
    raw.put(&number.repeat(FIRST_CREDIT / (8 + ITEM_COST) + 1)).await;
    assert_eq!(raw.closed().await.0, CREDIT_EXCEEDED);
    let error = loop {
        match items.next().await.expect("an error before the end") {
            Ok(number) => assert_eq!(number, 7),
            Err(error) => break error,
        }
    };
    let ended = (error.kind(), error.delivery());
    assert_eq!(ended, (ErrorKind::ConnectionLost, Delivery::Unknown), "{error}");
    prey.goes_on(None).await;
}
