//! Connecting: a socket of its own for each session, and its set-up; no retries, the channel has
//! those.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use rpc_core::transport::{Address, Connector};
use tokio::time::sleep_until;

use super::{UdpTransport, clock, socket::Datagrams};
use crate::{
    UdpOptions,
    proto::{
        packet::Nonce,
        session::Transmit,
        setup::{Established, SetUpClient},
    },
};

/// Sets sessions up with one server, for `Channel::connect`.
///
/// Made by [`connector`](crate::connector()) or [`UdpOptions::connector`].
#[derive(Debug, Clone)]
pub struct UdpConnector {
    /// As the user wrote it.
    target: String,
    options: UdpOptions,
}

impl UdpConnector {
    pub(crate) fn new(target: String, options: UdpOptions) -> Self {
        Self { target, options }
    }
}

impl Connector for UdpConnector {
    type Transport = UdpTransport;

    fn target(&self) -> Address {
        match self.target.parse() {
            Ok(address) => Address::Socket(address),
            _ => Address::Name(self.target.clone()),
        }
    }

    async fn connect(&self) -> io::Result<UdpTransport> {
        let remote: SocketAddr = self
            .target
            .parse()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "no address"))?;
        let socket = self.options.connecting_socket(remote)?;
        let setup = set_up(socket, remote, &self.options);
        match tokio::time::timeout(self.options.connect_timeout, setup).await {
            Ok(done) => done,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
        }
    }
}

/// Sets one session up.
pub(crate) async fn set_up(
    socket: Arc<dyn Datagrams>,
    remote: SocketAddr,
    options: &UdpOptions,
) -> io::Result<UdpTransport> {
    let nonce = Nonce(socket.secret()?);
    let now = clock::now();
    let mut setup = SetUpClient::new(now, remote, options.params(), nonce);
    let mut timer = Box::pin(sleep_until(now.into()));
    let established = poll_fn(|cx| {
        loop {
            if let Poll::Ready(done) = poll_answer(cx, &*socket, &setup) {
                return Poll::Ready(done);
            }
            if let Some(init) = setup.poll_transmit(clock::now()) {
                send(&*socket, remote, init)?;
            }
            timer.as_mut().reset(setup.timeout().into());
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await?;
    Ok(UdpTransport::connected(socket, established))
}

use std::future::Future;

/// Takes datagrams until one is the answer.
fn poll_answer(
    cx: &mut Context<'_>,
    socket: &dyn Datagrams,
    setup: &SetUpClient,
) -> Poll<io::Result<Established>> {
    loop {
        let mut answer = None;
        let received = socket.poll_recv(cx, &mut |piece| {
            for datagram in piece.bytes.chunks(piece.stride) {
                answer = answer.take().or_else(|| setup.handle_datagram(datagram));
            }
        });
        match (answer, received) {
            (Some(Ok(established)), _) => return Poll::Ready(Ok(established)),
            (Some(Err(refused)), _) => {
                let kind = io::ErrorKind::ConnectionRefused;
                return Poll::Ready(Err(io::Error::new(kind, refused)));
            }
            (None, Poll::Ready(Ok(()))) => {}
            (None, Poll::Ready(Err(error))) => return Poll::Ready(Err(error)),
            (None, Poll::Pending) => return Poll::Pending,
        }
    }
}

/// Sends an INIT. One that the socket has no room for is lost, and comes again.
fn send(socket: &dyn Datagrams, to: SocketAddr, init: Vec<u8>) -> io::Result<()> {
    let transmit = Transmit { to, segment_bytes: init.len(), bytes: init.into() };
    match socket.try_send(&transmit, None) {
        Err(error) if quinn_udp::is_msg_size_err(&error) => {
            let bytes = transmit.segment_bytes;
            let text = format!("the path doesn't take datagrams of {bytes} bytes: {error}");
            Err(io::Error::new(error.kind(), text))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        sent => sent,
    }
}
