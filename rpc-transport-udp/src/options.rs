//! What sockets and sessions are set up with: defaults and settings.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    UdpConnector, UdpListener,
    driver::socket::{Datagrams, Kernel},
    proto::{
        cookie::CookieKey,
        packet::{DATAGRAM_BYTES_MAX, Epoch, Params},
        session::Budget,
        table::{COOKIE_LIFETIME, RETENTION, TableConfig},
    },
};

/// How sockets and sessions are set up, and the listeners and connectors that do so.
#[derive(Debug, Clone)]
#[must_use = "options do nothing until `listen` or `connector` is called"]
pub struct UdpOptions {
    pub(crate) connect_timeout: Duration,
    send_buffer: usize,
    recv_buffer: usize,
    window: u32,
    ack_delay: Duration,
    sessions: usize,
    held_bytes: usize,
    /// The network of a test, instead of the system's.
    #[cfg(feature = "testing")]
    network: Option<crate::testing::Network>,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl UdpOptions {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            send_buffer: 4 * 1024 * 1024,
            recv_buffer: 4 * 1024 * 1024,
            window: 4096,
            ack_delay: Duration::from_millis(5),
            sessions: 262_144,
            held_bytes: 256 * 1024 * 1024,
            #[cfg(feature = "testing")]
            network: None,
        }
    }

    /// Sockets are in this network instead of the system's.
    #[cfg(feature = "testing")]
    pub(crate) fn over(self, network: crate::testing::Network) -> Self {
        Self { network: Some(network), ..self }
    }

    /// Listens on `addr`; see [`listen`](crate::listen).
    ///
    /// # Errors
    /// The address is malformed (`InvalidInput`), its name can't be resolved, or none of its
    /// addresses can be bound.
    pub async fn listen(self, addr: impl ToString) -> io::Result<UdpListener> {
        let address: SocketAddr = addr
            .to_string()
            .parse()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "no address"))?;
        self.listen_on(self.listening_socket(address)?)
    }

    /// How long a connect may take. Default 5 s.
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The kernel's send buffer in bytes (`SO_SNDBUF`). Default 4 MiB. Linux caps it at
    /// `net.core.wmem_max`.
    pub const fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// The kernel's receive buffer in bytes (`SO_RCVBUF`). Default 4 MiB. Linux caps it at
    /// `net.core.rmem_max`. What comes while it is full is lost, and sent again.
    pub const fn recv_buffer(mut self, bytes: usize) -> Self {
        self.recv_buffer = bytes;
        self
    }

    pub(crate) fn listen_on(&self, socket: Arc<dyn Datagrams>) -> io::Result<UdpListener> {
        let mut material = [0; CookieKey::BYTES];
        for chunk in material.chunks_exact_mut(8) {
            chunk.copy_from_slice(&socket.secret()?.to_le_bytes());
        }
        let config = TableConfig {
            epoch: Epoch(socket.secret()?),
            params: self.params(),
            sessions: self.sessions,
            cookie_lifetime: COOKIE_LIFETIME,
            retention: RETENTION,
        };
        let budget = Budget::new(self.held_bytes);
        UdpListener::new(socket, config, CookieKey::new(&material), budget)
    }

    /// Connects to `addr` whenever a session is needed; see [`connector`](crate::connector()).
    #[must_use]
    pub fn connector(self, addr: impl ToString) -> UdpConnector {
        UdpConnector::new(addr.to_string(), self)
    }

    /// What this side accepts of a session.
    pub(crate) fn params(&self) -> Params {
        Params {
            datagram_bytes: u16::try_from(DATAGRAM_BYTES_MAX).unwrap_or(u16::MAX),
            ack_delay_ms: u16::try_from(self.ack_delay.as_millis()).unwrap_or(u16::MAX),
            window: self.window,
            features: 0,
        }
    }

    fn listening_socket(&self, address: SocketAddr) -> io::Result<Arc<dyn Datagrams>> {
        #[cfg(feature = "testing")]
        if let Some(network) = &self.network {
            return network.bind(address);
        }
        Ok(Arc::new(Kernel::new(self.bound_socket(address)?)?))
    }

    pub(crate) fn connecting_socket(&self, remote: SocketAddr) -> io::Result<Arc<dyn Datagrams>> {
        #[cfg(feature = "testing")]
        if let Some(network) = &self.network {
            return network.connect(remote);
        }
        let any: SocketAddr = match remote {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = self.bound_socket(any)?;
        // So that the system tells when nothing listens there.
        #[cfg(target_os = "linux")]
        socket.connect(remote)?;
        Ok(Arc::new(Kernel::new(socket)?))
    }

    fn bound_socket(&self, address: SocketAddr) -> io::Result<std::net::UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.set_send_buffer_size(self.send_buffer)?;
        socket.set_recv_buffer_size(self.recv_buffer)?;
        socket.bind(&address.into())?;
        Ok(socket.into())
    }
}
