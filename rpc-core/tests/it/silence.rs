//! A thousand connections whose peers fall silent at the same moment: every call on them ends, in time. In paused
//! time; what one of them does is in `wire` and `lifecycle`.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use rpc_core::{
    Channel, Delivery, ErrorKind, RpcError, Server, Streaming,
    transport::{
        Address, Batch, Connector, Inbox, Peer, Received, Transport, TransportError,
        memory::{self, MemoryConnector, MemoryTransport},
    },
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::rig::{alive_tasks, to};

const CONNECTIONS: usize = 1000;

/// The connections are made in so many groups, a moment apart, so that their pings aren't all due at once.
const GROUPS: usize = 10;
const APART: Duration = Duration::from_millis(370);

/// The keepalive's: so much silence, and so long for an answer.
const FOUND_WITHIN: Duration = Duration::from_secs(8);

#[rpc_core::service]
trait Quiet {
    async fn hello(&self) -> u32;
    async fn forever(&self);
    /// Two items, and no end.
    async fn items(&self) -> Streaming<u32>;
    async fn read(&self, items: Streaming<u32>);
}

struct Handlers;

impl Quiet for Handlers {
    async fn hello(&self) -> u32 {
        7
    }
    async fn forever(&self) {
        std::future::pending::<()>().await;
    }
    async fn items(&self) -> Streaming<u32> {
        let (sender, items) = Streaming::channel(2);
        tokio::spawn(async move {
            for item in 0..2 {
                let _sent = sender.send(item).await;
            }
            sender.closed().await;
        });
        items
    }
    async fn read(&self, mut items: Streaming<u32>) {
        while let Some(Ok(_)) = items.next().await {}
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
        let mut items = items.await.unwrap();
        loop {
            if let Err(error) = items.next().await.expect("no end was sent") {
                return ("reading items", error, Instant::now());
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_thousand_peers_that_fall_silent_at_once_are_all_found_in_time() {
    let listener = memory::listen("silence").await.unwrap();
    let server =
        Server::builder().service(QuietServer::new(Handlers)).listen(listener).start().unwrap();
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
