//! Rows 9 to 11: the connection breaks, or ends without a CLOSE.

use rpc_core::{Delivery, ErrorKind};

use super::{
    failure,
    phases::{LOSSES, Phase, SENT, WAITING},
    runs_of,
};

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_09_a_call_that_waits_goes_to_the_next_connection() {
    for loss in LOSSES {
        for phase in WAITING {
            let mut scene = phase.reach().await;
            if phase == Phase::Connection {
                scene.client.refuse();
            } else {
                scene.lose(loss).await;
            }
            if let Some(other) = &mut scene.other {
                let lost = (ErrorKind::ConnectionLost, Delivery::Unknown);
                assert_eq!(failure(other).await, lost, "it was sent");
            }
            scene.goes_elsewhere().await;
            assert_eq!(scene.left().await, "", "{loss:?}, {phase:?}");
        }
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_10_a_request_that_has_not_left_whole_when_the_connection_is_lost_was_not_sent() {
    for loss in LOSSES {
        for (phase, left) in [
            (Phase::Queued, ""),
            (Phase::QueuedLarge, ""),
            (Phase::LeftInPart, "request…"),
            (Phase::AllButOneByte, ""),
        ] {
            let mut scene = phase.reach().await;
            if phase == Phase::LeftInPart {
                // More than its first frame.
                scene.wire.take(100 * 1024).await;
            }
            scene.lose(loss).await;
            let failed = failure(&mut scene.call).await;
            let lost = (ErrorKind::ConnectionLost, Delivery::NotSent);
            assert_eq!(failed, lost, "{loss:?}, {phase:?}");
            assert_eq!(scene.left().await, left, "{loss:?}, {phase:?}");
            assert_eq!(runs_of(&scene.wire.received).await, [], "{loss:?}, {phase:?}");
        }
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_11_a_request_that_was_sent_when_the_connection_is_lost_may_have_run() {
    for loss in LOSSES {
        for phase in SENT {
            let mut scene = phase.reach().await;
            scene.lose(loss).await;
            let failed = failure(&mut scene.call).await;
            let lost = (ErrorKind::ConnectionLost, Delivery::Unknown);
            assert_eq!(failed, lost, "{loss:?}, {phase:?}");
            assert_eq!(scene.left().await, phase.request(), "{loss:?}, {phase:?}");
            assert_eq!(runs_of(&scene.wire.received).await, [phase.bytes()], "{phase:?}");
        }
    }
}
