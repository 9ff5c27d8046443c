//! Rows 12 to 14: one side closes the connection.

use std::time::Duration;

use rpc_core::{Delivery, ErrorKind};
use tokio::time::Instant;

use super::{
    both_ends, failure,
    phases::{Phase, SENT, Setting, WAITING, reply_end},
    runs_of, settle,
    wire::{self, CODEC, VERSION},
};

/// What a CLOSE with each code fails calls with, and with codes of the future (chapter 9.4).
const CODES: [(u16, ErrorKind); 18] = [
    (0, ErrorKind::ConnectionLost),
    (1, ErrorKind::ShuttingDown),
    (2, ErrorKind::ConnectionLost),
    (3, ErrorKind::Overloaded),
    (4, ErrorKind::ConnectionLost),
    (5, ErrorKind::ConnectionLost),
    (6, ErrorKind::IncompatiblePeer),
    (7, ErrorKind::IncompatiblePeer),
    (8, ErrorKind::ConnectionLost),
    (9, ErrorKind::ConnectionLost),
    (10, ErrorKind::ConnectionLost),
    (11, ErrorKind::ConnectionLost),
    (12, ErrorKind::ConnectionLost),
    (13, ErrorKind::ConnectionLost),
    (14, ErrorKind::ConnectionLost),
    (15, ErrorKind::ConnectionLost),
    (16, ErrorKind::ConnectionLost),
    (u16::MAX, ErrorKind::ConnectionLost),
];

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_12_a_call_that_waits_when_the_peer_closes_goes_to_the_next_connection() {
    for (code, kind) in CODES {
        // There is nobody to close anything while there is no connection.
        for phase in &WAITING[1..] {
            let mut scene = phase.reach().await;
            scene.send_preface().await;
            scene.wire.send(wire::close(code)).await;
            scene.wire.end().await;
            settle().await;
            if kind == ErrorKind::IncompatiblePeer {
                // The next connection would lead to the same peer.
                let failed = failure(&mut scene.call).await;
                assert_eq!(failed, (kind, Delivery::NotSent), "{code}, {phase:?}");
            } else {
                scene.goes_elsewhere().await;
            }
            assert_eq!(scene.left().await, "", "{code}, {phase:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn row_12_a_call_that_waits_when_this_side_closes_goes_to_the_next_connection() {
    for phase in &WAITING[1..] {
        let mut scene = phase.reach().await;
        scene.send_preface().await;
        scene.wire.send(wire::nonsense()).await;
        settle().await;
        assert_eq!(scene.left().await, "close=11", "{phase:?}");
        scene.wire.end().await;
        scene.goes_elsewhere().await;
    }
}

// r[verify delivery.table]
// r[verify close.codes]
#[tokio::test(start_paused = true)]
async fn row_13_a_request_that_has_not_left_whole_when_the_peer_closes_is_taken_back() {
    for (code, kind) in CODES {
        for (phase, left) in [
            (Phase::Queued, "void"),
            (Phase::QueuedLarge, ""),
            (Phase::LeftInPart, "request… data…"),
        ] {
            let mut scene = phase.reach().await;
            let began = Instant::now();
            scene.wire.send(wire::close(code)).await;
            let failed = failure(&mut scene.call).await;
            assert_eq!(failed, (kind, Delivery::NotSent), "{code}, {phase:?}");
            assert_eq!(began.elapsed(), Duration::ZERO, "{code}, {phase:?}: at once");
            assert_eq!(scene.left().await, left, "{code}, {phase:?}");
            let runs = runs_of(&scene.wire.received).await;
            assert!(!runs.contains(&phase.bytes()), "{code}, {phase:?}: {runs:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn row_13_a_request_that_has_not_left_whole_when_this_side_closes_is_taken_back() {
    for (phase, left) in [
        (Phase::Queued, "void close=11"),
        (Phase::QueuedLarge, "close=11"),
        (Phase::LeftInPart, "request… data… close=11"),
    ] {
        let mut scene = phase.reach().await;
        scene.wire.send(wire::nonsense()).await;
        let failed = failure(&mut scene.call).await;
        assert_eq!(failed, (ErrorKind::ConnectionLost, Delivery::NotSent), "{phase:?}");
        assert_eq!(scene.left().await, left, "{phase:?}");
        let runs = runs_of(&scene.wire.received).await;
        assert!(!runs.contains(&phase.bytes()), "{phase:?}: {runs:?}");
    }
}

// r[verify delivery.table]
// r[verify close.codes]
#[tokio::test(start_paused = true)]
async fn row_14_a_request_that_was_sent_when_the_peer_closes_may_have_run() {
    for (code, kind) in CODES {
        for phase in SENT {
            let mut scene = phase.reach().await;
            scene.wire.send(wire::close(code)).await;
            scene.wire.end().await;
            let failed = failure(&mut scene.call).await;
            assert_eq!(failed, (kind, Delivery::Unknown), "{code}, {phase:?}");
            assert_eq!(scene.left().await, phase.request(), "nothing after a CLOSE: {code}");
            assert_eq!(runs_of(&scene.wire.received).await, [phase.bytes()], "{phase:?}");
        }
    }
}

/// What a peer does, when its hello has been awaited so far, and the CLOSE that it gets.
#[tokio::test(start_paused = true)]
async fn row_14_a_request_that_was_sent_when_this_side_closes_may_have_run() {
    let again = &wire::hello()[8..];
    let too_long = [&u32::MAX.to_le_bytes()[..], &[0; 8]].concat();
    for (hello, after, kind, left) in [
        (wire::hello_with(VERSION, &[2]), &[][..], ErrorKind::IncompatiblePeer, "close=6"),
        (wire::hello_with(CODEC, &[9]), &[], ErrorKind::IncompatiblePeer, "close=7"),
        (wire::hello(), again, ErrorKind::ConnectionLost, "close=9"),
        (wire::hello(), &too_long, ErrorKind::ConnectionLost, "close=10"),
        (wire::hello(), &wire::nonsense(), ErrorKind::ConnectionLost, "close=11"),
        // The hello doesn't come, and no answer.
        (Vec::new(), &[], ErrorKind::ConnectionLost, "close=4"),
        (wire::hello(), &[], ErrorKind::ConnectionLost, "ping close=5"),
    ] {
        for phase in [Phase::Sent, Phase::SentMedium] {
            let mut setting = Setting { greet: false, ..Setting::default() };
            let seconds = Duration::from_secs;
            setting.channel = setting.channel.keepalive(seconds(6), seconds(1));
            let mut scene = phase.reach_with(setting).await;
            scene.wire.send(&hello).await;
            scene.wire.send(after).await;
            let failed = failure(&mut scene.call).await;
            assert_eq!(failed, (kind, Delivery::Unknown), "{left}, {phase:?}");
            let left = format!("{} {left}", phase.request());
            assert_eq!(scene.left().await, left, "{phase:?}");
        }
    }
}

/// What the layer below was given goes on leaving: it may run.
#[tokio::test(start_paused = true)]
async fn row_14_a_request_that_is_being_sent_when_the_peer_closes_may_have_run() {
    let mut scene = Phase::AllButOneByte.reach().await;
    scene.wire.send(wire::close(1)).await;
    let failed = failure(&mut scene.call).await;
    assert_eq!(failed, (ErrorKind::ShuttingDown, Delivery::Unknown));
    assert_eq!(scene.left().await, "request");
    assert_eq!(runs_of(&scene.wire.received).await, [scene.phase.bytes()]);
}

#[tokio::test(start_paused = true)]
async fn row_14_a_reply_that_a_close_has_overtaken_still_counts() {
    let mut scene = Phase::Replying.reach().await;
    scene.wire.send(wire::close(0)).await;
    settle().await;
    scene.wire.send(wire::data(scene.lane, 0, &reply_end())).await;
    assert_eq!(scene.call.await.unwrap().unwrap(), [7; 10]);
}

/// A server that is dropped says so, and what it ran is in doubt.
#[tokio::test(start_paused = true)]
async fn row_14_a_server_that_is_dropped_leaves_its_calls_in_doubt() {
    let (server, lab, bench) = both_ends("row 14").await;
    let call = tokio::spawn(lab.forever());
    settle().await;
    drop(server);
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ShuttingDown, Delivery::Unknown));
    assert_eq!((bench.runs(), bench.stopped()), (vec![0], 1));
}
