//! A server and a client as a peer sees them that knows nothing but the specification: raw bytes.

use std::{sync::Arc, time::Duration};

use rpc_core::{Channel, Delivery, ErrorKind, Limits, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    sync::{Mutex, mpsc},
};

use crate::raw::{HELLO, PipeConnector, Raw, channel, hex, request, show};

/// `Greeter.hello("Ada")` with a timeout of a second, and the reply to it.
const REQUEST: &str = "1b000080 0000000100000000 02000000 e8030000 c08b6e536b2d2c7f
    0300000000000000 416461";
const REPLY: &str = "17000080 0000000100000000 03000000 0b00000000000000 48656c6c6f2c2041646121";

#[rpc_core::service]
trait Greeter {
    async fn hello(&self, name: &str) -> String;
    async fn share(&self, of: u32, among: u32) -> Result<u32, String>;
    async fn large(&self, bytes: u32) -> Vec<u8>;
    async fn forever(&self);
}

struct English;

impl Greeter for English {
    async fn hello(&self, name: &str) -> String {
        format!("Hello, {name}!")
    }
    async fn share(&self, of: u32, among: u32) -> Result<u32, String> {
        of.checked_div(among).ok_or_else(|| "nobody".to_owned())
    }
    async fn large(&self, bytes: u32) -> Vec<u8> {
        vec![7; bytes as usize]
    }
    async fn forever(&self) {
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn the_example_of_the_specification_is_what_happens() {
    let mut raw = serve(Limits::default());
    raw.greet().await;
    raw.send(REQUEST).await;
    raw.expect(REPLY).await;
}

// r[verify codec.arguments]
// r[verify codec.reply]
#[tokio::test]
async fn arguments_lie_side_by_side_and_errors_have_no_tag() {
    let mut raw = serve(Limits::default());
    raw.greet().await;
    let id = "000000010000 0000";
    let share = show(&GreeterClient::id_of("share").to_le_bytes());
    // 12 shared among 4: 3. The second call is in the same slot, with the next sequence number.
    raw.send(&format!("18000080 {id} 02000000 e8030000 {share} 0c000000 04000000")).await;
    raw.expect(&format!("08000080 {id} 03000000 03000000")).await;
    let id = "000000020000 0000";
    raw.send(&format!("18000080 {id} 02000000 e8030000 {share} 0c000000 00000000")).await;
    raw.expect(&format!("12000080 {id} 03020000 0600000000000000 6e6f626f6479")).await;
}

/// A connection to a server with the service above.
fn serve(limits: Limits) -> Raw {
    Raw::to(Server::builder().service(GreeterServer::new(English)).limits(limits))
}

impl GreeterClient {
    fn id_of(method: &'static str) -> u64 {
        rpc_core::service::MethodId::of("Greeter", method).number()
    }
}

// r[verify codec.malformed]
// r[verify method.unknown]
#[tokio::test]
async fn what_cannot_be_run_is_refused_and_never_ran() {
    for (service, method, body, code) in [
        ("Greeter", "hello", "ff00000000000000 41", 7),
        ("Greeter", "hello", "0100000000000000 41 00", 7),
        ("Greeter", "goodbye", "", 6),
        ("Other", "hello", "", 5),
    ] {
        let mut raw = serve(Limits::default());
        raw.greet().await;
        raw.send(&request(service, method, body)).await;
        let (got, ran, text) = raw.error().await;
        assert_eq!((got, ran), (code, 0), "{service}.{method}: {text}");
    }
}

// r[verify reply.too-large]
#[tokio::test]
async fn a_reply_above_the_callers_limit_becomes_an_error() {
    let mut raw = serve(Limits::default());
    // The same hello, with messages of 4 KiB at most.
    raw.send(&HELLO.replace("00000004 00040000", "00100000 00040000")).await;
    raw.expect(&HELLO[..20]).await;
    let _hello = raw.frame().await;
    raw.send(&request("Greeter", "large", "01100000")).await;
    let (code, ran, text) = raw.error().await;
    // A vector of 4097 bytes, and its length.
    assert_eq!((code, ran), (9, 2), "{text}");
    assert_eq!(text, "a reply of 4105 bytes, both sides accept 4096 (Limits::message_bytes)");
}

// r[verify hello.timeout]
#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_told_so_and_closed() {
    let mut raw = serve(Limits::default());
    let mut all = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), raw.io.read_to_end(&mut all))
        .await
        .unwrap()
        .unwrap();
    let close = hex("0b00 0000 0400 0000");
    assert!(
        all.windows(8).any(|frame| frame == close),
        "a CLOSE with HELLO_TIMEOUT: {}",
        show(&all)
    );
}

// r[verify close.linger]
#[tokio::test]
async fn a_side_that_closes_goes_on_reading_until_the_peer_ends_too() {
    let mut raw = serve(Limits::default());
    raw.greet().await;
    // A frame of an unknown kind that may not be skipped.
    raw.send("04000080 0000000000000000 7f000000").await;
    let (lane, frame) = raw.frame().await;
    assert_eq!((lane, frame[0], frame[4]), (0, 11, 11), "CLOSE with MALFORMED_FRAME");
    assert_eq!(raw.io.read(&mut [0; 1]).await.unwrap(), 0, "the server has ended its direction");
    // More than the pipe holds: it is read, or this would never end.
    let garbage = vec![0; 256 * 1024];
    for _ in 0..16 {
        raw.io.write_all(&garbage).await.unwrap();
    }
    raw.io.shutdown().await.unwrap();
    let server = raw.server.take().unwrap();
    while server.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

// r[verify stream.end]
#[tokio::test]
async fn the_end_of_a_stream_without_a_close_is_a_lost_connection() {
    let (channel, mut raw) = channel().await;
    let call = tokio::spawn(GreeterClient::new(channel).hello("Ada"));
    raw.send(HELLO).await;
    raw.expect(&HELLO[..20]).await;
    let (_, hello) = raw.frame().await;
    let (lane, request) = raw.frame().await;
    assert_eq!((hello[0], lane, request[0]), (1, 0x100_0000, 2));
    raw.io.shutdown().await.unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::Unknown));
    assert!(error.to_string().contains("the peer ended the connection"), "{error}");
}

// r[verify method.unique]
#[tokio::test]
async fn two_methods_of_one_id_do_not_start() {
    use rpc_core::service::{Handler, Method, Request, Service};
    struct Clash(&'static str);
    impl Service for Clash {
        fn name(&self) -> &'static str {
            self.0
        }
        fn methods(&self) -> &'static [Method] {
            const { &[Method::new("Same", "method")] }
        }
        fn call(&self, request: Request) -> Handler {
            request.unknown_method()
        }
    }
    let error = Server::builder().service(Clash("A")).service(Clash("B")).start().unwrap_err();
    assert!(error.to_string().contains("`Same.method` has the method id of another"), "{error}");
}

#[tokio::test]
async fn other_protocols_are_dropped_without_an_answer() {
    for text in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01", b"SSH-2.0-x\r\n"] {
        let mut raw = serve(Limits::default());
        raw.io.write_all(text).await.unwrap();
        let mut answer = Vec::new();
        raw.io.read_to_end(&mut answer).await.unwrap();
        assert_eq!(show(&answer), "");
    }
}

#[tokio::test]
async fn a_call_waits_behind_no_other() {
    let mut raw = serve(Limits::default());
    raw.greet().await;
    let forever = request("Greeter", "forever", "");
    raw.send(&forever).await;
    raw.send(&REQUEST.replace("0000000100000000", "0200000200000000")).await;
    raw.expect(&REPLY.replace("0000000100000000", "0200000200000000")).await;
    let _kept = Arc::new(raw);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_found_within_eight_seconds() {
    let (channel, mut raw) = channel().await;
    let call = tokio::spawn(GreeterClient::new(channel).forever().no_deadline());
    raw.send(HELLO).await;
    let began = tokio::time::Instant::now();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::Unknown));
    assert!(error.to_string().contains("the peer did not answer in time"), "{error}");
    let took = began.elapsed();
    assert!(took <= Duration::from_millis(8100), "{took:?}");
}

// r[verify ping.silence]
#[tokio::test(start_paused = true)]
async fn a_server_on_a_slow_link_is_not_given_up() {
    let (channel, mut raw) = channel().await;
    let call = tokio::spawn(GreeterClient::new(channel).hello("Ada").no_deadline());
    raw.send(HELLO).await;
    raw.expect(&HELLO[..20]).await;
    let (_hello, _request) = (raw.frame().await, raw.frame().await);
    // A byte every three seconds: more than a minute for the whole frame.
    for byte in hex(REPLY) {
        raw.io.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(call.await.unwrap().unwrap(), "Hello, Ada!");
}

#[tokio::test]
async fn a_peer_of_another_kind_is_an_error_that_says_so_at_once() {
    let (pipes, made) = mpsc::unbounded_channel();
    let mut ends = Vec::new();
    for _ in 0..3 {
        let (mut ours, theirs) = duplex(1024);
        ours.write_all(b"HTTP/1.1 400 Bad Request\r\n").await.unwrap();
        pipes.send(theirs).unwrap();
        ends.push(ours);
    }
    let channel = Channel::lazy(PipeConnector(Mutex::new(made)));
    let greeter = GreeterClient::new(channel);
    for _ in 0..2 {
        let error = greeter.hello("Ada").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IncompatiblePeer, "{error}");
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let text = format!("{error}: {cause:?}");
        assert!(
            text.contains("it began with \\\"HTTP/1.1\\\"")
                || text.contains("it began with \"HTTP/1.1\""),
            "{text}"
        );
    }
}
