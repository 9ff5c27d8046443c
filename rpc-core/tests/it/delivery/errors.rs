//! Rows 17 to 19: the peer answers with an ERROR.

use rpc_core::{Delivery, ErrorKind};

use super::{
    failure,
    phases::{Phase, SENT},
    wire,
};

/// What each code says to the caller, and codes of the future (chapter 8.4).
const CODES: [(u16, ErrorKind); 15] = [
    (0, ErrorKind::MalformedReply),
    (1, ErrorKind::Cancelled),
    (2, ErrorKind::DeadlineExceeded),
    (3, ErrorKind::Overloaded),
    (4, ErrorKind::ShuttingDown),
    (5, ErrorKind::UnknownService),
    (6, ErrorKind::UnknownMethod),
    (7, ErrorKind::MalformedRequest),
    (8, ErrorKind::MalformedReply),
    (9, ErrorKind::TooLarge),
    (10, ErrorKind::HandlerPanicked),
    (11, ErrorKind::Unauthenticated),
    (12, ErrorKind::PermissionDenied),
    (13, ErrorKind::MalformedReply),
    (u16::MAX, ErrorKind::MalformedReply),
];

/// Sends an ERROR of every code in this phase, and checks what the caller learns and what leaves
/// because of it.
async fn every_code(phase: Phase, ran: u8, delivery: Delivery, left: &str) {
    for (code, kind) in CODES {
        let mut scene = phase.reach().await;
        scene.wire.send(wire::error(scene.lane, code, ran)).await;
        let failed = failure(&mut scene.call).await;
        assert_eq!(failed, (kind, delivery), "{code}, {phase:?}");
        assert_eq!(scene.left().await, left, "{code}, {phase:?}");
        scene.works_on().await;
    }
}

// r[verify delivery.table]
// r[verify error.unknown-code]
#[tokio::test(start_paused = true)]
async fn row_17_an_error_that_says_never_is_a_refusal() {
    // What has not left of the request does not, either.
    every_code(Phase::LeftInPart, 0, Delivery::Rejected, "request… data… abort").await;
    for phase in SENT {
        every_code(phase, 0, Delivery::Rejected, phase.request()).await;
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_18_an_error_that_says_maybe_leaves_it_in_doubt() {
    for phase in SENT {
        every_code(phase, 1, Delivery::Unknown, phase.request()).await;
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_19_an_error_that_says_ended_is_an_answer() {
    for phase in SENT {
        every_code(phase, 2, Delivery::Replied, phase.request()).await;
    }
}

/// Not in the table: a peer that answers what it can't have read broke the rules.
#[tokio::test(start_paused = true)]
async fn an_error_for_a_request_that_has_not_left_closes_the_connection() {
    for phase in [Phase::Queued, Phase::QueuedLarge] {
        let mut scene = phase.reach().await;
        scene.wire.send(wire::error(scene.lane, 5, 0)).await;
        let failed = failure(&mut scene.call).await;
        assert_eq!(failed, (ErrorKind::ConnectionLost, Delivery::NotSent), "{phase:?}");
        assert!(scene.left().await.ends_with("close=14"), "{phase:?}");
    }
}
