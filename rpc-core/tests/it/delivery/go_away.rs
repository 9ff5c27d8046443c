//! Rows 15 and 16: a side begins nothing new.
//!
//! A channel says GO_AWAY only in answer, so from outside "sent" and "received" are one. The two
//! apart: `nothing_new_begins_on_either_side` in `src/mux/tests/drain.rs`.

use super::{
    phases::{Phase, WAITING, reply_end},
    settle,
    wire::{self, octets},
};

// r[verify delivery.table]
// r[verify drain.refrain]
#[tokio::test(start_paused = true)]
async fn row_15_a_call_that_waits_goes_to_another_connection() {
    for phase in &WAITING[1..] {
        let mut scene = phase.reach().await;
        if *phase != Phase::Place {
            // A hello comes first, in the same read: nobody has a turn between the two.
            scene.wire.send([wire::hello(), wire::go_away(0)].concat()).await;
            settle().await;
            assert_eq!(scene.left().await, "go-away-answer=0 close=0", "{phase:?}");
        } else {
            scene.wire.send(wire::go_away(0)).await;
            settle().await;
            assert_eq!(scene.left().await, "go-away-answer=1", "only the other one was sent");
        }
        scene.goes_elsewhere().await;
        if let Some(other) = scene.other {
            scene.wire.send(wire::reply(wire::lane(1, 0), 0, &octets(b"here"))).await;
            assert_eq!(other.await.unwrap().unwrap(), b"here");
        }
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_16_a_call_that_has_begun_goes_on() {
    for (phase, left) in [
        (Phase::Queued, "request go-away-answer=2"),
        (Phase::QueuedLarge, "go-away-answer=2 request… data… data"),
        (Phase::LeftInPart, "request… data… go-away-answer=1 data… data"),
        (Phase::Sent, "request go-away-answer=1"),
        (Phase::SentMedium, "request… data… data go-away-answer=1"),
        (Phase::Replying, "request go-away-answer=1"),
    ] {
        let mut scene = phase.reach().await;
        scene.wire.send(wire::go_away(0)).await;
        settle().await;
        assert_eq!(scene.left().await, left, "{phase:?}");
        let answer = if phase == Phase::Replying {
            wire::data(scene.lane, 0, &reply_end())
        } else {
            wire::reply(scene.lane, 0, &octets(&[7; 10]))
        };
        scene.wire.send(answer).await;
        assert_eq!(scene.call.await.unwrap().unwrap(), [7; 10], "{phase:?}");
    }
}
