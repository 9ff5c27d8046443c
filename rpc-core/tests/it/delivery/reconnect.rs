//! The wait for the peer's hello after a reconnect (chapter 8.1): what comes of a connection that
//! dies before it. Beside the table, whose waiting phases have it too, as `Phase::Again`.

use rpc_core::{Channel, Delivery, ErrorKind};

use super::{
    failure,
    phases::{LOSSES, Loss, Phase, SMALL, Setting},
    runs_of, settle,
    wire::{self, octets},
};

// r[verify request.once]
#[tokio::test(start_paused = true)]
async fn a_call_sent_after_a_reconnect_waits_for_the_hello() {
    let mut scene = Phase::Again.reach().await;
    assert_eq!(scene.left().await, "");
    scene.wire.send(wire::hello()).await;
    assert_eq!(scene.left().await, "request");
    scene.wire.send(wire::reply(scene.lane, 0, &octets(b"once"))).await;
    assert_eq!(scene.call.await.unwrap().unwrap(), b"once");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_fast_was_not_sent_when_the_connection_dies_before_the_hello() {
    for loss in LOSSES {
        let channel = Channel::builder().no_timeout().fail_fast(true);
        let setting = Setting { channel, ..Setting::default() };
        let mut scene = Phase::Again.reach_with(setting).await;
        scene.lose(loss).await;
        let failed = failure(&mut scene.call).await;
        assert_eq!(failed, (ErrorKind::ConnectionLost, Delivery::NotSent), "{loss:?}");
        assert_eq!(scene.left().await, "", "{loss:?}");
        assert_eq!(runs_of(&scene.wire.received).await, [], "{loss:?}");
    }
}

/// Connections that die one after another: whatever they have seen, the call runs once.
#[tokio::test(start_paused = true)]
async fn a_call_outlives_any_number_of_connections_that_die_before_their_hello() {
    let mut scene = Phase::Again.reach().await;
    let mut seen = Vec::new();
    for loss in LOSSES.into_iter().cycle().take(30) {
        scene.lose(loss).await;
        assert_eq!(scene.left().await, "", "{loss:?}");
        seen.extend(runs_of(&scene.wire.received).await);
        scene.next_line();
        settle().await;
    }
    assert_eq!(seen, []);
    scene.lose(Loss::End).await;
    scene.goes_elsewhere().await;
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_call_does_not_wait_and_is_in_doubt_when_the_connection_dies() {
    for loss in LOSSES {
        let mut scene = Phase::Again.reach().await;
        // Nobody overtakes the other call, so it has to go.
        scene.call.abort();
        settle().await;
        scene.call = tokio::spawn(scene.client.lab.look(vec![7; SMALL]));
        assert_eq!(scene.left().await, "request", "{loss:?}");
        scene.lose(loss).await;
        let failed = failure(&mut scene.call).await;
        assert_eq!(failed, (ErrorKind::ConnectionLost, Delivery::Unknown), "{loss:?}");
        assert_eq!(runs_of(&scene.wire.received).await, [SMALL], "{loss:?}");
    }
}
