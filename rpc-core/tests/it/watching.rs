//! What a channel and a server show of themselves: how connections ended, and what was counted.

use std::{
    future::{pending, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use rpc_core::{
    Channel, Counters, ErrorKind, Server,
    transport::memory::{self, MemoryConnector},
};
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};

use crate::raw::{self, HELLO};

#[rpc_core::service]
trait Desk {
    async fn ring(&self);
    async fn wait(&self);
    async fn break_down(&self);
}

struct Bell;

impl Desk for Bell {
    async fn ring(&self) {}
    async fn wait(&self) {
        pending::<()>().await;
    }
    async fn break_down(&self) {
        panic!("the bell is broken");
    }
}

#[rpc_core::service(name = "Desk")]
trait NewerDesk {
    async fn open_drawer(&self);
}

/// Starts a server, as soon as the last one of that name has closed its listener.
async fn serve(name: &str) -> Server {
    let listener = loop {
        match memory::listen(name).await {
            Ok(listener) => break listener,
            Err(_) => yield_now().await,
        }
    };
    Server::builder().service(DeskServer::new(Bell)).listen(listener).start().unwrap()
}

fn to(server: &Server) -> MemoryConnector {
    memory::connector(server.local_addr().unwrap().to_string())
}

/// The counters that aren't 0, as text.
fn shown(counters: Counters) -> String {
    let text = format!("{counters:?}");
    let fields = text.trim_start_matches("Counters { ").trim_end_matches(" }").split(", ");
    fields.filter(|field| !field.ends_with(": 0")).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn both_sides_count_what_became_of_calls() {
    let server = serve("counted").await;
    let channel = Channel::connect(to(&server)).await.unwrap();
    let desk = DeskClient::new(channel.clone());
    desk.ring().await.unwrap();
    desk.break_down().await.unwrap_err();
    NewerDeskClient::new(channel.clone()).open_drawer().await.unwrap_err();

    let dropped = tokio::spawn(desk.wait());
    while server.counters().requests < 4 {
        yield_now().await;
    }
    dropped.abort();
    while server.counters().requests_stopped < 1 {
        yield_now().await;
    }
    assert_eq!(
        shown(channel.counters()),
        "connections: 1, calls: 4, calls_refused: 1, calls_cancelled: 1"
    );
    assert_eq!(
        shown(server.counters()),
        "connections: 1, requests: 4, requests_refused: 1, requests_stopped: 1, panics: 1"
    );
}

#[tokio::test]
async fn what_was_counted_outlives_its_connection() {
    let server = serve("outlived").await;
    let channel = Channel::connect(to(&server)).await.unwrap();
    let desk = DeskClient::new(channel.clone());
    desk.ring().await.unwrap();
    let waiting = tokio::spawn(desk.wait());
    while server.counters().requests < 2 {
        yield_now().await;
    }
    drop(server);
    waiting.await.unwrap().unwrap_err();
    channel.closed().await;

    let server = serve("outlived").await;
    desk.ring().await.unwrap();
    assert_eq!(shown(channel.counters()), "connections: 2, calls: 3, calls_unknown: 1");
    drop((desk, channel));
    while server.connections() > 0 {
        yield_now().await;
    }
    assert_eq!(shown(server.counters()), "connections: 1, requests: 1");
}

#[tokio::test]
async fn connections_that_fail_or_are_turned_away_are_counted() {
    let listener = memory::listen("picky").await.unwrap();
    let server = Server::builder().connections(0).listen(listener).start().unwrap();
    let channel = Channel::builder().fail_fast(true).lazy(to(&server));
    DeskClient::new(channel.clone()).ring().await.unwrap_err();
    assert_eq!(shown(server.counters()), "connections_refused: 1");
    channel.closed().await;
    assert_eq!(channel.counters().connections_refused, 1);
    drop(server);

    let channel = Channel::builder().fail_fast(true).lazy(memory::connector("nobody"));
    DeskClient::new(channel.clone()).ring().await.unwrap_err();
    assert_eq!(shown(channel.counters()), "connections_refused: 1");
}

#[tokio::test(start_paused = true)]
async fn pings_to_a_silent_server_are_counted() {
    let (channel, mut raw) = raw::channel().await;
    let call = tokio::spawn(DeskClient::new(channel.clone()).wait().no_deadline());
    raw.send(HELLO).await;
    call.await.unwrap().unwrap_err();
    assert_eq!(shown(channel.counters()), "connections: 1, calls: 1, calls_unknown: 1, pings: 1");
}

#[tokio::test(start_paused = true)]
async fn closed_waits_for_the_end_of_the_connection_and_says_what_it_was() {
    let server = serve("closing").await;
    let channel = Channel::lazy(to(&server));
    let error = channel.closed().await;
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert!(error.to_string().contains("no connection was made yet"), "{error}");

    DeskClient::new(channel.clone()).ring().await.unwrap();
    let closed = timeout(Duration::from_secs(60), channel.closed()).await;
    assert!(closed.is_err(), "it said that a living connection was closed");

    let watching = tokio::spawn({
        let channel = channel.clone();
        async move { channel.closed().await }
    });
    sleep(Duration::from_millis(1)).await;
    drop(server);
    let error = watching.await.unwrap();
    assert_eq!(error.kind(), ErrorKind::ShuttingDown);
    assert!(error.to_string().contains("the peer closed the connection"), "{error}");
}

#[tokio::test]
async fn closed_returns_when_a_drain_is_over_or_another_connection_is_made() {
    for another in [false, true] {
        let server = serve("draining").await;
        let channel = Channel::connect(to(&server)).await.unwrap();
        let desk = DeskClient::new(channel.clone());
        desk.ring().await.unwrap();
        let waiting = tokio::spawn(desk.wait().no_deadline());
        while server.counters().requests < 2 {
            yield_now().await;
        }
        let shutdown = tokio::spawn(server.shutdown(Duration::from_secs(3600)));
        let mut closed = pin!(channel.closed());
        for _ in 0..100 {
            assert!(poll_once(closed.as_mut()).await.is_none(), "a call is under way");
        }
        let _next = if another {
            let next = serve("draining").await;
            desk.ring().await.unwrap();
            Some(next)
        } else {
            waiting.abort();
            None
        };
        closed.await;
        waiting.abort();
        assert!(shutdown.await.unwrap(), "the drain had nothing left to wait for");
    }
}

/// Lets every other task run, then polls.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    yield_now().await;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
