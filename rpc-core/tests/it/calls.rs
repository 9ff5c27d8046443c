//! What callers and handlers see of calls, over every transport of this crate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rpc_core::{
    Call, CallError, Channel, Context, Delivery, ErrorKind, Limits, RpcError, Server,
    transport::{Address, memory},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Refusal {
    Odd(u64),
}

/// A `Result` by its own name, and one by another, which the macro can't tell from a plain type.
mod alias {
    pub(super) type Result<T> = std::result::Result<T, super::Refusal>;
    pub(super) type Outcome = Result<u64>;
}

#[rpc_core::service]
trait Lab {
    async fn add(&self, a: u64, b: u64) -> u64;
    async fn nothing(&self);
    async fn join(&self, parts: Vec<String>, by: &str) -> String;
    async fn mirror(&self, point: Point) -> Option<Point>;
    async fn reverse(&self, bytes: &[u8]) -> Vec<u8>;
    async fn even(&self, n: u64) -> Result<u64, Refusal>;
    async fn aliased(&self, n: u64) -> alias::Result<u64>;
    async fn plain(&self, n: u64) -> alias::Outcome;
    async fn panic(&self) -> u64;
    async fn forever(&self);
    async fn tenant(&self, #[ctx] cx: &Context) -> Option<String>;
    async fn time_left(&self) -> Option<Duration>;
    #[rpc(idempotent)]
    async fn runs(&self) -> usize;
}

/// Counts what runs and what is dropped half-way.
#[derive(Default)]
struct Bench {
    runs: AtomicUsize,
    dropped: Arc<AtomicUsize>,
    started: Notify,
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Lab for Bench {
    async fn add(&self, a: u64, b: u64) -> u64 {
        self.runs.fetch_add(1, Ordering::SeqCst);
        a + b
    }
    async fn nothing(&self) {}
    async fn join(&self, parts: Vec<String>, by: &str) -> String {
        parts.join(by)
    }
    async fn mirror(&self, Point { x, y }: Point) -> Option<Point> {
        Some(Point { x: -x, y })
    }
    async fn reverse(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.iter().rev().copied().collect()
    }
    async fn even(&self, n: u64) -> Result<u64, Refusal> {
        if n.is_multiple_of(2) { Ok(n) } else { Err(Refusal::Odd(n)) }
    }
    async fn aliased(&self, n: u64) -> alias::Result<u64> {
        self.even(n).await
    }
    async fn plain(&self, n: u64) -> alias::Outcome {
        self.even(n).await
    }
    async fn panic(&self) -> u64 {
        panic!("a test's own panic")
    }
    async fn forever(&self) {
        let _count = CountDrop(Arc::clone(&self.dropped));
        self.started.notify_one();
        std::future::pending::<()>().await;
    }
    async fn tenant(&self, cx: &Context) -> Option<String> {
        cx.metadata().get_str("tenant").map(str::to_owned)
    }
    async fn time_left(&self) -> Option<Duration> {
        tokio::task::yield_now().await;
        Context::current()?.remaining()
    }
    async fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

struct Setup {
    server: Server,
    lab: LabClient,
    bench: Arc<Bench>,
}

async fn setup() -> Setup {
    setup_with(Limits::default()).await
}

async fn setup_with(limits: Limits) -> Setup {
    let bench = Arc::new(Bench::default());
    let server = Server::builder()
        .service(LabServer::from_arc(Arc::clone(&bench)))
        .limits(limits)
        .listen(memory::listen("calls:0").await.unwrap())
        .start()
        .unwrap();
    let channel = Channel::connect(to(&server)).await.unwrap();
    Setup { lab: LabClient::new(channel), server, bench }
}

fn to(server: &Server) -> memory::MemoryConnector {
    memory::connector(server.local_addr().unwrap())
}

#[track_caller]
fn check(error: &RpcError, kind: ErrorKind, delivery: Delivery) {
    assert_eq!((error.kind(), error.delivery()), (kind, delivery), "{error}");
}

#[tokio::test]
async fn arguments_and_replies_of_every_shape_arrive() {
    let Setup { lab, server: _server, .. } = setup().await;
    assert_eq!(lab.add(2, 3).await, Ok(5));
    assert_eq!(lab.nothing().await, Ok(()));
    assert_eq!(lab.join(vec!["a".into(), "b".into()], "-").await.unwrap(), "a-b");
    let mirrored = lab.mirror(Point { x: 1.5, y: -2.0 }).await.unwrap();
    assert_eq!(mirrored, Some(Point { x: -1.5, y: -2.0 }));
    assert_eq!(lab.reverse(b"abc").await.unwrap(), b"cba");
    assert_eq!(lab.even(4).await, Ok(4));
    assert_eq!(lab.even(5).await, Err(CallError::App(Refusal::Odd(5))));
    assert_eq!(lab.aliased(7).await, Err(CallError::App(Refusal::Odd(7))));
    assert_eq!(lab.plain(7).await, Ok(Err(Refusal::Odd(7))));
}

#[tokio::test]
async fn messages_of_many_frames_arrive_whole() {
    let Setup { lab, server: _server, .. } = setup().await;
    let sizes = [16_000, 16_384, 16_385, 65_536, 300_000, 5_000_000];
    let calls = sizes.map(|size| {
        let bytes: Vec<u8> = (0..size).map(|i: u32| (i % 251) as u8).collect();
        let call = lab.reverse(&bytes);
        tokio::spawn(async move {
            let reversed = call.await.unwrap();
            assert!(reversed.iter().rev().eq(bytes.iter()), "{size} bytes");
        })
    });
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn a_method_called_often_still_answers_each_call() {
    let Setup { lab, server: _server, .. } = setup().await;
    let callers = (0..64_u64).map(|caller| {
        let lab = lab.clone();
        tokio::spawn(async move {
            for n in 0..200 {
                assert_eq!(lab.add(caller, n).await, Ok(caller + n));
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

#[tokio::test]
async fn a_panicking_handler_fails_its_own_call_only() {
    let Setup { lab, server: _server, .. } = setup().await;
    // More often than it takes to run a method inline.
    for _ in 0..40 {
        let error = lab.panic().await.unwrap_err();
        check(&error, ErrorKind::HandlerPanicked, Delivery::Replied);
        assert_eq!(lab.add(1, 1).await, Ok(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_call_and_its_handler() {
    let Setup { lab, bench, server: _server } = setup().await;
    let error = lab.forever().timeout(Duration::from_millis(50)).await.unwrap_err();
    check(&error, ErrorKind::DeadlineExceeded, Delivery::Unknown);
    lab.nothing().await.unwrap();
    while bench.dropped.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_says_nothing_of_its_time_has_ten_seconds() {
    let Setup { lab, server: _server, .. } = setup().await;
    let began = tokio::time::Instant::now();
    let error = lab.forever().await.unwrap_err();
    check(&error, ErrorKind::DeadlineExceeded, Delivery::Unknown);
    let waited = began.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn of_timeout_and_deadline_the_earlier_counts_in_any_order() {
    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(3600);
    let Setup { lab, server: _server, .. } = setup().await;
    let now = || tokio::time::Instant::now().into_std();
    let within = "no reply within 50ms";
    let before = "no reply before the caller's deadline";
    type Limit = fn(Call<()>, Instant, Instant) -> Call<()>;
    let cases: [(Limit, _); 7] = [
        (|call, _, _| call.timeout(SHORT), within),
        (|call, _, late| call.timeout(SHORT).deadline(late), within),
        (|call, _, late| call.deadline(late).timeout(SHORT), within),
        (|call, soon, _| call.deadline(soon), before),
        (|call, soon, _| call.timeout(LONG).deadline(soon), before),
        (|call, soon, _| call.deadline(soon).timeout(LONG), before),
        (|call, soon, late| call.deadline(late).deadline(soon), before),
    ];
    for (limited, text) in cases {
        let call = limited(lab.forever(), now() + SHORT, now() + LONG);
        let began = tokio::time::Instant::now();
        let error = call.await.unwrap_err();
        check(&error, ErrorKind::DeadlineExceeded, Delivery::Unknown);
        assert!(error.to_string().contains(text), "{error}");
        assert!(began.elapsed() < Duration::from_secs(1), "{text}: {:?}", began.elapsed());
    }
    // The default of ten seconds is replaced by either.
    for deadline in [false, true] {
        let began = tokio::time::Instant::now();
        let call = lab.forever();
        let call = if deadline { call.deadline(now() + LONG) } else { call.timeout(LONG) };
        call.await.unwrap_err();
        assert!(began.elapsed() >= LONG - Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn dropping_a_call_drops_its_handler() {
    let Setup { lab, bench, server: _server } = setup().await;
    let call = tokio::spawn(lab.forever().no_deadline());
    bench.started.notified().await;
    call.abort();
    while bench.dropped.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lab.add(1, 2).await, Ok(3));
}

#[tokio::test]
async fn a_call_that_is_never_polled_is_never_sent() {
    let Setup { lab, server: _server, .. } = setup().await;
    drop(lab.add(1, 2));
    assert_eq!(lab.runs().await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_handler_sees_what_is_left_of_the_deadline() {
    let Setup { lab, server: _server, .. } = setup().await;
    let left = lab.time_left().timeout(Duration::from_secs(7)).await.unwrap().unwrap();
    assert!(left <= Duration::from_secs(7) && left > Duration::from_secs(6), "{left:?}");
    assert_eq!(lab.time_left().no_deadline().await.unwrap(), None);
    // Absurd values are as good as none, and break nothing.
    let left = lab.time_left().timeout(Duration::MAX).await.unwrap();
    assert!(left.is_none_or(|left| left > Duration::from_secs(3600)));
}

#[tokio::test]
async fn metadata_reaches_the_handler() {
    let Setup { lab, server: _server, .. } = setup().await;
    assert_eq!(lab.tenant().metadata("tenant", "a").await.unwrap().as_deref(), Some("a"));
    assert_eq!(lab.tenant().await.unwrap(), None);
    let error = lab.tenant().metadata("k", vec![0; 9000]).await.unwrap_err();
    check(&error, ErrorKind::TooLarge, Delivery::NotSent);
}

#[tokio::test]
async fn messages_above_the_limit_fail_alone() {
    let mut limits = Limits::default();
    limits.message_bytes = 100_000;
    let Setup { lab, server: _server, .. } = setup_with(limits).await;
    lab.nothing().await.unwrap();
    let error = lab.reverse(&[0; 100_001]).await.unwrap_err();
    check(&error, ErrorKind::TooLarge, Delivery::NotSent);
    assert_eq!(lab.reverse(&[7; 99_000]).await.unwrap().len(), 99_000);
}

#[tokio::test]
async fn calls_beyond_the_limit_wait_for_their_turn() {
    let mut limits = Limits::default();
    limits.calls = 2;
    let Setup { lab, bench, server: _server } = setup_with(limits).await;
    lab.nothing().await.unwrap();
    let blockers = [tokio::spawn(lab.forever()), tokio::spawn(lab.forever())];
    bench.started.notified().await;
    bench.started.notified().await;
    let patient = tokio::spawn(lab.add(1, 1));
    let impatient = lab.add(1, 1).timeout(Duration::from_millis(20)).await.unwrap_err();
    check(&impatient, ErrorKind::DeadlineExceeded, Delivery::NotSent);
    for blocker in blockers {
        blocker.abort();
    }
    assert_eq!(patient.await.unwrap(), Ok(2));
}

#[tokio::test]
async fn a_channel_reconnects_when_its_server_returns() {
    let Setup { lab, server, .. } = setup().await;
    let address = server.local_addr().unwrap().clone();
    assert_eq!(lab.add(1, 2).await, Ok(3));
    assert!(server.shutdown(Duration::from_secs(5)).await, "nothing was under way");

    let waiting = tokio::spawn(lab.add(3, 4));
    let Address::Memory(name) = address else { panic!("{address}") };
    let server = Server::builder()
        .service(LabServer::new(Bench::default()))
        .listen(memory::listen(name).await.unwrap())
        .start()
        .unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(7));
    drop(server);
}

#[tokio::test]
async fn shutdown_finishes_what_is_under_way() {
    let Setup { lab, bench, server } = setup().await;
    let call = tokio::spawn(lab.forever().timeout(Duration::from_millis(100)));
    bench.started.notified().await;
    assert!(server.shutdown(Duration::from_secs(10)).await);
    check(&call.await.unwrap().unwrap_err(), ErrorKind::DeadlineExceeded, Delivery::Unknown);
}

#[tokio::test]
async fn shutdown_ends_calls_that_outlast_the_grace() {
    let Setup { lab, bench, server } = setup().await;
    let call = tokio::spawn(lab.forever());
    bench.started.notified().await;
    assert!(!server.shutdown(Duration::from_millis(20)).await);
    check(&call.await.unwrap().unwrap_err(), ErrorKind::ShuttingDown, Delivery::Unknown);
}

#[tokio::test]
async fn dropping_the_server_closes_now() {
    let Setup { lab, bench, server } = setup().await;
    let call = tokio::spawn(lab.forever());
    bench.started.notified().await;
    drop(server);
    check(&call.await.unwrap().unwrap_err(), ErrorKind::ShuttingDown, Delivery::Unknown);
}

#[tokio::test]
async fn dropping_the_last_channel_closes_the_connection() {
    let Setup { lab, server, .. } = setup().await;
    lab.nothing().await.unwrap();
    assert_eq!(server.connections(), 1);
    drop(lab);
    while server.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

#[rpc_core::service]
trait Other {
    async fn anything(&self);
}

#[rpc_core::service(name = "Lab")]
trait NewerLab {
    async fn not_yet(&self);
    async fn add(&self, words: String);
}

#[tokio::test]
async fn what_the_server_does_not_have_is_rejected() {
    let server = Server::builder()
        .service(LabServer::new(Bench::default()))
        .listen(memory::listen("unknown:0").await.unwrap())
        .start()
        .unwrap();
    let channel = Channel::connect(to(&server)).await.unwrap();
    let error = OtherClient::new(channel.clone()).anything().await.unwrap_err();
    check(&error, ErrorKind::UnknownService, Delivery::Rejected);
    let newer = NewerLabClient::new(channel.clone());
    check(&newer.not_yet().await.unwrap_err(), ErrorKind::UnknownMethod, Delivery::Rejected);
    let error = newer.add("three".into()).await.unwrap_err();
    check(&error, ErrorKind::MalformedRequest, Delivery::Rejected);
    assert_eq!(LabClient::new(channel).add(1, 1).await, Ok(2));
}

#[tokio::test]
async fn two_services_of_one_name_do_not_start() {
    struct Both;
    impl NewerLab for Both {
        async fn not_yet(&self) {}
        async fn add(&self, _words: String) {}
    }
    let builder = Server::builder()
        .service(LabServer::new(Bench::default()))
        .service(NewerLabServer::new(Both));
    let error = builder.start().unwrap_err().to_string();
    assert!(error.contains("two services are named `Lab`"), "{error}");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so() {
    let server = Server::builder()
        .service(LabServer::new(Bench::default()))
        .connections(1)
        .listen(memory::listen("limited:0").await.unwrap())
        .start()
        .unwrap();
    let first = LabClient::new(Channel::connect(to(&server)).await.unwrap());
    first.nothing().await.unwrap();
    // The refusal may come before or after the first call is sent.
    let error = match Channel::builder().fail_fast(true).connect(to(&server)).await {
        Ok(channel) => LabClient::new(channel).nothing().await.unwrap_err(),
        Err(error) => error,
    };
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let text = format!("{error}: {cause:?}");
    assert!(text.contains("the server has as many connections as it accepts"), "{text}");
    first.nothing().await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_an_error_that_names_the_target() {
    let error = Channel::connect(memory::connector("nobody")).await.unwrap_err();
    check(&error, ErrorKind::ConnectionLost, Delivery::NotSent);
    assert_eq!(error.to_string(), "connection lost: could not connect to nobody");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "nothing in this process listens by that name");

    let channel = Channel::builder().fail_fast(true).lazy(memory::connector("nobody"));
    let error = LabClient::new(channel).nothing().await.unwrap_err();
    check(&error, ErrorKind::ConnectionLost, Delivery::NotSent);
}
