//! The TCP of the simulated network as a transport: a listener and a connector; what happens on the
//! network is the world's business.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rpc_core::transport::{Address, Connector, Listener, Peer, stream::StreamTransport};
use turmoil::net::{TcpListener, TcpStream};

/// In figures.
pub(crate) const NAME: &str = "tcp";

/// The host that serves.
pub(crate) const SERVER: &str = "server";

const PORT: u16 = 7000;

/// How long connecting may take: the network doesn't say that nobody hears.
const CONNECT: Duration = Duration::from_millis(300);

type Simulated = StreamTransport<TcpStream>;

type Accepting = Pin<Box<dyn Future<Output = io::Result<Simulated>> + Send>>;

/// Listens on the host that runs it.
pub(crate) async fn listen() -> io::Result<impl Listener> {
    SimListener::bind().await
}

/// Connects to [`SERVER`].
pub(crate) fn connector() -> impl Connector {
    SimConnector
}

struct SimListener {
    inner: Arc<TcpListener>,
    address: Address,
    accepting: Accepting,
}

impl SimListener {
    async fn bind() -> io::Result<Self> {
        let inner = Arc::new(TcpListener::bind(("0.0.0.0", PORT)).await?);
        let address = Address::Socket(inner.local_addr()?);
        let accepting = accept(Arc::clone(&inner));
        Ok(Self { inner, address, accepting })
    }
}

fn accept(listener: Arc<TcpListener>) -> Accepting {
    Box::pin(async move {
        let (stream, peer) = listener.accept().await?;
        Ok(StreamTransport::new(stream, Peer::new(Address::Socket(peer))))
    })
}

impl Listener for SimListener {
    type Transport = Simulated;

    fn local_addr(&self) -> Address {
        self.address.clone()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Simulated>> {
        let accepted = ready!(self.accepting.as_mut().poll(cx));
        self.accepting = accept(Arc::clone(&self.inner));
        Poll::Ready(accepted)
    }
}

struct SimConnector;

impl Connector for SimConnector {
    type Transport = Simulated;

    fn target(&self) -> Address {
        Address::Name(format!("{SERVER}:{PORT}"))
    }

    async fn connect(&self) -> io::Result<Simulated> {
        let connected = tokio::time::timeout(CONNECT, TcpStream::connect((SERVER, PORT)));
        let stream = connected.await.map_err(|_| io::ErrorKind::TimedOut)??;
        let peer = Peer::new(Address::Socket(stream.peer_addr()?));
        Ok(StreamTransport::new(stream, peer))
    }
}
