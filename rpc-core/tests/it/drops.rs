//! Calls that are given up: after any number of polls, in `select!`, by the thousand. Nothing of
//! them is left, and the server never takes it for an attack.

use std::{
    future::{Future, pending, poll_fn},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use rpc_core::{
    Call, Channel, Limits, Server,
    transport::{Address, Connector, stream::StreamTransport},
};
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
    task,
    time::{sleep, timeout},
};

use crate::{
    raw::{Pipes, transport},
    rig::{Counting, Dials, Rig, alive_tasks, rig, to, until},
};

#[rpc_core::service]
trait Lab {
    async fn add(&self, a: u64, b: u64) -> u64;
    async fn reverse(&self, bytes: &[u8]) -> Vec<u8>;
    async fn forever(&self);
    async fn rest(&self, time: Duration);
}

#[derive(Default)]
struct Bench {
    started: AtomicUsize,
    ended: Arc<AtomicUsize>,
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bench {
    /// Counts a handler's beginning, and its end when what it returns is dropped.
    fn begin(&self) -> CountDrop {
        self.started.fetch_add(1, Ordering::SeqCst);
        CountDrop(Arc::clone(&self.ended))
    }

    async fn at_rest(&self) {
        let (started, ended) = (&self.started, &self.ended);
        let same = || started.load(Ordering::SeqCst) == ended.load(Ordering::SeqCst);
        until("every handler is gone", same).await;
    }
}

impl Lab for Bench {
    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
    async fn reverse(&self, bytes: &[u8]) -> Vec<u8> {
        let _count = self.begin();
        task::yield_now().await;
        bytes.iter().rev().copied().collect()
    }
    async fn forever(&self) {
        let _count = self.begin();
        pending::<()>().await;
    }
    async fn rest(&self, time: Duration) {
        sleep(time).await;
    }
}

/// What a pipe holds: a message of many frames takes many turns.
const PIPE_BYTES: usize = 512;

/// Connects to a server through pipes that hold little.
struct ThroughPipes(mpsc::UnboundedSender<DuplexStream>);

impl Connector for ThroughPipes {
    type Transport = StreamTransport<DuplexStream>;

    fn target(&self) -> Address {
        Address::Name("narrow pipes".into())
    }

    async fn connect(&self) -> io::Result<Self::Transport> {
        // As if it took a while.
        for _ in 0..3 {
            task::yield_now().await;
        }
        let (ours, theirs) = duplex(PIPE_BYTES);
        self.0.send(theirs).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(transport(ours))
    }
}

/// Lets each task that can run do so once. (`yield_now` waits until none can.)
async fn turn() {
    let mut woken = false;
    poll_fn(|cx| {
        if woken {
            return Poll::Ready(());
        }
        woken = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls a call `times` times, and lets everything else run in between. Returns whether it ended.
async fn poll_times<T>(call: &mut Call<T>, times: usize) -> bool {
    for _ in 0..times {
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *call).poll(cx).is_ready())).await;
        if polled {
            return true;
        }
        turn().await;
    }
    false
}

fn serve_pipes(bench: &Arc<Bench>) -> (Server, mpsc::UnboundedSender<DuplexStream>) {
    let (pipes, accepted) = mpsc::unbounded_channel();
    let mut limits = Limits::default();
    limits.calls = 1;
    let service = LabServer::from_arc(Arc::clone(bench));
    let server = Server::builder().service(service).limits(limits).listen(Pipes(accepted));
    (server.start().unwrap(), pipes)
}

/// With one place on the connection, a call that leaves anything behind is the last.
async fn drop_after_every_poll() {
    let bench = Arc::new(Bench::default());
    let (server, pipes) = serve_pipes(&bench);
    let lab = LabClient::new(Channel::connect(ThroughPipes(pipes)).await.unwrap());
    assert_eq!(lab.add(1, 2).await, Ok(3));
    let tasks = alive_tasks();
    let bytes = vec![7; 40_000];
    let mut polls = 0;
    loop {
        let mut call = lab.reverse(&bytes);
        let ended = poll_times(&mut call, polls).await;
        drop(call);
        assert_eq!(lab.add(1, 2).await, Ok(3), "after {polls} polls");
        if ended {
            break;
        }
        polls += 1;
    }
    assert!(polls > 100, "it took {polls} polls: not every step was seen");
    bench.at_rest().await;
    until("every task is gone", || alive_tasks() == tasks).await;
    assert_eq!(server.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_of_many_frames_may_be_dropped_after_any_number_of_polls() {
    // In a task, which takes turns with the others one by one.
    tokio::spawn(drop_after_every_poll()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_may_be_dropped_at_any_step_of_making_its_connection() {
    let bench = Arc::new(Bench::default());
    let (server, pipes) = serve_pipes(&bench);
    let tasks = alive_tasks();
    for polls in 0..20 {
        let lab = LabClient::new(Channel::lazy(ThroughPipes(pipes.clone())));
        let mut call = lab.forever();
        assert!(!poll_times(&mut call, polls).await);
        drop(call);
        assert_eq!(lab.add(1, 2).await, Ok(3), "after {polls} polls");
        let mut last = lab.forever();
        drop(lab);
        poll_times(&mut last, polls).await;
        drop(last);
        until("the connection is closed", || server.connections() == 0).await;
        until("every task is gone", || alive_tasks() == tasks).await;
    }
    bench.at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn calls_in_select_and_timeout_leave_nothing_behind() {
    let bench = Arc::new(Bench::default());
    let Rig { channel, dials, server } = rig(LabServer::from_arc(Arc::clone(&bench)), 2).await;
    let lab = LabClient::new(channel);
    assert_eq!(lab.add(1, 2).await, Ok(3));
    let tasks = alive_tasks();
    for n in 0..50 {
        tokio::select! {
            biased;
            ended = lab.forever() => panic!("{ended:?}"),
            () = sleep(Duration::from_millis(n % 3)) => {}
        }
        assert!(timeout(Duration::from_millis(n % 3), lab.forever()).await.is_err());
        assert_eq!(timeout(Duration::from_secs(1), lab.add(n, 1)).await, Ok(Ok(n + 1)));
    }
    bench.at_rest().await;
    until("every task is gone", || alive_tasks() == tasks).await;
    assert_eq!((dials.count(), server.connections()), (1, 1));
}

/// Makes so many calls, and polls each once.
fn begin_calls(lab: &LabClient, count: usize) -> Vec<Pin<Box<Call<()>>>> {
    let mut cx = Context::from_waker(Waker::noop());
    let calls = (0..count).map(|_| {
        let mut call = Box::pin(lab.forever());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        call
    });
    calls.collect()
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_calls_dropped_at_once_are_no_flood() {
    let bench = Arc::new(Bench::default());
    let Rig { channel, dials, .. } = &rig(LabServer::from_arc(Arc::clone(&bench)), 1024).await;
    let lab = LabClient::new(channel.clone());
    assert_eq!(lab.add(1, 2).await, Ok(3));
    let tasks = alive_tasks();
    // Dropped before they are sent, before they run, while they run.
    for turns in [0, 1, 2, 3, 10, 100] {
        let calls = begin_calls(&lab, 10_000);
        for _ in 0..turns {
            task::yield_now().await;
        }
        drop(calls);
        assert_eq!(lab.add(1, 2).await, Ok(3), "after {turns} turns");
    }
    assert!(bench.started.load(Ordering::SeqCst) >= 1024);
    // As many as have a place, again and again.
    for _ in 0..20 {
        let calls = begin_calls(&lab, 1024);
        task::yield_now().await;
        drop(calls);
    }
    bench.at_rest().await;
    assert_eq!(lab.add(1, 2).await, Ok(3));
    until("every task is gone", || alive_tasks() == tasks).await;
    assert_eq!(dials.count(), 1, "the connection was never closed");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_pings_are_no_flood() {
    let Rig { server, .. } = rig(LabServer::new(Bench::default()), 1024).await;
    let dials = Dials::default();
    let channel = Channel::builder()
        .keepalive(Duration::from_millis(1), Duration::from_secs(1))
        .connect(Counting(to(&server), dials.clone()))
        .await
        .unwrap();
    let lab = LabClient::new(channel);
    // A ping for each millisecond without another frame.
    lab.rest(Duration::from_secs(11)).timeout(Duration::from_secs(20)).await.unwrap();
    assert_eq!(lab.add(1, 2).await, Ok(3));
    assert_eq!(dials.count(), 1, "the connection was never closed");
}
