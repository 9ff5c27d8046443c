//! Rows 5 to 8: the deadline passes.

use std::time::Duration;

use rpc_core::{Delivery, ErrorKind};

use super::{
    failure,
    phases::{Client, LARGE, MEDIUM, NARROW, Phase, SENT, Scene, Setting, WAITING, channel},
    runs_of, settle,
    wire::{self, abort},
};

async fn too_late(phase: Phase) -> Scene {
    let timeout = Some(Duration::from_secs(1));
    phase.reach_with(Setting { timeout, ..Setting::default() }).await
}

/// Waits for the call to fail at its deadline.
async fn expire(scene: &mut Scene, delivery: Delivery) {
    let began = tokio::time::Instant::now();
    let failed = failure(&mut scene.call).await;
    assert_eq!(failed, (ErrorKind::DeadlineExceeded, delivery), "{:?}", scene.phase);
    assert!(began.elapsed() < Duration::from_millis(1100), "{:?}", scene.phase);
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_05_a_deadline_ends_the_wait() {
    for phase in WAITING {
        let mut scene = too_late(phase).await;
        expire(&mut scene, Delivery::NotSent).await;
        assert_eq!(scene.left().await, "", "{phase:?}");
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_06_a_deadline_takes_back_a_request_that_has_not_left() {
    for (phase, left) in [(Phase::Queued, "void"), (Phase::QueuedLarge, "")] {
        let mut scene = too_late(phase).await;
        expire(&mut scene, Delivery::NotSent).await;
        assert_eq!(scene.left().await, left, "{phase:?}");
        let runs = runs_of(&scene.wire.received).await;
        assert!(!runs.contains(&phase.bytes()), "{phase:?}: {runs:?}");
        scene.works_on().await;
    }
}

/// A peer that was told how many requests there are waits for each of them.
#[tokio::test(start_paused = true)]
async fn row_06_a_deadline_gives_up_a_request_that_was_counted() {
    let client = Client::new(channel());
    let (mut wire, _) = client.line(NARROW);
    wire.send(wire::hello()).await;
    // A batch has a part of four messages: this one has its turn in the third.
    let others: Vec<_> = (0..9).map(|_| client.start(MEDIUM, None)).collect();
    settle().await;
    let mut call = client.start(LARGE, Some(Duration::from_secs(1)));
    settle().await;
    wire.send(wire::go_away(0)).await;
    wire.take(300 * 1024).await;
    assert_eq!(failure(&mut call).await, (ErrorKind::DeadlineExceeded, Delivery::NotSent));
    let frames = wire.frames().await;
    let about = frames.into_iter().filter(|frame| matches!(frame.call(), 0 | 10));
    assert_eq!(wire::words(about), "hello go-away-answer=10 request… abort");
    let runs = runs_of(&wire.received).await;
    assert_eq!(runs, [MEDIUM; 9], "it never ran");
    drop(others);
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_07_a_deadline_gives_up_a_request_that_left_in_part() {
    let mut scene = too_late(Phase::LeftInPart).await;
    expire(&mut scene, Delivery::NotSent).await;
    assert_eq!(scene.left().await, "request… data… abort");
    assert_eq!(runs_of(&scene.wire.received).await, []);
    scene.works_on().await;
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_08_a_deadline_cancels_a_request_that_was_sent() {
    for phase in SENT {
        let mut scene = too_late(phase).await;
        assert_eq!(scene.left().await, phase.request(), "{phase:?}");
        assert_eq!(runs_of(&scene.wire.received).await, [phase.bytes()], "it may have run");
        expire(&mut scene, Delivery::Unknown).await;
        assert_eq!(scene.left().await, "cancel", "{phase:?}");
        if phase == Phase::Replying {
            scene.wire.send(abort(scene.lane)).await;
        } else {
            scene.wire.send(wire::error(scene.lane, 1, 1)).await;
        }
        scene.works_on().await;
    }
}

/// What the layer below was given counts as sent, although it hasn't taken all of it: it will.
#[tokio::test(start_paused = true)]
async fn row_08_a_deadline_cancels_a_request_that_is_being_sent() {
    let mut scene = too_late(Phase::AllButOneByte).await;
    expire(&mut scene, Delivery::Unknown).await;
    assert_eq!(scene.left().await, "request cancel");
    scene.works_on().await;
}
