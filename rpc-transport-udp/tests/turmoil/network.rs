//! The UDP of the simulated network under the transport: a listener and a connector; what happens on the
//! network is the world's business.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use rpc_core::transport::{Address, Connector, Listener};
use rpc_transport_udp::{
    UdpOptions, UdpTransport,
    testing::{SimulatedSocket, Simulator, simulated},
};
use tokio::time::sleep;
use turmoil::net::UdpSocket;

/// In figures.
pub(crate) const NAME: &str = "udp";

/// The host that serves.
pub(crate) const SERVER: &str = "server";

const PORT: u16 = 7000;

/// How long connecting may take, so that callers whose server is away try again before their time is over.
const CONNECT: Duration = Duration::from_millis(300);

fn options() -> UdpOptions {
    simulated(Turmoil).connect_timeout(CONNECT)
}

/// Listens on the host that runs it, once the server before has let go of the socket: sessions that end
/// need it longer than the server does.
pub(crate) async fn listen() -> io::Result<impl Listener> {
    loop {
        match options().listen(SocketAddr::from(([0, 0, 0, 0], PORT))).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                sleep(Duration::from_millis(5)).await;
            }
            bound => return bound,
        }
    }
}

/// Connects to [`SERVER`].
pub(crate) fn connector() -> impl Connector {
    SimConnector
}

struct SimConnector;

impl Connector for SimConnector {
    type Transport = UdpTransport;

    fn target(&self) -> Address {
        Address::Name(format!("{SERVER}:{PORT}"))
    }

    async fn connect(&self) -> io::Result<UdpTransport> {
        options().connector(SocketAddr::from((turmoil::lookup(SERVER), PORT))).connect().await
    }
}

#[derive(Debug)]
struct Turmoil;

impl Simulator for Turmoil {
    type Socket = Socket;

    fn bind(&self, local: SocketAddr) -> io::Result<Socket> {
        // `bind` is async, and ready at once.
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(bound) = pin!(UdpSocket::bind(local)).poll(&mut cx) else {
            return Err(io::Error::other("binding waits"));
        };
        Ok(Socket { inner: Arc::new(bound?), readable: Mutex::new(None) })
    }

    fn random(&self) -> u64 {
        // The world has seeded them.
        fastrand::u64(..)
    }
}

type Readable = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

struct Socket {
    inner: Arc<UdpSocket>,
    /// What the one task that receives waits for.
    readable: Mutex<Option<Readable>>,
}

impl SimulatedSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        // What a host says when the simulation is over nobody hears.
        if !turmoil::in_simulation() {
            return Ok(());
        }
        self.inner.try_send_to(datagram, to).map(drop)
    }

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut waiting = self.readable.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let readable = waiting.get_or_insert_with(|| {
                let socket = Arc::clone(&self.inner);
                Box::pin(async move { socket.readable().await })
            });
            if let Poll::Ready(result) = readable.as_mut().poll(cx) {
                *waiting = None;
                result?;
            } else {
                return Poll::Pending;
            }
            match self.inner.try_recv_from(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return Poll::Ready(received),
            }
        }
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}
