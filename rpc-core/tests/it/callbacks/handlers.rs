//! What handlers at a client are promised, and what they promise: the same as at a server.

use std::time::Duration;

use rpc_core::{
    Channel, Context, Delivery, ErrorKind, Metadata,
    transport::{Address, Peer, memory},
};

use super::{NodeClient, NodeServer, Pair, Side, check, in_time, poll_once, to};

#[tokio::test(start_paused = true)]
async fn a_handler_at_a_client_knows_its_deadline_and_its_peer() {
    let pair = Pair::new().await;
    let server = pair.server.local_addr().unwrap().to_string();
    let back = NodeClient::new(pair.back().await);
    let seconds = Duration::from_secs;
    // The handler that handed out the channel is gone, and its deadline with it.
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(back.situation().await, Ok((Some(seconds(10)), server.clone())));
    let call = back.situation().timeout(seconds(3));
    assert_eq!(call.await, Ok((Some(seconds(3)), server.clone())));
    assert_eq!(back.situation().no_deadline().await, Ok((None, server)));
}

#[tokio::test(start_paused = true)]
async fn a_handler_at_a_client_is_stopped_by_its_deadline_and_by_a_cancel() {
    let pair = Pair::new().await;
    let back = NodeClient::new(pair.back().await);
    let error = back.forever().timeout(Duration::from_millis(100)).await.unwrap_err();
    check(&error, ErrorKind::DeadlineExceeded, Delivery::Unknown, "no reply within 100ms");
    pair.client_side.has(1, 1).await;

    let mut call = back.forever();
    poll_once(&mut call).await;
    pair.client_side.has(2, 1).await;
    drop(call);
    pair.client_side.has(2, 2).await;
    assert_eq!(pair.channel.counters().requests_stopped, 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_at_a_client_fails_its_own_call_only() {
    let pair = Pair::new().await;
    let back = NodeClient::new(pair.back().await);
    // More often than it takes to run a method inline.
    for _ in 0..40 {
        let error = back.panic().await.unwrap_err();
        check(&error, ErrorKind::HandlerPanicked, Delivery::Replied, "Node.panic");
        assert_eq!(back.add(1, 2).await, Ok(3));
    }
    assert_eq!(pair.channel.counters().panics, 40);
    assert_eq!(pair.node().add(1, 2).await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_offers_nothing_refuses_every_call() {
    let pair = Pair::new().await;
    let silent = Channel::connect(to(&pair.server)).await.unwrap();
    NodeClient::new(silent.clone()).meet().await.unwrap();
    let back = NodeClient::new(pair.met.lock().await.recv().await.unwrap());
    let error = back.add(1, 2).await.unwrap_err();
    check(&error, ErrorKind::UnknownService, Delivery::Rejected, "Node.add");
    assert_eq!(silent.counters().requests_refused, 1);
    assert_eq!(NodeClient::new(silent).add(1, 2).await, Ok(3), "the connection goes on");
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_of_a_channel_are_refused() {
    let pair = Pair::with(super::at_a_time(10), Channel::builder().served_calls(2)).await;
    let back = NodeClient::new(pair.back().await);
    let (mut first, mut second) = (back.forever(), back.forever());
    poll_once(&mut first).await;
    poll_once(&mut second).await;
    pair.client_side.has(2, 0).await;
    let error = back.add(1, 2).await.unwrap_err();
    let text = "the client runs 2 calls already (ChannelBuilder::served_calls)";
    check(&error, ErrorKind::Overloaded, Delivery::Rejected, text);
    drop(first);
    pair.client_side.has(2, 1).await;
    // The place is free when the handler's task is gone.
    in_time(async { while back.add(1, 2).await.is_err() {} }).await;
}

#[tokio::test]
#[should_panic(expected = "two services are named `Node`")]
async fn a_channel_with_two_services_of_one_name_panics_when_it_connects() {
    let node = || NodeServer::new(Side::default());
    let builder = Channel::builder().service(node()).service(node());
    let _panics = builder.connect(memory::connector("nobody there")).await;
}

#[test]
#[should_panic(expected = "two services are named `Node`")]
fn a_channel_with_two_services_of_one_name_panics_when_it_is_made() {
    let node = || NodeServer::new(Side::default());
    let _panics = Channel::builder().service(node()).service(node()).lazy(memory::connector("x"));
}

#[tokio::test]
async fn a_context_that_was_made_for_a_test_leads_nowhere() {
    let back = Context::for_test(Peer::new(Address::Unnamed), Metadata::new()).channel();
    assert_eq!(back.target(), &Address::Unnamed);
    let text = "the context was made for a test, without a connection";
    let error = NodeClient::new(back.clone()).add(1, 2).await.unwrap_err();
    check(&error, ErrorKind::ConnectionLost, Delivery::NotSent, text);
    check(&in_time(back.closed()).await, ErrorKind::ConnectionLost, Delivery::NotSent, text);
    assert_eq!(back.counters().connections, 0);
}
