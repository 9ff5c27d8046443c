//! A TCP connection as a transport: NODELAY and evidence; framing is [`StreamTransport`]'s.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use rpc_core::transport::{
    Address, Batch, Inbox, Peer, Received, Transport, TransportError, stream::StreamTransport,
};
use tokio::net::TcpStream;

/// One TCP connection, with `TCP_NODELAY` set.
///
/// Made by [`TcpListener`](crate::TcpListener), [`TcpConnector`](crate::TcpConnector) and
/// [`from_stream`](crate::from_stream). Its socket can be inspected and tuned through `AsFd`
/// (`AsSocket` on Windows), for instance with `socket2::SockRef::from(&transport)`.
#[derive(Debug)]
pub struct TcpTransport {
    stream: StreamTransport<TcpStream>,
}

impl TcpTransport {
    /// The only way to make one, so that none is without NODELAY.
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        Ok(Self { stream: StreamTransport::new(stream, Peer::new(Address::Socket(peer))) })
    }
}

impl Transport for TcpTransport {
    fn peer(&self) -> Peer {
        self.stream.peer()
    }

    fn frame_bytes(&self) -> usize {
        self.stream.frame_bytes()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        self.stream.poll_send(cx, batch)
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        self.stream.poll_recv(cx, inbox)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_close(cx)
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for TcpTransport {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.stream.get_ref().as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for TcpTransport {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.stream.get_ref().as_socket()
    }
}
