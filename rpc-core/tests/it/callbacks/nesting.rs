//! Calls within calls within calls: each side has places of its own, and when they are taken a call
//! waits until its deadline, not for ever.

use std::time::Duration;

use rpc_core::{CallError, Channel, Delivery, ErrorKind};
use tokio::time::Instant;

use super::{Pair, at_a_time, check, poll_once};

#[tokio::test(start_paused = true)]
async fn a_handler_calls_back_although_each_side_takes_one_call_at_a_time() {
    let pair = Pair::with(at_a_time(1), Channel::builder()).await;
    assert_eq!(pair.node().add(1, 2).await, Ok(3), "the hellos have come");
    for _ in 0..40 {
        assert_eq!(pair.node().bounce(1).await, Ok(1));
    }
    let back = super::NodeClient::new(pair.back().await);
    for _ in 0..40 {
        assert_eq!(back.bounce(1).await, Ok(1), "it begins on the other side");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_nest_as_deep_as_both_sides_have_places() {
    for places in [1, 2, 5] {
        let pair = Pair::with(at_a_time(places), Channel::builder()).await;
        let node = pair.node();
        assert_eq!(node.add(1, 2).await, Ok(3), "the hellos have come");
        let deepest = 2 * places - 1;
        assert_eq!(node.bounce(deepest).await, Ok(deepest));

        // One deeper, the last call waits for a place that its own ancestor has.
        let began = Instant::now();
        let call = node.bounce(deepest + 1).timeout(Duration::from_millis(500));
        let Err(CallError::Rpc(error)) = call.await else { panic!("{places}: it did not wait") };
        check(&error, ErrorKind::DeadlineExceeded, Delivery::Unknown, "no reply within 500ms");
        assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
        assert_eq!(node.bounce(deepest).await, Ok(deepest), "every place is free again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_back_that_finds_no_place_was_not_sent() {
    let pair = Pair::with(at_a_time(1), Channel::builder()).await;
    let back = super::NodeClient::new(pair.back().await);
    let mut first = back.forever();
    poll_once(&mut first).await;
    let error = back.add(1, 2).timeout(Duration::from_millis(500)).await.unwrap_err();
    check(&error, ErrorKind::DeadlineExceeded, Delivery::NotSent, "a free place");
    drop(first);
    assert_eq!(back.add(1, 2).await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_stops_the_handlers_of_both_sides() {
    let pair = Pair::new().await;
    let call = tokio::spawn(pair.node().wait_for_caller());
    pair.client_side.has(1, 0).await;
    call.abort();
    pair.client_side.has(1, 1).await;
    assert_eq!(pair.node().bounce(3).await, Ok(3), "the connection goes on");
}

#[tokio::test(start_paused = true)]
async fn a_call_back_inherits_the_deadline_of_its_handler() {
    let pair = Pair::new().await;
    let began = Instant::now();
    let call = pair.node().wait_for_caller().timeout(Duration::from_secs(2));
    let Err(CallError::Rpc(error)) = call.await else { panic!("it did not wait") };
    check(&error, ErrorKind::DeadlineExceeded, Delivery::Unknown, "no reply within 2s");
    pair.client_side.has(1, 1).await;
    assert!(began.elapsed() < Duration::from_millis(2100), "{:?}", began.elapsed());
}
