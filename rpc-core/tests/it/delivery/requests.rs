//! Rows 29 to 36 and 44: requests that a server refuses, and whose handler never ran.

use std::{sync::Arc, time::Duration};

use rpc_core::{
    Limits, Server,
    service::{Handler, Method, Request as Incoming, Service},
};
use tokio::sync::mpsc;

use super::{
    Bench, LabServer, Serving, settle,
    wire::{self, MORE, Request, Wire, data, lane, octets},
};
use crate::raw::{PIPE_BYTES, Pipes};

/// A server to which hello was said, and which has answered with its own.
async fn serve(limits: Limits) -> Serving {
    let mut serving = Serving::start(Server::builder().limits(limits), PIPE_BYTES);
    serving.wire.send(wire::hello()).await;
    assert_eq!(serving.wire.words().await, "");
    serving
}

impl Serving {
    /// Sends frames of the first call, and checks what comes back. Nothing ran, and the connection
    /// goes on.
    async fn refuses(mut self, frames: &[u8], answer: &str) {
        self.wire.send(frames).await;
        assert_eq!(self.wire.words().await, answer);
        assert_eq!(self.bench.runs(), []);
        self.works_on().await;
    }

    /// Another call on the same connection, in the same slot, which goes well.
    pub(super) async fn works_on(&mut self) {
        let before = self.bench.runs().len();
        let (body, lane) = (octets(b"fine"), lane(9, 0));
        self.wire.send(Request { lane, body: &body, ..Request::of("echo") }.frame()).await;
        assert_eq!(self.wire.words().await, "reply");
        assert_eq!(self.bench.runs()[before..], [4], "{} connections", self.server.connections());
    }
}

/// An `echo` of ten bytes, in as many frames as there are pieces.
fn echo(pieces: &[usize]) -> Vec<u8> {
    let body = octets(&[7; 10]);
    let mut at = 0;
    let mut frames = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let flags = if number + 1 < pieces.len() { MORE } else { 0 };
        let part = &body[at..at + piece];
        at += piece;
        frames.extend(match number {
            0 => Request { flags, body: part, ..Request::of("echo") }.frame(),
            _ => data(lane(1, 0), flags, part),
        });
    }
    frames
}

/// The beginning of one: its first frame, with the flag that more is to come.
fn echo_begin() -> Vec<u8> {
    Request { flags: MORE, body: &octets(&[7; 10])[..9], ..Request::of("echo") }.frame()
}

fn echo_end() -> Vec<u8> {
    data(lane(1, 0), 0, &octets(&[7; 10])[9..])
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_29_a_request_that_was_cancelled_before_it_was_there_never_runs() {
    let cancel = wire::cancel(lane(1, 0));
    for frames in [
        // The CANCEL overtakes all of it, or its end.
        [&cancel[..], &echo(&[18])].concat(),
        [&cancel[..], &echo(&[9, 9])].concat(),
        [&echo_begin()[..], &cancel, &echo_end()].concat(),
    ] {
        serve(Limits::default()).await.refuses(&frames, "error=1/never").await;
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_30_a_request_that_is_aborted_never_runs() {
    let frames = [echo_begin(), wire::abort(lane(1, 0))].concat();
    serve(Limits::default()).await.refuses(&frames, "error=1/never").await;
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_31_a_request_whose_time_is_over_never_runs() {
    let body = octets(&[7; 10]);
    let late = Request { timeout_ms: 0, body: &body, ..Request::of("echo") };
    serve(Limits::default()).await.refuses(&late.frame(), "error=2/never").await;

    // It passes while the request comes.
    let begin =
        Request { timeout_ms: 1000, flags: MORE, body: &body[..9], ..Request::of("echo") }.frame();
    let mut serving = serve(Limits::default()).await;
    serving.wire.send(&begin).await;
    tokio::time::sleep(Duration::from_millis(1010)).await;
    assert_eq!(serving.wire.words().await, "error=2/never");
    serving.refuses(&echo_end(), "").await;
}

/// Metadata of one entry, as an extension.
fn metadata(key: &str, value_bytes: u16, entries: usize) -> Vec<u8> {
    let mut entry = vec![u8::try_from(key.len()).unwrap()];
    entry.extend(key.as_bytes().iter().chain(&value_bytes.to_le_bytes()));
    entry.resize(entry.len() + usize::from(value_bytes), 0);
    let value = entry.repeat(entries);
    let length = u16::try_from(value.len()).unwrap().to_le_bytes();
    [&[1, 0], &length[..], &value].concat()
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_32_a_request_above_a_limit_never_runs() {
    let mut limits = Limits::default();
    limits.message_bytes = 17;
    limits.metadata_bytes = 100;
    for frames in [
        echo(&[18]),
        echo(&[17, 1]),
        echo(&[1, 17]),
        Request { extensions: &metadata("key", 95, 1), ..Request::of("forever") }.frame(),
    ] {
        serve(limits.clone()).await.refuses(&frames, "error=9/never").await;
    }
    let many = Request { extensions: &metadata("k", 0, 65), ..Request::of("forever") }.frame();
    serve(Limits::default()).await.refuses(&many, "error=9/never").await;
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_33_a_request_above_the_limit_on_incomplete_ones_never_runs() {
    let mut limits = Limits::default();
    limits.held_bytes = 17;
    for frames in [echo(&[17, 1]), echo(&[9, 8, 1])] {
        serve(limits.clone()).await.refuses(&frames, "error=3/never").await;
    }
    // One message has taken the room of another.
    let mut serving = serve(limits).await;
    let other =
        Request { lane: lane(2, 1), flags: MORE, body: &[7; 10], ..Request::of("echo") }.frame();
    serving.wire.send(other).await;
    serving.refuses(&echo(&[9, 9]), "error=3/never").await;
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_34_what_the_server_does_not_have_never_runs() {
    let service = Request { service: "Other", ..Request::of("echo") }.frame();
    serve(Limits::default()).await.refuses(&service, "error=5/never").await;
    let method = Request::of("other").frame();
    serve(Limits::default()).await.refuses(&method, "error=6/never").await;
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_35_what_cannot_be_decoded_never_runs() {
    let body = octets(&[7; 10]);
    let long = [&body[..], &[0]].concat();
    let echo = Request { body: &body, ..Request::of("echo") };
    for request in [
        Request { body: &body[..17], ..echo },
        Request { body: &long, ..echo },
        Request { body: &[0xff; 18], ..echo },
        // An empty key, one that isn't UTF-8, and an entry that is cut off.
        Request { extensions: &metadata("", 1, 1), ..echo },
        Request { extensions: &[1, 0, 4, 0, 1, 0xff, 0, 0], ..echo },
        Request { extensions: &[1, 0, 2, 0, 9, b'k'], ..echo },
    ] {
        serve(Limits::default()).await.refuses(&request.frame(), "error=7/never").await;
    }
}

/// A layer before the handler, made of what this version has: it can only deny that there is such
/// a method.
struct Layer(LabServer<Bench>);

impl Service for Layer {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn methods(&self) -> &'static [Method] {
        self.0.methods()
    }
    fn call(&self, request: Incoming) -> Handler {
        match request.context().metadata().get_str("token") {
            Some(_) => self.0.call(request),
            None => request.unknown_method(),
        }
    }
}

/// The codes of the row can't be had through the public API yet:
/// `a_refusal_of_any_kind_reaches_the_caller_as_one` in `src/mux/tests/calls.rs` has them.
// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_36_what_a_layer_refuses_never_runs() {
    let bench = Arc::new(Bench::default());
    let (pipes, accepted) = mpsc::unbounded_channel();
    let layer = Layer(LabServer::from_arc(Arc::clone(&bench)));
    let _server = Server::builder().service(layer).listen(Pipes(accepted)).start().unwrap();
    let (mut wire, theirs) = Wire::pipe(PIPE_BYTES);
    pipes.send(theirs).unwrap();
    wire.send([wire::hello(), echo(&[18])].concat()).await;
    assert_eq!(wire.words().await, "error=6/never");
    assert_eq!(bench.runs(), []);
    let (lane, body) = (lane(2, 0), octets(b"fine"));
    let token = metadata("token", 1, 1);
    wire.send(Request { lane, extensions: &token, body: &body, ..Request::of("echo") }.frame())
        .await;
    assert_eq!(wire.words().await, "reply");
    assert_eq!(bench.runs(), [4]);
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_44_a_request_that_was_not_counted_never_runs() {
    let mut serving = serve(Limits::default()).await;
    serving.wire.send([wire::go_away(0), echo(&[18])].concat()).await;
    assert_eq!(serving.wire.words().await, "error=4/never go-away-answer=0 close=0");
    assert_eq!(serving.bench.runs(), []);
    settle().await;
    assert!(serving.wire.ended);
}
