//! Channels back to a peer when that goes, when this side goes, and when nobody calls.

use std::{sync::Arc, time::Duration};

use rpc_core::{Channel, Delivery, ErrorKind};
use tokio::time::{Instant, sleep, timeout};

use super::{NodeClient, Pair, at_a_time, check, in_time, poll_once};

const SECOND: Duration = Duration::from_secs(1);

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn a_channel_back_ends_with_its_connection_and_says_so() {
    let pair = Pair::new().await;
    let back = pair.back().await;
    assert!(timeout(SECOND, back.closed()).await.is_err(), "nothing has ended");
    let closed = tokio::spawn({
        let back = back.clone();
        async move { in_time(back.closed()).await }
    });
    drop(pair.channel);
    let began = Instant::now();
    let target = back.target().to_string();
    let text = format!("the peer that called, {target}, has gone: the peer closed the connection");
    check(&closed.await.unwrap(), ErrorKind::ConnectionLost, Delivery::NotSent, &text);
    let node = NodeClient::new(back.clone());
    check(&node.add(1, 2).await.unwrap_err(), ErrorKind::ConnectionLost, Delivery::NotSent, &text);
    // Long after the connection was driven to its end.
    sleep(Duration::from_secs(5)).await;
    check(&node.add(1, 2).await.unwrap_err(), ErrorKind::ConnectionLost, Delivery::NotSent, &text);
    check(&in_time(back.closed()).await, ErrorKind::ConnectionLost, Delivery::NotSent, &text);
    assert!(began.elapsed() < Duration::from_secs(6), "nothing waited: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_channel_back_does_not_move_to_the_next_connection() {
    let pair = Pair::new().await;
    let (first, node) = (pair.back().await, pair.node());
    // The server asks the client to leave, and that makes another connection.
    sleep(Duration::from_secs(11 * 60)).await;
    assert_eq!(pair.server.connections(), 0);
    let second = NodeClient::new(pair.back().await);
    let error = NodeClient::new(first).add(1, 2).await.unwrap_err();
    check(&error, ErrorKind::ConnectionLost, Delivery::NotSent, "has gone");
    assert_eq!(second.add(1, 2).await, Ok(3), "the client serves every connection");
    assert_eq!(node.bounce(2).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_channel_stops_the_handlers_of_the_server() {
    let pair = Pair::new().await;
    let back = NodeClient::new(pair.back().await);
    let call = tokio::spawn(back.forever().no_deadline());
    pair.client_side.has(1, 0).await;
    drop(pair.channel);
    let began = Instant::now();
    pair.client_side.has(1, 1).await;
    let error = call.await.unwrap().unwrap_err();
    check(&error, ErrorKind::ConnectionLost, Delivery::Unknown, "nobody needs the connection");
    assert!(began.elapsed() <= SECOND, "{:?}", began.elapsed());
    assert!(pair.server.shutdown(SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn a_channel_back_keeps_neither_connection_nor_services_alive() {
    let pair = Pair::new().await;
    let back = pair.back().await;
    drop(pair.channel);
    assert!(pair.server.shutdown(SECOND).await, "there is nothing to wait for");
    // The connection lingers for a second at most.
    sleep(2 * SECOND).await;
    assert_eq!(Arc::strong_count(&pair.client_side), 1, "nobody else has the client's service");
    assert_eq!(Arc::strong_count(&pair.server_side), 1, "nobody else has the server's service");
    drop(back);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_channel_back_closes_nothing() {
    let pair = Pair::new().await;
    let mut call = pair.node().forever();
    poll_once(&mut call).await;
    drop(pair.back().await);
    pair.server_side.has(1, 0).await;
    assert_eq!(NodeClient::new(pair.back().await).add(1, 2).await, Ok(3));
    assert_eq!(pair.server.counters().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn calls_back_keep_a_connection_from_being_idle_and_channels_do_not() {
    let pair = Pair::new().await;
    let back = NodeClient::new(pair.back().await);
    for _ in 0..3 {
        sleep(Duration::from_secs(9 * 60)).await;
        assert_eq!(back.add(1, 2).await, Ok(3), "it was used");
    }
    let under_way = tokio::spawn(back.forever().timeout(Duration::from_secs(60 * 60)));
    sleep(Duration::from_secs(30 * 60)).await;
    assert_eq!(pair.server.connections(), 1, "a call is under way");
    under_way.abort();
    sleep(Duration::from_secs(11 * 60)).await;
    assert_eq!(pair.server.connections(), 0, "nobody calls");
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn a_shutdown_finishes_calls_back_that_are_under_way_and_begins_none() {
    let pair = Pair::with(at_a_time(1), Channel::builder()).await;
    let back = NodeClient::new(pair.back().await);
    let under_way = tokio::spawn(back.forever().timeout(2 * SECOND));
    pair.client_side.has(1, 0).await;
    let mut waiting = back.add(1, 2);
    poll_once(&mut waiting).await;
    let began = Instant::now();
    let down = tokio::spawn(pair.server.shutdown(10 * SECOND));
    for call in [waiting, back.add(1, 2)] {
        sleep(Duration::from_millis(10)).await;
        let error = call.await.unwrap_err();
        check(&error, ErrorKind::ShuttingDown, Delivery::NotSent, "one side is going away");
    }
    let error = under_way.await.unwrap().unwrap_err();
    check(&error, ErrorKind::DeadlineExceeded, Delivery::Unknown, "no reply within 2s");
    assert!(down.await.unwrap(), "all of it ended by itself");
    assert!(began.elapsed() < 3 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_runs_out_of_grace_cuts_off_calls_back() {
    let pair = Pair::new().await;
    let back = pair.back().await;
    let under_way = tokio::spawn(NodeClient::new(back.clone()).forever().no_deadline());
    pair.client_side.has(1, 0).await;
    assert!(!pair.server.shutdown(SECOND).await);
    let error = under_way.await.unwrap().unwrap_err();
    check(&error, ErrorKind::ShuttingDown, Delivery::Unknown, "this side closed the connection");
    pair.client_side.has(1, 1).await;
    let error = in_time(back.closed()).await;
    check(&error, ErrorKind::ConnectionLost, Delivery::NotSent, "this side closed the connection");
}

#[tokio::test(start_paused = true)]
async fn what_a_channel_back_has_counted_outlives_the_connection() {
    let pair = Pair::new().await;
    let back = pair.back().await;
    let node = NodeClient::new(back.clone());
    assert_eq!(node.add(1, 2).await, Ok(3));
    let counted = back.counters();
    assert_eq!((counted.connections, counted.calls, counted.requests), (1, 1, 1));
    drop(pair.channel);
    in_time(back.closed()).await;
    sleep(5 * SECOND).await;
    assert_eq!(back.counters(), counted);
}
