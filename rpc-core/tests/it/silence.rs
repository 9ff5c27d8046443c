//! A thousand connections whose peers fall silent at the same moment: every call on them ends, in time; and clients
//! that fall silent: their handlers end. In paused time; what one of them does is in `wire` and `lifecycle`.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use rpc_core::{
    Channel, Delivery, ErrorKind, RpcError, Server, StreamSender, Streaming,
    transport::{
        Address, Batch, Connector, Inbox, Peer, Received, Transport, TransportError,
        memory::{self, MemoryConnector, MemoryTransport},
    },
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::rig::{alive_tasks, to, until};

const CONNECTIONS: usize = 1000;

/// The connections are made in so many groups, a moment apart, so that their pings aren't all due at once.
const GROUPS: usize = 10;
const APART: Duration = Duration::from_millis(370);

/// The keepalive's: so much silence, and so long for an answer.
const FOUND_WITHIN: Duration = Duration::from_secs(8);

/// The same of a server for its clients, which owe it nothing.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(60);

#[rpc_core::service]
trait Quiet {
    async fn hello(&self) -> u32;
    async fn forever(&self);
    /// Two items, and no end.
    async fn items(&self) -> Streaming<u32>;
    async fn read(&self, items: Streaming<u32>);
    async fn echo(&self, items: Streaming<u32>) -> Streaming<u32>;
}

/// Counts the handlers that are at work, with their streams.
#[derive(Default)]
struct Handlers(Arc<AtomicUsize>);

struct AtWork(Arc<AtomicUsize>);

impl Handlers {
    fn at_work(&self) -> AtWork {
        self.0.fetch_add(1, Ordering::SeqCst);
        AtWork(Arc::clone(&self.0))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Quiet for Handlers {
    async fn hello(&self) -> u32 {
        7
    }
    async fn forever(&self) {
        let _at_work = self.at_work();
        std::future::pending::<()>().await;
    }
    async fn items(&self) -> Streaming<u32> {
        let (sender, items) = Streaming::channel(2);
        let at_work = self.at_work();
        tokio::spawn(async move {
            let _at_work = at_work;
            for item in 0..2 {
                let _sent = sender.send(item).await;
            }
            sender.closed().await;
        });
        items
    }
    async fn read(&self, mut items: Streaming<u32>) {
        let _at_work = self.at_work();
        while let Some(Ok(_)) = items.next().await {}
    }
    async fn echo(&self, mut items: Streaming<u32>) -> Streaming<u32> {
        let (sender, echoed) = Streaming::channel(2);
        let at_work = self.at_work();
        tokio::spawn(async move {
            let _at_work = at_work;
            while let Some(Ok(item)) = items.next().await {
                let _sent = sender.send(item).await;
            }
        });
        echoed
    }
}

/// Makes connections that fall silent in both directions when they are told to. What is sent is taken
/// all the same, as a kernel takes it.
struct Hushing {
    inner: MemoryConnector,
    /// For the connections that are made from now on.
    silent: Arc<AtomicBool>,
    is_first: AtomicBool,
}

struct Hushed {
    inner: MemoryTransport,
    silent: Arc<AtomicBool>,
}

impl Connector for Hushing {
    type Transport = Hushed;

    fn target(&self) -> Address {
        self.inner.target()
    }

    async fn connect(&self) -> io::Result<Hushed> {
        let is_first = self.is_first.swap(false, Ordering::SeqCst);
        let silent = if is_first { Arc::clone(&self.silent) } else { Arc::default() };
        Ok(Hushed { inner: self.inner.connect().await?, silent })
    }
}

impl Hushed {
    fn is_silent(&self) -> bool {
        self.silent.load(Ordering::SeqCst)
    }
}

impl Transport for Hushed {
    fn peer(&self) -> Peer {
        self.inner.peer()
    }

    fn frame_bytes(&self) -> usize {
        self.inner.frame_bytes()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        if self.is_silent() {
            while batch.next_frame().is_some() {}
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_send(cx, batch)
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        if self.is_silent() { Poll::Pending } else { self.inner.poll_recv(cx, inbox) }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_silent() { Poll::Ready(Ok(())) } else { self.inner.poll_close(cx) }
    }
}

/// Calls of each sort over one channel. Each gives its error, and when that came.
fn call(channel: &Channel, calls: &mut JoinSet<(&'static str, RpcError, Instant)>) {
    let client = QuietClient::new(channel.clone());
    let (endless, patient) = (client.forever().no_deadline(), client.forever());
    calls.spawn(async move { ("endless", endless.await.unwrap_err(), Instant::now()) });
    let patient = patient.timeout(Duration::from_secs(60));
    calls.spawn(async move { ("patient", patient.await.unwrap_err(), Instant::now()) });
    let (sender, items) = Streaming::channel(1);
    let reading = client.read(items).no_deadline();
    calls.spawn(async move {
        let _sender = sender;
        ("with items", reading.await.unwrap_err(), Instant::now())
    });
    let items = client.items().no_deadline();
    calls.spawn(async move {
        let error = error_of(items.await.unwrap()).await;
        ("reading items", error, Instant::now())
    });
}

#[tokio::test(start_paused = true)]
async fn a_thousand_peers_that_fall_silent_at_once_are_all_found_in_time() {
    let listener = memory::listen("silence").await.unwrap();
    let server = Server::builder()
        .service(QuietServer::new(Handlers::default()))
        .listen(listener)
        .start()
        .unwrap();
    let tasks = alive_tasks();
    let (silent, mut calls) = (Arc::<AtomicBool>::default(), JoinSet::new());
    let mut channels = Vec::new();
    for _ in 0..GROUPS {
        for _ in 0..CONNECTIONS / GROUPS {
            let (silent, is_first) = (Arc::clone(&silent), AtomicBool::new(true));
            let connector = Hushing { inner: to(&server), silent, is_first };
            let channel = Channel::connect(connector).await.unwrap();
            call(&channel, &mut calls);
            channels.push(channel);
        }
        sleep(APART).await;
    }
    silent.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let (mut ended, mut slowest) = (0, Duration::ZERO);
    while let Some(end) = calls.join_next().await {
        let (what, error, at) = end.unwrap();
        let told = (error.kind(), error.delivery());
        assert_eq!(told, (ErrorKind::ConnectionLost, Delivery::Unknown), "{what}: {error}");
        (ended, slowest) = (ended + 1, slowest.max(at - began));
    }
    assert_eq!(ended, 4 * CONNECTIONS);
    assert!(slowest <= FOUND_WITHIN, "{slowest:?}");

    for channel in &channels {
        assert_eq!(QuietClient::new(channel.clone()).hello().await, Ok(7), "another connection");
    }
    let connections = channels.len();
    drop(channels);
    // Both sides linger, for a second at most.
    sleep(Duration::from_secs(2)).await;
    assert_eq!((alive_tasks(), server.connections()), (tasks, 0), "nothing is left");
    eprintln!("FIGURE silence.connections={connections}");
    eprintln!("FIGURE silence.calls={ended}");
    eprintln!("FIGURE silence.slowest_ms={}", slowest.as_millis());
}

/// A client that never pings, and has calls of each sort under way that no deadline ends. Those with items in reply
/// have begun it.
async fn patient_client(
    server: &Server,
    silent: &Arc<AtomicBool>,
) -> (JoinSet<RpcError>, StreamSender<u32>) {
    let (silent, is_first) = (Arc::clone(silent), AtomicBool::new(true));
    let connector = Hushing { inner: to(server), silent, is_first };
    let channel = Channel::builder().no_keepalive().connect(connector).await.unwrap();
    let (client, mut calls) = (QuietClient::new(channel), JoinSet::new());
    let endless = client.forever().no_deadline();
    calls.spawn(async move { endless.await.unwrap_err() });
    let items = client.items().no_deadline().await.unwrap();
    calls.spawn(error_of(items));
    let (sender, items) = Streaming::channel(1);
    let mut echoed = client.echo(items).no_deadline().await.unwrap();
    sender.send(7).await.unwrap();
    assert_eq!(echoed.next().await, Some(Ok(7)));
    calls.spawn(error_of(echoed));
    (calls, sender)
}

/// The error that ends a stream.
async fn error_of(mut items: Streaming<u32>) -> RpcError {
    loop {
        if let Err(error) = items.next().await.expect("no end was sent") {
            return error;
        }
    }
}

/// Nothing that was sent to it is unanswered, no call waits for it, and its connection has calls: only that it is
/// asked whether it is there can find that it isn't.
#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_leaves_no_handler_however_patient_it_was() {
    let listener = memory::listen("vanished").await.unwrap();
    let handlers = Handlers::default();
    let at_work = Arc::clone(&handlers.0);
    let server =
        Server::builder().service(QuietServer::new(handlers)).listen(listener).start().unwrap();
    let (vanishes, stays) = (Arc::default(), Arc::default());
    let vanished = patient_client(&server, &vanishes).await;
    let (mut calls, _sender) = patient_client(&server, &stays).await;
    until("all run", || at_work.load(Ordering::SeqCst) == 6).await;

    vanishes.store(true, Ordering::SeqCst);
    sleep(FOUND_WITHIN).await;
    assert_eq!(at_work.load(Ordering::SeqCst), 6, "a server is in no hurry");
    // It closes what nobody answers, and lingers for a second.
    sleep(GIVEN_UP_WITHIN - FOUND_WITHIN + Duration::from_secs(3)).await;
    assert_eq!((at_work.load(Ordering::SeqCst), server.connections()), (3, 1));

    // Who is only silent answers, and stays.
    sleep(Duration::from_secs(3600)).await;
    assert_eq!((at_work.load(Ordering::SeqCst), server.connections()), (3, 1));
    assert!(calls.try_join_next().is_none());
    drop(vanished);
}
