//! Peers that don't read, or say what they say so slowly that it has no end.

use std::time::Duration;

use rpc_core::{Delivery, ErrorKind, Limits};
use tokio::time::{Instant, timeout};

use super::{DATA, MORE, NO_TIMEOUT, Prey, REPLY, Target, a_moment, nth, request, request_begins};
use crate::raw::{call_id, framed};

const LARGE: u32 = 1_000_000;

/// Asked for, begun, and cancelled half-way, again and again: each ends, and what is left of it is
/// dropped.
// r[verify cancel.effect] r[verify reply.terminal]
#[tokio::test]
async fn large_replies_that_are_cancelled_half_way_end_each_time() {
    let target = Target::start().await;
    let mut raw = target.stranger_with(20_000);
    raw.greet().await;
    let mut aborted = 0;
    for sequence in 1..=30 {
        let id = nth(sequence);
        raw.put(&request(id, "large", NO_TIMEOUT, &LARGE.to_le_bytes())).await;
        let mut frame = raw.frame().await.1;
        assert_eq!(frame[..2], [REPLY, MORE]);
        raw.put(&[super::cancel(id), super::cancel(id)].concat()).await;
        while frame[1] & MORE != 0 {
            let lane;
            (lane, frame) = raw.frame().await;
            assert_eq!((lane, frame[0]), (id, DATA));
        }
        aborted += usize::from(frame[1] & 2 != 0);
        target.others_go_on().await;
    }
    assert!(aborted > 20, "only {aborted} of 30 were cut short");
    raw.good_call(nth(100)).await;
}

/// What waits behind unread replies is held once, within its limit; the rest is refused.
#[tokio::test]
async fn requests_behind_unread_replies_hold_no_more_than_the_limit() {
    let mut limits = Limits::default();
    (limits.held_bytes, limits.reply_bytes) = (1_000_000, 100_000);
    let target = Target::limited(limits).await;
    let mut raw = target.stranger_with(20_000);
    raw.greet().await;
    raw.put(&request(nth(1), "large", NO_TIMEOUT, &LARGE.to_le_bytes())).await;
    target.others_go_on().await;
    let started = target.gauge.started();
    let text = super::text_body(&"a".repeat(50_000));
    for slot in 1..=100 {
        raw.put(&request(call_id(1, slot), "echo", NO_TIMEOUT, &text)).await;
    }
    let mut refused = 0;
    let mut ended = 0;
    while ended < 101 {
        let (_, frame) = raw.frame().await;
        if frame[0] == super::ERROR {
            assert_eq!((frame[4], frame[6]), (3, 0), "OVERLOADED, never");
            refused += 1;
        }
        ended += usize::from(frame[0] == super::ERROR || frame[1] & MORE == 0);
    }
    let ran = target.gauge.started() - started;
    assert_eq!(ran + refused, 100);
    assert!((15..=35).contains(&ran), "{ran} requests of 50 KB were held");
    raw.good_call(nth(2)).await;
    target.others_go_on().await;
}

/// A server that reads nothing: calls end by their deadlines and know that they were never sent,
/// and the channel makes another connection within 30 seconds.
#[tokio::test(start_paused = true)]
async fn a_server_that_reads_nothing_is_left() {
    let prey = Prey::new();
    let mut raw = prey.liar_with(1000);
    let first = prey.call("x");
    raw.greet().await;
    let id = raw.asked().await;
    raw.put(&framed(id, REPLY, 0, &super::text_body("!"))).await;
    first.await.unwrap().unwrap();

    let began = Instant::now();
    let stuck = prey.call(&"a".repeat(2000));
    a_moment().await;
    let behind: Vec<_> = (0..100).map(|_| prey.call(&"a".repeat(2000))).collect();
    let error = stuck.await.unwrap().unwrap_err();
    assert_eq!(error.delivery(), Delivery::Unknown, "half of it has left: {error}");
    for call in behind {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(31), "{:?}", began.elapsed());
    prey.goes_on(None).await;
}

/// A byte now and then within a frame is no use of a connection.
#[tokio::test(start_paused = true)]
async fn a_frame_that_never_ends_does_not_keep_a_connection() {
    let target = Target::with(|server| server.idle_timeout(Duration::from_secs(60))).await;
    for length in [1_000_u32, 60_000] {
        let mut raw = target.attacker().await;
        raw.put(&[&length.to_le_bytes()[..], &[0; 8]].concat()).await;
        let began = Instant::now();
        while raw.io_write(&[super::PING]).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert!(began.elapsed() < Duration::from_secs(90), "slow, and still there");
        }
    }
    target.others_go_on().await;
}

/// Nor is a message without an end, once nothing comes any more: what came of it is given up too.
#[tokio::test(start_paused = true)]
async fn a_request_that_never_ends_does_not_keep_a_connection() {
    let target = Target::with(|server| server.idle_timeout(Duration::from_secs(60))).await;
    let mut raw = target.attacker().await;
    raw.put(&request_begins(nth(1), "echo", &[0; 10_000])).await;
    raw.put(&framed(nth(1), DATA, MORE, &[0; 10_000])).await;
    // As long as some of it comes, it may take as long as it likes.
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        raw.put(&framed(nth(1), DATA, MORE, b"x")).await;
    }
    let began = Instant::now();
    let (code, _) = timeout(Duration::from_secs(90), raw.closed()).await.unwrap();
    assert_eq!(code, 2, "IDLE");
    assert!(began.elapsed() > Duration::from_secs(50), "{:?}", began.elapsed());
    target.others_go_on().await;
}

/// It has a deadline, too, if its caller gave it one.
// r[verify request.expired]
#[tokio::test(start_paused = true)]
async fn a_request_that_never_ends_is_refused_at_its_deadline() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    let fields = super::request_fields("echo", 3_000);
    raw.put(&framed(nth(1), super::REQUEST, MORE, &[&fields[..], &[0; 1000]].concat())).await;
    let began = Instant::now();
    assert_eq!(raw.refusal(nth(1)).await, (2, 0), "DEADLINE_EXCEEDED, never");
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(4), "{took:?}");
    raw.put(&framed(nth(1), DATA, 0, b"late")).await;
    raw.good_call(nth(2)).await;
    target.others_go_on().await;
}

/// A reply that drips, frame by frame, ends with its call.
#[tokio::test(start_paused = true)]
async fn a_reply_that_never_ends_ends_with_its_call() {
    let prey = Prey::new();
    let (mut raw, call, id) = prey.called().await;
    raw.put(&framed(id, REPLY, MORE, b"")).await;
    let drip = async {
        loop {
            raw.put(&framed(id, DATA, MORE, b"x")).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let ended = tokio::select! {
        ended = call => ended.unwrap(),
        () = drip => unreachable!("it has no end"),
    };
    let error = ended.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::Unknown));
    prey.goes_on(Some(&mut raw)).await;
}

/// Handlers of a peer that has gone are stopped, however it went.
#[tokio::test]
async fn a_peer_that_vanishes_leaves_no_handler() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    for slot in 0..60 {
        raw.put(&request(call_id(1, slot), "forever", NO_TIMEOUT, &[])).await;
    }
    while target.gauge.running() < 60 {
        a_moment().await;
    }
    drop(raw);
    target.gauge.nothing_runs().await;
    target.connections(1).await;
    target.others_go_on().await;
}
