//! Rows 20 to 25: the peer answers with a REPLY.

use rpc_core::{CallError, Delivery, ErrorKind, Limits};

use super::{
    failure,
    phases::{Client, Phase, SENT, Scene, Setting, channel, reply_begin, reply_end},
    settle,
    wire::{self, APP_ERROR, MORE, lane, octets},
};
use crate::raw::PIPE_BYTES;

/// The rest of a good reply, or all of it.
fn ending(scene: &Scene) -> Vec<u8> {
    match scene.phase {
        Phase::Replying => wire::data(scene.lane, 0, &reply_end()),
        _ => wire::reply(scene.lane, 0, &octets(&[7; 10])),
    }
}

/// A frame of a reply, its first or a further one, as the phase has it.
fn part(scene: &Scene, flags: u8, body: &[u8]) -> Vec<u8> {
    match scene.phase {
        Phase::Replying => wire::data(scene.lane, flags, body),
        _ => wire::reply(scene.lane, flags, body),
    }
}

/// Checks what a caller learns from a frame that can't be used, and what leaves because of it.
async fn unusable(scene: &mut Scene, frame: Vec<u8>, kind: ErrorKind, left: &str) {
    let phase = scene.phase;
    assert_eq!(scene.left().await, phase.request(), "{phase:?}");
    scene.wire.send(frame).await;
    let failed = failure(&mut scene.call).await;
    assert_eq!(failed, (kind, Delivery::Replied), "{phase:?}");
    assert_eq!(scene.left().await, left, "{phase:?}");
    if left == "cancel" {
        scene.wire.send(wire::error(scene.lane, 1, 2)).await;
    }
    scene.works_on().await;
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_20_a_complete_reply_is_the_value() {
    for phase in SENT {
        let mut scene = phase.reach().await;
        assert_eq!(scene.left().await, phase.request(), "{phase:?}");
        scene.wire.send(ending(&scene)).await;
        assert_eq!((&mut scene.call).await.unwrap().unwrap(), [7; 10], "{phase:?}");
        assert_eq!(scene.left().await, "", "{phase:?}");
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_21_what_the_handler_returned_as_an_error_is_its_own() {
    let body = octets(b"3 is odd");
    let (begin, end) = body.split_at(5);
    for frames in [
        vec![wire::reply(lane(1, 0), APP_ERROR, &body)],
        vec![wire::reply(lane(1, 0), APP_ERROR | MORE, begin), wire::data(lane(1, 0), 0, end)],
    ] {
        let client = Client::new(channel());
        let (mut wire, _) = client.line(PIPE_BYTES);
        wire.send(wire::hello()).await;
        let call = tokio::spawn(client.lab.even(3));
        settle().await;
        wire.send(frames.concat()).await;
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error, CallError::App("3 is odd".to_owned()));
        assert_eq!(error.delivery(), Delivery::Replied);
        assert_eq!(wire.words().await, "request");
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_22_a_reply_that_cannot_be_decoded_was_an_answer() {
    for phase in SENT {
        // Too short, too long.
        for body in [&[7; 1][..], &[7; 99]] {
            let mut scene = phase.reach().await;
            let frame = part(&scene, 0, body);
            unusable(&mut scene, frame, ErrorKind::MalformedReply, "").await;
        }
    }
    // An error of a method that returns none.
    let mut scene = Phase::Sent.reach().await;
    let frame = wire::reply(scene.lane, APP_ERROR, &octets(&[7; 10]));
    unusable(&mut scene, frame, ErrorKind::MalformedReply, "").await;
}

/// The same call, where this side has low limits.
async fn limited(phase: Phase, change: fn(&mut Limits)) -> Scene {
    let mut limits = Limits::default();
    change(&mut limits);
    let channel = channel().limits(limits);
    phase.reach_with(Setting { channel, ..Setting::default() }).await
}

/// Nothing is to be said if the reply is over; else the peer is told to stop.
const ENDS: [(u8, &str); 2] = [(0, ""), (MORE, "cancel")];

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_23_a_reply_above_this_sides_limit_was_an_answer() {
    for phase in [Phase::Sent, Phase::Replying] {
        for (flags, left) in ENDS {
            let mut scene = limited(phase, |limits| limits.message_bytes = 100).await;
            let frame = part(&scene, flags, &[7; 101]);
            unusable(&mut scene, frame, ErrorKind::TooLarge, left).await;
        }
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_24_a_reply_above_the_limit_on_incomplete_ones_was_an_answer() {
    for (flags, left) in ENDS {
        let mut scene =
            limited(Phase::Replying, |limits| limits.held_bytes = reply_begin().len()).await;
        let frame = part(&scene, flags, &reply_end());
        unusable(&mut scene, frame, ErrorKind::Overloaded, left).await;
    }
    // Its first frame may be too much already.
    let mut scene = limited(Phase::Sent, |limits| limits.held_bytes = 9).await;
    let frame = part(&scene, MORE, &reply_begin());
    unusable(&mut scene, frame, ErrorKind::Overloaded, "cancel").await;
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_25_a_reply_that_is_aborted_was_an_answer() {
    let mut scene = Phase::Replying.reach().await;
    let frame = wire::abort(scene.lane);
    unusable(&mut scene, frame, ErrorKind::MalformedReply, "").await;
}
