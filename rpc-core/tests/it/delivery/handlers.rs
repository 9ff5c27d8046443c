//! Rows 37 to 43: what a server answers when the handler was started.

use std::time::Duration;

use rpc_core::{Delivery, ErrorKind, Limits, Server};

use super::{
    Serving, both_ends, settle,
    wire::{self, MESSAGE_BYTES, Request, lane},
};
use crate::raw::PIPE_BYTES;

/// A server to which hello was said.
async fn serve(limits: Limits, hello: Vec<u8>, pipe_bytes: usize) -> Serving {
    let mut serving = Serving::start(Server::builder().limits(limits), pipe_bytes);
    serving.wire.send(hello).await;
    assert_eq!(serving.wire.words().await, "");
    serving
}

async fn serve_by_default() -> Serving {
    serve(Limits::default(), wire::hello(), PIPE_BYTES).await
}

impl Serving {
    /// Sends a request, and checks what comes back. It ran once, and the connection goes on.
    async fn fails(mut self, request: &Request<'_>, answer: &str) {
        self.wire.send(request.frame()).await;
        assert_eq!(self.wire.words().await, answer);
        assert_eq!(self.bench.runs(), [0]);
        self.works_on().await;
        assert_eq!(self.bench.runs().len(), 2, "once");
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_37_a_handler_stopped_by_a_cancel_may_have_had_effects() {
    let mut serving = serve_by_default().await;
    serving.wire.send(Request::of("forever").frame()).await;
    settle().await;
    assert_eq!((serving.bench.runs(), serving.bench.stopped()), (vec![0], 0));
    serving.wire.send(wire::cancel(lane(1, 0))).await;
    assert_eq!(serving.wire.words().await, "error=1/maybe");
    assert_eq!((serving.bench.runs(), serving.bench.stopped()), (vec![0], 1));
    serving.works_on().await;
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_38_a_handler_stopped_by_its_deadline_may_have_had_effects() {
    let mut serving = serve_by_default().await;
    serving.wire.send(Request { timeout_ms: 1000, ..Request::of("forever") }.frame()).await;
    tokio::time::sleep(Duration::from_millis(990)).await;
    assert_eq!(serving.wire.words().await, "", "it has some time left");
    assert_eq!((serving.bench.runs(), serving.bench.stopped()), (vec![0], 0));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(serving.wire.words().await, "error=2/maybe");
    assert_eq!((serving.bench.runs(), serving.bench.stopped()), (vec![0], 1));
    serving.works_on().await;
}

/// A server that ends says so once for all its calls, by closing. An ERROR for a single one is what
/// `a_process_that_ends_leaves_its_calls_in_doubt` in `src/mux/tests/calls.rs` is about.
// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_39_a_handler_stopped_because_the_process_ends_may_have_had_effects() {
    let mut serving = serve_by_default().await;
    serving.wire.send(Request::of("forever").frame()).await;
    settle().await;
    let Serving { mut wire, server, bench } = serving;
    let shutdown = tokio::spawn(server.shutdown(Duration::ZERO));
    // It first accepts what has come, for a moment.
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(wire.words().await, "go-away=0 close=1");
    assert_eq!((bench.runs(), bench.stopped()), (vec![0], 1));
    wire.end().await;
    assert!(!shutdown.await.unwrap());

    // The same as its caller sees it.
    let (server, lab, bench) = both_ends("row 39").await;
    let call = tokio::spawn(lab.forever());
    settle().await;
    assert!(!server.shutdown(Duration::ZERO).await);
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ShuttingDown, Delivery::Unknown));
    assert_eq!((bench.runs(), bench.stopped()), (vec![0], 1));
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_40_a_handler_that_panics_has_ended() {
    // At its first poll, and later.
    for polls in [0_u32, 1] {
        let request = Request { body: &polls.to_le_bytes(), ..Request::of("panic") };
        serve_by_default().await.fails(&request, "error=10/ended").await;
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_41_a_handler_whose_reply_cannot_be_encoded_has_ended() {
    serve_by_default().await.fails(&Request::of("seal"), "error=8/ended").await;
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_42_a_handler_whose_reply_is_too_large_has_ended() {
    let mut ours = Limits::default();
    ours.message_bytes = 1000;
    let theirs = wire::hello_with(MESSAGE_BYTES, &1000_u32.to_le_bytes());
    for (limits, hello) in [(ours, wire::hello()), (Limits::default(), theirs)] {
        let serving = serve(limits, hello, PIPE_BYTES).await;
        let request = Request { body: &993_u32.to_le_bytes(), ..Request::of("large") };
        serving.fails(&request, "error=9/ended").await;
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_43_a_reply_taken_back_because_of_a_cancel_was_an_answer() {
    let large = 1024_u32 * 1024;
    // The calls of one connection, of which the last is cancelled while the peer doesn't read.
    for (sizes, answer) in [
        // Its reply waits behind another.
        (&[large, large][..], "error=1/ended"),
        // A part of it has left.
        (&[large], "reply… data… abort"),
        // A small one isn't worth it.
        (&[large, 10], "reply"),
    ] {
        let mut serving = serve(Limits::default(), wire::hello(), 1024).await;
        let mut last = 0;
        for (slot, bytes) in (0..).zip(sizes) {
            last = lane(slot + 1, slot);
            let body = bytes.to_le_bytes();
            let request = Request { lane: last, body: &body, ..Request::of("large") };
            serving.wire.send(request.frame()).await;
            settle().await;
        }
        assert_eq!(serving.bench.runs().len(), sizes.len(), "all have ended");
        serving.wire.send(wire::cancel(last)).await;
        settle().await;
        let frames = serving.wire.frames().await.into_iter();
        assert_eq!(wire::words(frames.filter(|frame| frame.lane == last)), answer);
        serving.works_on().await;
        assert_eq!(serving.bench.runs().len(), sizes.len() + 1, "once each");
    }
}
