//! Callers that ask for what can't be: absurd deadlines, too many calls, no runtime, a runtime that
//! is gone.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use rpc_core::{Call, Channel, Context as CallContext, Delivery, ErrorKind, transport::memory};
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};

use crate::rig::{Counting, Dials, Rig, check, rig, to};

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[rpc_core::service]
trait Lab {
    async fn add(&self, a: u64, b: u64) -> u64;
    async fn forever(&self);
    async fn time_left(&self) -> Option<Duration>;
    /// Makes a call of its own, with this timeout or that of its channel.
    async fn relay(&self, timeout: Option<Duration>) -> Option<Duration>;
    /// The same, without a deadline.
    async fn relay_without(&self) -> Option<Duration>;
}

#[derive(Default)]
struct Bench {
    runs: AtomicUsize,
    channel: std::sync::OnceLock<Channel>,
}

impl Bench {
    fn ask(&self) -> Call<Option<Duration>> {
        LabClient::new(self.channel.get().unwrap().clone()).time_left()
    }
}

impl Lab for Bench {
    async fn add(&self, a: u64, b: u64) -> u64 {
        self.runs.fetch_add(1, Ordering::SeqCst);
        a + b
    }
    async fn forever(&self) {
        std::future::pending::<()>().await;
    }
    async fn time_left(&self) -> Option<Duration> {
        CallContext::current()?.remaining()
    }
    async fn relay(&self, timeout: Option<Duration>) -> Option<Duration> {
        let call = self.ask();
        match timeout {
            Some(timeout) => call.timeout(timeout).await.unwrap(),
            None => call.await.unwrap(),
        }
    }
    async fn relay_without(&self) -> Option<Duration> {
        self.ask().no_deadline().await.unwrap()
    }
}

struct Setup {
    rig: Rig,
    lab: LabClient,
    bench: Arc<Bench>,
}

async fn setup() -> Setup {
    let bench = Arc::new(Bench::default());
    let rig = rig(LabServer::from_arc(Arc::clone(&bench)), 1024).await;
    let lab = LabClient::new(rig.channel.clone());
    bench.channel.set(rig.channel.clone()).unwrap();
    Setup { rig, lab, bench }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_is_met_without_running_anything() {
    let Setup { rig, bench, .. } = setup().await;
    let strict = Channel::builder().timeout(Duration::ZERO);
    let strict = LabClient::new(strict.connect(to(&rig.server)).await.unwrap());
    let connected = LabClient::new(rig.channel);
    let past = tokio::time::Instant::now().into_std() - Duration::from_secs(1);
    for warm in [false, true] {
        let lazy = LabClient::new(Channel::lazy(to(&rig.server)));
        for call in [
            connected.add(1, 2).timeout(Duration::ZERO),
            connected.add(1, 2).deadline(past),
            lazy.add(1, 2).timeout(Duration::ZERO),
            lazy.add(1, 2).deadline(past),
            strict.add(1, 2),
        ] {
            let error = call.await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
            let certain = matches!(error.delivery(), Delivery::NotSent | Delivery::Rejected);
            assert!(certain, "{error}");
        }
        assert_eq!(bench.runs.load(Ordering::SeqCst), usize::from(warm));
        if !warm {
            assert_eq!(connected.add(1, 2).await, Ok(3));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn deadlines_beyond_all_measure_are_as_good_as_none() {
    let Setup { rig, lab, .. } = setup().await;
    let far = tokio::time::Instant::now().into_std() + CENTURY;
    for timeout in [CENTURY, Duration::MAX] {
        let patient = Channel::builder().timeout(timeout);
        let patient = LabClient::new(patient.connect(to(&rig.server)).await.unwrap());
        let lazy = LabClient::new(Channel::lazy(to(&rig.server)));
        for call in [
            lab.add(1, 2).timeout(timeout),
            lab.add(1, 2).deadline(far),
            lazy.add(1, 2).timeout(timeout),
            patient.add(1, 2),
        ] {
            assert_eq!(call.await, Ok(3));
        }
        // Inherited, and handed on.
        let left = lab.relay(Some(timeout)).timeout(timeout).await.unwrap();
        assert!(left.is_none_or(|left| left > Duration::from_secs(3600)), "{left:?}");
    }
    // The shortest that isn't over yet may be met or missed.
    // The shortest that isn't over yet may be met or missed.
    match lab.add(1, 2).timeout(Duration::from_nanos(1)).await {
        Ok(sum) => assert_eq!(sum, 3),
        Err(error) => assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_made_by_a_handler_has_no_more_time_than_the_handler() {
    let Setup { lab, rig: _rig, .. } = setup().await;
    let seconds = Duration::from_secs;
    for (own, most) in [
        (None, seconds(5)),
        (Some(seconds(100)), seconds(5)),
        (Some(Duration::MAX), seconds(5)),
        (Some(seconds(1)), seconds(1)),
    ] {
        let left = lab.relay(own).timeout(seconds(5)).await.unwrap().unwrap();
        assert!(left <= most && left > most - seconds(1), "{own:?}: {left:?}");
    }
    assert_eq!(lab.relay_without().timeout(seconds(5)).await, Ok(None));
}

#[tokio::test]
async fn settings_without_any_sense_break_nothing() {
    let Setup { rig, .. } = setup().await;
    for span in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let builder = Channel::builder()
            .backoff(span, Duration::ZERO)
            .keepalive(Duration::MAX, span)
            .hello_timeout(Duration::from_secs(5).max(span));
        let lab = LabClient::new(builder.clone().lazy(to(&rig.server)));
        assert_eq!(lab.add(1, 2).await, Ok(3));
        let nowhere = LabClient::new(builder.lazy(memory::connector("nobody")));
        let error = nowhere.add(1, 2).timeout(Duration::from_millis(20)).await.unwrap_err();
        check(&error, ErrorKind::DeadlineExceeded, Delivery::NotSent);
    }
}

#[tokio::test]
async fn metadata_above_a_limit_fails_its_call_and_names_the_limit() {
    let Setup { rig, lab, bench } = setup().await;
    let many = (0..65).fold(lab.add(1, 2), |call, _| call.metadata("k", "v"));
    for (call, kind, says) in [
        (lab.add(1, 2).metadata("", "v"), ErrorKind::MalformedRequest, "255"),
        (lab.add(1, 2).metadata(&"k".repeat(256), "v"), ErrorKind::MalformedRequest, "255"),
        (lab.add(1, 2).metadata("k", vec![0; 70_000]), ErrorKind::TooLarge, "8192"),
        (lab.add(1, 2).metadata("k", vec![0; 8192]), ErrorKind::TooLarge, "8192"),
        (many, ErrorKind::TooLarge, "64"),
    ] {
        let error = call.await.unwrap_err();
        check(&error, kind, Delivery::NotSent);
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(bench.runs.load(Ordering::SeqCst), 0);
    let most = (0..64).fold(lab.add(1, 2), |call, _| call.metadata("k", [0; 100]));
    assert_eq!(most.await, Ok(3));
    assert_eq!(rig.dials.count(), 1);
}

/// Polls a call once, with a waker that wakes nobody.
fn poll_once<T>(call: &mut Call<T>) -> Poll<Result<T, rpc_core::RpcError>> {
    Pin::new(call).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_hundred_thousand_calls_wait_or_are_refused_at_once() {
    let Setup { rig, lab, bench } = setup().await;
    assert_eq!(lab.add(1, 2).await, Ok(3));
    let connecting = LabClient::new(Channel::lazy(to(&rig.server)));
    // 65,536 wait, and 1,024 have a place if there is a connection.
    for (lab, room) in [(lab, 65_536 + 1024), (connecting, 65_536)] {
        let mut calls: Vec<_> = (0..100_000).map(|n| lab.add(n, 1).no_deadline()).collect();
        let mut refused = 0;
        for (at, call) in calls.iter_mut().enumerate() {
            if let Poll::Ready(ended) = poll_once(call) {
                let error = ended.unwrap_err();
                check(&error, ErrorKind::Overloaded, Delivery::NotSent);
                assert!(error.to_string().contains("(Limits::waiting_calls)"), "{error}");
                assert!(at >= room, "call {at} was refused");
                refused += 1;
            }
        }
        assert_eq!(refused, 100_000 - room);
        calls.truncate(room);
        for (n, call) in (0..).zip(calls) {
            assert_eq!(call.await, Ok(n + 1));
        }
    }
    assert_eq!(bench.runs.load(Ordering::SeqCst), 1 + 65_536 + 1024 + 65_536);
}

#[tokio::test]
async fn destructors_may_make_calls() {
    struct Asks(LabClient);
    impl Drop for Asks {
        fn drop(&mut self) {
            // One that is never polled, and one that goes on without it.
            drop(self.0.add(1, 2));
            tokio::spawn(self.0.add(3, 4));
        }
    }
    let Setup { lab, bench, rig: _rig } = setup().await;
    drop(Asks(lab.clone()));
    let asks = Asks(lab);
    tokio::spawn(async move { drop(asks) }).await.unwrap();
    crate::rig::until("both were run", || bench.runs.load(Ordering::SeqCst) == 2).await;
}

/// Nobody waits, so nobody is to connect. The clock has to be paused.
async fn check_nobody_connects(dials: &Dials) {
    sleep(Duration::from_secs(1)).await;
    let before = dials.count();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(dials.count(), before, "connections were tried for calls that are gone");
}

#[tokio::test(start_paused = true)]
async fn no_connection_is_made_for_calls_that_are_gone() {
    let dials = Dials::default();
    let connector = Counting(memory::connector("nobody"), dials.clone());
    let lab = LabClient::new(Channel::lazy(connector));
    let mut calls: Vec<_> = (0..10).map(|n| lab.add(n, n)).collect();
    assert!(calls.iter_mut().all(|call| poll_once(call).is_pending()));
    sleep(Duration::from_secs(2)).await;
    assert!(dials.count() > 2);
    drop(calls);
    check_nobody_connects(&dials).await;
}

/// Waits for a future on a thread without a runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let began = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "nobody woke it");
        thread::park_timeout(Duration::from_secs(20));
    }
}

fn one_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn a_connected_channel_works_outside_of_a_runtime() {
    let runtime = one_thread();
    let Setup { lab, rig: _rig, .. } = runtime.block_on(async {
        let setup = setup().await;
        assert_eq!(setup.lab.add(1, 2).await, Ok(3));
        setup
    });
    assert_eq!(block_on(lab.add(3, 4)), Ok(7));
    let error = block_on(lab.forever().timeout(Duration::from_millis(20))).unwrap_err();
    check(&error, ErrorKind::DeadlineExceeded, Delivery::Unknown);
}

#[test]
fn connecting_outside_of_a_runtime_panics_with_words_and_leaves_nothing() {
    let dials = Dials::default();
    let connector = Counting(memory::connector("nobody"), dials.clone());
    let lab = LabClient::new(Channel::lazy(connector));
    let timeless = Builder::new_current_thread().build().unwrap();
    for entered in [false, true] {
        let _guard = entered.then(|| timeless.enter());
        let mut call = lab.add(1, 2);
        let panic = catch_unwind(AssertUnwindSafe(|| poll_once(&mut call))).unwrap_err();
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap()).to_owned());
        assert!(text.contains("Tokio"), "{text}");
    }
    drop(timeless);
    let mut paused = Builder::new_current_thread();
    paused.enable_all().start_paused(true).build().unwrap().block_on(async {
        let error = lab.add(1, 2).await.unwrap_err();
        check(&error, ErrorKind::DeadlineExceeded, Delivery::NotSent);
        assert!(dials.count() > 2);
        check_nobody_connects(&dials).await;
    });
}

#[test]
fn a_channel_outlives_its_runtime_and_its_calls_are_told() {
    let (servers, clients) = (one_thread(), one_thread());
    let Setup { rig, .. } = servers.block_on(setup());
    let lab = LabClient::new(Channel::lazy(to(&rig.server)));
    let mut pending = lab.forever();
    clients.block_on(async {
        assert_eq!(lab.add(1, 2).await, Ok(3));
        assert!(poll_once(&mut pending).is_pending());
        assert_eq!(lab.add(1, 2).await, Ok(3));
    });
    drop(clients);
    let error = block_on(pending).unwrap_err();
    check(&error, ErrorKind::ConnectionLost, Delivery::Unknown);
    assert!(error.to_string().contains("task that drives the connection"), "{error}");
    assert_eq!(one_thread().block_on(lab.add(1, 2)), Ok(3));
}
