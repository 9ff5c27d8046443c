//! The listening side: one socket for all sessions; no back-off, the server's accept loop has that.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use rpc_core::transport::{Address, Listener};

use super::{UdpTransport, endpoint::Endpoint, socket::Datagrams};
use crate::{
    planted::planted,
    proto::{
        cookie::CookieKey,
        session::Budget,
        table::{Table, TableConfig},
    },
};

/// A UDP socket that accepts sessions, for `ServerBuilder::listen`.
///
/// Made by [`listen`](crate::listen) or [`UdpOptions::listen`](crate::UdpOptions::listen). A task of
/// the runtime reads the socket until the listener is dropped and its last session has ended.
#[derive(Debug)]
pub struct UdpListener {
    endpoint: Arc<Endpoint>,
    local_addr: SocketAddr,
}

impl UdpListener {
    /// Listens at a socket.
    pub(crate) fn new(
        socket: Arc<dyn Datagrams>,
        config: TableConfig,
        key: CookieKey,
        budget: Budget,
    ) -> io::Result<Self> {
        let local_addr = socket.local_addr()?;
        let table = Table::new(config, key);
        Ok(Self { endpoint: Endpoint::start(socket, table, budget), local_addr })
    }

    /// Where it listens, with the port that the system chose if that was 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

impl Listener for UdpListener {
    type Transport = UdpTransport;

    fn local_addr(&self) -> Address {
        Address::Socket(self.local_addr)
    }

    /// # Errors
    /// The socket is broken, or the runtime that read it is gone.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<UdpTransport>> {
        let begun = ready!(self.endpoint.poll_accept(cx))?;
        Poll::Ready(Ok(UdpTransport::accepted(Arc::clone(&self.endpoint), begun)))
    }

    fn invite_no_more(&mut self) -> Option<Instant> {
        if planted("offers-forgotten") {
            return None;
        }
        self.endpoint.offer_no_more()
    }

    fn refuse_more(&mut self) {
        self.endpoint.leave();
    }
}

impl Drop for UdpListener {
    fn drop(&mut self) {
        self.endpoint.close();
    }
}
