//! A transport of one's own: it counts what goes over another one. Then the conformance kit says
//! whether it keeps the promises of the contract.

use std::{
    error::Error,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Buf;
use rpc_core::{
    Channel, Server,
    testing::conformance,
    transport::{
        Address, Batch, Connector, Inbox, Listener, Peer, Received, Transport, TransportError,
        memory::{self, MemoryConnector, MemoryListener, MemoryTransport},
    },
};

/// Counts the bytes that it sends.
struct Counting {
    inner: MemoryTransport,
    sent: Arc<AtomicUsize>,
}

impl Transport for Counting {
    fn peer(&self) -> Peer {
        self.inner.peer()
    }

    fn frame_bytes(&self) -> usize {
        self.inner.frame_bytes()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        let before = batch.remaining();
        let sent = self.inner.poll_send(cx, batch);
        self.sent.fetch_add(before - batch.remaining(), Ordering::Relaxed);
        sent
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        self.inner.poll_recv(cx, inbox)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_close(cx)
    }
}

/// Accepts connections whose transports count.
struct CountingListener {
    inner: MemoryListener,
    sent: Arc<AtomicUsize>,
}

impl Listener for CountingListener {
    type Transport = Counting;

    fn local_addr(&self) -> Address {
        self.inner.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Counting>> {
        let sent = Arc::clone(&self.sent);
        self.inner.poll_accept(cx).map_ok(|inner| Counting { inner, sent })
    }
}

/// Makes connections whose transports count.
struct CountingConnector {
    inner: MemoryConnector,
    sent: Arc<AtomicUsize>,
}

impl Connector for CountingConnector {
    type Transport = Counting;

    fn target(&self) -> Address {
        self.inner.target()
    }

    async fn connect(&self) -> io::Result<Counting> {
        Ok(Counting { inner: self.inner.connect().await?, sent: Arc::clone(&self.sent) })
    }
}

#[rpc_core::service]
trait Echo {
    async fn echo(&self, text: &str) -> String;
}

struct Back;

impl Echo for Back {
    async fn echo(&self, text: &str) -> String {
        text.to_owned()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (requests, replies) = (Arc::default(), Arc::default());
    let listener =
        CountingListener { inner: memory::listen("counted").await?, sent: Arc::clone(&replies) };
    let connector =
        CountingConnector { inner: memory::connector("counted"), sent: Arc::clone(&requests) };

    let server = Server::builder().service(EchoServer::new(Back)).listen(listener).start()?;
    let echo = EchoClient::new(Channel::connect(connector).await?);
    println!("echo: {}", echo.echo("over a transport of one's own").await?);
    println!("requests: {} bytes", requests.load(Ordering::Relaxed));
    println!("replies: {} bytes", replies.load(Ordering::Relaxed));
    drop(server);

    conformance::run(|| async {
        let (a, b) = memory::pair();
        let counted = |inner| Counting { inner, sent: Arc::default() };
        (counted(a), counted(b))
    })
    .await;
    println!("it conforms");
    Ok(())
}
