//! Connections that come and go: drains, restarts, peers that don't read, servers that turn away.

use std::{
    future::Future,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use rpc_core::{
    Call, Channel, Delivery, ErrorKind, Limits, Server,
    transport::{
        Address, Connector, Listener, Peer,
        memory::{self, MemoryConnector},
        stream::StreamTransport,
    },
};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    sync::{Mutex, mpsc},
    time::Instant,
};

use crate::raw::PipeConnector;

#[rpc_core::service]
trait Lab {
    async fn add(&self, a: u64, b: u64) -> u64;
    async fn large(&self, bytes: u32) -> Vec<u8>;
    async fn forever(&self);
}

#[derive(Default)]
struct Bench {
    stopped: Arc<AtomicUsize>,
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Lab for Bench {
    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
    async fn large(&self, bytes: u32) -> Vec<u8> {
        vec![7; bytes as usize]
    }
    async fn forever(&self) {
        let _count = CountDrop(Arc::clone(&self.stopped));
        std::future::pending::<()>().await;
    }
}

/// Hands one stream to a server, as if it had been accepted.
struct Pipe(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for Pipe {
    type Transport = StreamTransport<DuplexStream>;

    fn local_addr(&self) -> Address {
        Address::Unnamed
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Transport>> {
        let peer = || Peer::new(Address::Unnamed);
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(io)) => Poll::Ready(Ok(StreamTransport::new(io, peer()))),
            _ => Poll::Pending,
        }
    }
}

/// A preface and a hello, then `large(1 MiB)` in slot 0 and `forever()` in slot 1.
fn requests() -> Vec<u8> {
    let mut bytes = vec![0x89, b'R', b'P', b'C', b'\r', b'\n', 0x1a, 1];
    bytes.extend([48, 0, 0, 0].iter().chain(&[0; 8]));
    bytes.extend([1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0].iter().chain(&[9; 16]));
    for limit in [65_536_u32, 64 << 20, 1024, 8192, 8 << 20] {
        bytes.extend(limit.to_le_bytes());
    }
    for (method, id, body) in [("large", 1_u64 << 24, 1_u32 << 20), ("forever", 2 << 24 | 2, 0)] {
        let body = if method == "large" { body.to_le_bytes().to_vec() } else { Vec::new() };
        let length = u32::try_from(16 + body.len()).unwrap() | 1 << 31;
        bytes.extend(length.to_le_bytes().iter().chain(&id.to_le_bytes()));
        bytes.extend([2, 0, 0, 0].iter().chain(&60_000_u32.to_le_bytes()));
        bytes.extend(rpc_core::service::MethodId::of("Lab", method).number().to_le_bytes());
        bytes.extend(body);
    }
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_cannot_hold_up_a_shutdown() {
    let bench = Bench::default();
    let stopped = Arc::clone(&bench.stopped);
    let (pipes, accepted) = mpsc::unbounded_channel();
    let server =
        Server::builder().service(LabServer::new(bench)).listen(Pipe(accepted)).start().unwrap();
    let (mut ours, theirs) = duplex(4096);
    pipes.send(theirs).unwrap();
    ours.write_all(&requests()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;

    let began = Instant::now();
    assert!(!server.shutdown(Duration::from_millis(100)).await);
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(stopped.load(Ordering::SeqCst), 1, "its handler was stopped");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_for_half_a_minute_is_given_up() {
    let bench = Bench::default();
    let stopped = Arc::clone(&bench.stopped);
    let (pipes, accepted) = mpsc::unbounded_channel();
    let server =
        Server::builder().service(LabServer::new(bench)).listen(Pipe(accepted)).start().unwrap();
    let (mut ours, theirs) = duplex(4096);
    pipes.send(theirs).unwrap();
    let began = Instant::now();
    ours.write_all(&requests()).await.unwrap();
    while server.connections() == 0 {
        tokio::task::yield_now().await;
    }
    while server.connections() > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = began.elapsed();
    assert!(took > Duration::from_secs(29) && took < Duration::from_secs(32), "{took:?}");
    assert_eq!(stopped.load(Ordering::SeqCst), 1, "its handler was stopped");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_left_does_not_speak_of_a_reply() {
    let (pipes, made) = mpsc::unbounded_channel();
    // Nobody reads, and there is less room than a hello takes.
    let (ours, _theirs) = duplex(64);
    pipes.send(ours).unwrap();
    let channel = Channel::connect(PipeConnector(Mutex::new(made))).await.unwrap();
    let call = LabClient::new(channel).add(1, 2).timeout(Duration::from_millis(50));
    let error = call.await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::NotSent));
    assert!(error.to_string().contains("it could not be sent within 50ms"), "{error}");
}

async fn serve(name: &str) -> Server {
    let listener = memory::listen(name).await.unwrap();
    Server::builder().service(LabServer::new(Bench::default())).listen(listener).start().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_made_again_when_it_is_needed() {
    let server = serve("idle").await;
    let lab = LabClient::new(Channel::connect(memory::connector("idle")).await.unwrap());
    assert_eq!(lab.add(1, 2).await, Ok(3));
    tokio::time::sleep(Duration::from_secs(9 * 60)).await;
    assert_eq!(server.connections(), 1);
    assert_eq!(lab.add(1, 2).await, Ok(3));
    tokio::time::sleep(Duration::from_secs(9 * 60)).await;
    assert_eq!(server.connections(), 1, "a call makes it young again");
    tokio::time::sleep(Duration::from_secs(2 * 60)).await;
    assert_eq!(server.connections(), 0);
    assert_eq!(lab.add(1, 2).await, Ok(3));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_address_is_free_when_shutdown_returns() {
    for _ in 0..10 {
        assert!(serve("free again").await.shutdown(Duration::from_secs(1)).await);
    }
}

/// Accepts nothing for as long as it isn't told to.
struct Busy(memory::MemoryListener, Arc<AtomicBool>);

impl Listener for Busy {
    type Transport = memory::MemoryTransport;

    fn local_addr(&self) -> Address {
        self.0.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Transport>> {
        if self.1.load(Ordering::SeqCst) { self.0.poll_accept(cx) } else { Poll::Pending }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_answers_who_waits_to_be_accepted() {
    let accepts = Arc::default();
    let listener = Busy(memory::listen("accepted last").await.unwrap(), Arc::clone(&accepts));
    let lab = LabServer::new(Bench::default());
    let server = Server::builder().service(lab).listen(listener).start().unwrap();
    let lab = LabClient::new(Channel::lazy(memory::connector("accepted last")));
    let call = tokio::spawn(lab.add(1, 2));
    // Time passes when there is nothing to do any more: the request has left.
    tokio::time::sleep(Duration::from_millis(1)).await;
    accepts.store(true, Ordering::SeqCst);
    assert!(server.shutdown(Duration::from_secs(10)).await);
    assert_eq!(call.await.unwrap(), Ok(3));
}

/// Has told a peer that it may come, and until when it waits for it.
struct Inviting(memory::MemoryListener, Option<Instant>);

impl Listener for Inviting {
    type Transport = memory::MemoryTransport;

    fn local_addr(&self) -> Address {
        self.0.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Transport>> {
        let accepted = self.0.poll_accept(cx);
        if accepted.is_ready() {
            self.1 = None;
        }
        accepted
    }

    fn invite_no_more(&mut self) -> Option<std::time::Instant> {
        self.1.map(Instant::into_std)
    }

    fn refuse_more(&mut self) {
        self.0.refuse_more();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_waits_for_who_was_told_to_come() {
    let (ms, began) = (Duration::from_millis, Instant::now());
    let listener = memory::listen("told to come").await.unwrap();
    let listener = Inviting(listener, Some(began + ms(1000)));
    let lab = LabServer::new(Bench::default());
    let server = Server::builder().service(lab).listen(listener).start().unwrap();
    let shutdown = tokio::spawn(server.shutdown(Duration::from_secs(10)));
    tokio::time::sleep(ms(500)).await;
    let lab = LabClient::new(Channel::lazy(memory::connector("told to come")));
    let call = tokio::spawn(lab.add(1, 2));
    assert!(shutdown.await.unwrap());
    let took = began.elapsed();
    assert!((ms(500)..ms(600)).contains(&took), "for one, and nobody else: {took:?}");
    // It is told to go away at once: perhaps before it has called.
    let _next = serve("told to come").await;
    assert_eq!(call.await.unwrap(), Ok(3));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_waits_for_nobody_beyond_its_time() {
    let ms = Duration::from_millis;
    // What the listener asks for, and what the shutdown has.
    for (asked, grace, waits) in [(1000, 10_000, 1000), (1000, 300, 300), (1000, 0, 0)] {
        let began = Instant::now();
        let listener = memory::listen("never comes").await.unwrap();
        let listener = Inviting(listener, Some(began + ms(asked)));
        let server = Server::builder().listen(listener).start().unwrap();
        assert!(server.shutdown(ms(grace)).await);
        let took = began.elapsed();
        assert!((ms(waits)..ms(waits + 10)).contains(&took), "{asked}, {grace}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_lose_no_call_and_leave_one_connection() {
    let mut server = serve("restarting").await;
    let lab = LabClient::new(Channel::lazy(memory::connector("restarting")));
    let done = Arc::new(AtomicUsize::new(0));
    let callers = (0..8_u64).map(|n| {
        let (lab, done) = (lab.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            while done.load(Ordering::Relaxed) == 0 {
                assert_eq!(lab.add(n, 1).await, Ok(n + 1));
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(server.shutdown(Duration::from_secs(10)).await, "every call is finished");
        server = serve("restarting").await;
    }
    assert_eq!(lab.add(1, 1).await, Ok(2));
    assert_eq!(server.connections(), 1);
    done.store(1, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
}

/// Counts the connections it makes.
struct Counting(MemoryConnector, Arc<AtomicUsize>);

impl Connector for Counting {
    type Transport = memory::MemoryTransport;

    fn target(&self) -> Address {
        self.0.target()
    }

    async fn connect(&self) -> io::Result<Self::Transport> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.connect().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_turns_away_is_not_stormed() {
    let listener = memory::listen("full").await.unwrap();
    let _server = Server::builder().connections(0).listen(listener).start().unwrap();
    let attempts = Arc::new(AtomicUsize::new(0));
    let connector = Counting(memory::connector("full"), Arc::clone(&attempts));
    let error = LabClient::new(Channel::lazy(connector)).add(1, 1).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::NotSent));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("as many connections as it accepts"), "{cause}");
    // 10 seconds of pauses that double from 50 ms.
    let attempts = attempts.load(Ordering::SeqCst);
    assert!((5..20).contains(&attempts), "{attempts}");
}

#[tokio::test]
async fn calls_that_wait_for_a_connection_are_limited() {
    let mut limits = Limits::default();
    limits.waiting_calls = 1;
    let channel = Channel::builder().limits(limits).lazy(memory::connector("nobody there"));
    let lab = LabClient::new(channel);
    let mut waiting = lab.add(1, 2);
    poll_once(&mut waiting).await;
    let error = lab.add(1, 2).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Overloaded, Delivery::NotSent));
    assert!(error.to_string().contains("(Limits::waiting_calls)"), "{error}");
    drop(waiting);
    let impatient = lab.add(1, 2).timeout(Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(impatient.kind(), ErrorKind::DeadlineExceeded, "its place is free again");
}

#[test]
fn a_channel_survives_the_runtime_it_was_first_used_on() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lab = LabClient::new(Channel::lazy(memory::connector("survivor")));
    {
        // The task that connects is made, and dropped before it has run.
        let first = runtime();
        let _entered = first.enter();
        let mut call = pin!(lab.add(1, 2));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    runtime().block_on(async {
        let _server = serve("survivor").await;
        assert_eq!(lab.add(1, 2).await, Ok(3));
    });
}

/// Polls a call once, so that it is on its way.
async fn poll_once<T>(call: &mut Call<T>) {
    std::future::poll_fn(|cx| {
        assert!(pin!(&mut *call).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn settings_of_a_call_that_was_polled_change_nothing() {
    let _server = serve("settled").await;
    let lab = LabClient::new(Channel::connect(memory::connector("settled")).await.unwrap());
    let mut call = lab.add(1, 2);
    poll_once(&mut call).await;
    assert_eq!(call.metadata("", "an empty key").await, Ok(3));
}

#[tokio::test]
async fn a_deadline_counts_from_the_first_poll_of_its_own_call() {
    let _server = serve("clocks").await;
    let lab = LabClient::new(Channel::connect(memory::connector("clocks")).await.unwrap());
    let mut early = lab.add(1, 2);
    poll_once(&mut early).await;
    // Work without an await: the first call's frame is still queued, and its clock reading is old.
    std::thread::sleep(Duration::from_millis(120));
    assert_eq!(lab.add(3, 4).timeout(Duration::from_millis(100)).await, Ok(7));
    assert_eq!(early.await, Ok(3));
}
