//! Connecting: a socket of its own for each session, and its set-up; no retries, the channel has
//! those.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use rpc_core::transport::{Address, Connector, ip::Target};
use tokio::time::sleep_until;

use super::{
    UdpTransport, clock,
    socket::{Datagrams, is_too_large},
};
use crate::{
    UdpOptions,
    proto::{
        packet::{BASE_DATAGRAM_BYTES, Nonce},
        session::Transmit,
        setup::{Established, Refused, SetUpClient},
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
        Target::address(&self.target)
    }

    /// # Errors
    /// - `InvalidInput`: the address is malformed; trying again is pointless.
    /// - `TimedOut`: the connect timeout has passed.
    /// - `ConnectionRefused`: nothing listens there, or the server takes no more sessions.
    /// - Otherwise that of the last address tried, or the resolver's.
    ///
    /// The message names each address tried, with its cause.
    ///
    /// # Cancel safety
    /// Dropping the future closes the sockets it has opened.
    // r[impl session.no-move]
    async fn connect(&self) -> io::Result<UdpTransport> {
        let target = Target::parse(&self.target)?;
        let attempt = |address| set_up(address, self.options.clone());
        let (_, transport) = target.connect(self.options.connect_limit(), attempt).await?;
        Ok(transport)
    }
}

/// Sets one session up.
async fn set_up(remote: SocketAddr, options: UdpOptions) -> io::Result<UdpTransport> {
    let socket = options.connecting_socket(remote)?;
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
                let kind = match refused {
                    // What answers is no peer: there is no point in trying again.
                    Refused::Version { .. } => io::ErrorKind::InvalidData,
                    Refused::Full | Refused::Leaving => io::ErrorKind::ConnectionRefused,
                };
                return Poll::Ready(Err(io::Error::new(kind, refused)));
            }
            (None, Poll::Ready(Ok(()))) => {}
            (None, Poll::Ready(Err(error))) => return Poll::Ready(Err(in_words(error))),
            (None, Poll::Pending) => return Poll::Pending,
        }
    }
}

/// Sends an INIT. One that the socket has no room for is lost, and comes again.
fn send(socket: &dyn Datagrams, to: SocketAddr, init: Vec<u8>) -> io::Result<()> {
    let transmit = Transmit { to, segment_bytes: init.len(), bytes: init.into() };
    match socket.try_send(&transmit, None) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        sent => sent.map_err(in_words),
    }
}

/// Says of a datagram that is too large for the path which one that was.
fn in_words(error: io::Error) -> io::Error {
    if is_too_large(&error) {
        let text =
            format!("the path doesn't take datagrams of {BASE_DATAGRAM_BYTES} bytes: {error}");
        return io::Error::new(error.kind(), text);
    }
    error
}
