//! Rows 26 to 28: the caller drops the call.

use super::{
    phases::{Phase, SENT, Scene, WAITING},
    runs_of, settle,
    wire::{self, octets},
};

async fn abandon(scene: &mut Scene) {
    scene.call.abort();
    settle().await;
    assert!(scene.call.is_finished(), "{:?}", scene.phase);
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_26_a_call_dropped_while_it_waits_is_never_sent() {
    for phase in WAITING {
        let mut scene = phase.reach().await;
        abandon(&mut scene).await;
        if phase != Phase::Connection && phase != Phase::Place {
            scene.wire.send(wire::hello()).await;
        }
        if let Some(other) = &mut scene.other {
            scene.wire.send(wire::reply(wire::lane(1, 0), 0, &octets(b"here"))).await;
            assert_eq!(other.await.unwrap().unwrap(), b"here");
        }
        assert_eq!(scene.left().await, "", "{phase:?}");
        if phase != Phase::Connection {
            scene.works_on().await;
        }
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_27_a_call_dropped_while_it_is_queued_is_taken_back_or_given_up() {
    for (phase, left) in [
        (Phase::Queued, "void"),
        (Phase::QueuedLarge, ""),
        (Phase::LeftInPart, "request… data… abort"),
    ] {
        let mut scene = phase.reach().await;
        abandon(&mut scene).await;
        assert_eq!(scene.left().await, left, "{phase:?}");
        let runs = runs_of(&scene.wire.received).await;
        assert!(!runs.contains(&phase.bytes()), "{phase:?}: {runs:?}");
        scene.works_on().await;
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_28_a_call_dropped_after_it_was_sent_is_cancelled() {
    for phase in SENT {
        let mut scene = phase.reach().await;
        assert_eq!(scene.left().await, phase.request(), "{phase:?}");
        abandon(&mut scene).await;
        assert_eq!(scene.left().await, "cancel", "{phase:?}");
        scene.works_on().await;
    }
}
