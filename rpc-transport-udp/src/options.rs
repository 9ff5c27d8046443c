//! What sockets and sessions are set up with: defaults, settings, and the sockets themselves.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rpc_core::transport::ip::Target;
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
///
/// The defaults suit most; see the [table](crate#options). Options that only concern one side are
/// ignored by the other.
#[derive(Debug, Clone)]
#[must_use = "options do nothing until `listen` or `connector` is called"]
pub struct UdpOptions {
    connect_timeout: Duration,
    send_buffer: usize,
    recv_buffer: usize,
    window: u32,
    ack_delay: Duration,
    sessions: usize,
    held_bytes: usize,
    only_v6: bool,
    public: bool,
    /// The sockets of a test's network, instead of the system's.
    #[cfg(feature = "testing")]
    network: Option<Arc<dyn crate::testing::Sockets>>,
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
            only_v6: false,
            public: false,
            #[cfg(feature = "testing")]
            network: None,
        }
    }

    /// Listens on `addr`; see [`listen`](crate::listen).
    ///
    /// # Errors
    /// The address is malformed (`InvalidInput`), its name can't be resolved, or none of its
    /// addresses can be bound; the message names each with its cause.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    pub async fn listen(self, addr: impl ToString) -> io::Result<UdpListener> {
        let target = Target::parse(&addr.to_string())?;
        target.bind(|address| self.listen_on(self.listening_socket(address)?)).await
    }

    /// Connects to `addr` whenever a session is needed; see [`connector`](crate::connector()).
    #[must_use]
    pub fn connector(self, addr: impl ToString) -> UdpConnector {
        UdpConnector::new(addr.to_string(), self)
    }

    /// How long a connect may take: resolving the name, trying all its addresses, and setting a
    /// session up. Default 5 s, in which an unanswered request is repeated four times.
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The kernel's send buffer to ask for, in bytes (`SO_SNDBUF`). Default 4 MiB. Linux caps it at
    /// `net.core.wmem_max`.
    pub const fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// The kernel's receive buffer to ask for, in bytes (`SO_RCVBUF`). Default 4 MiB. What doesn't
    /// fit is lost and sent again. Linux caps it at `net.core.rmem_max`, which is often 208 KiB: raise
    /// that on a busy server.
    pub const fn recv_buffer(mut self, bytes: usize) -> Self {
        self.recv_buffer = bytes;
        self
    }

    /// How many frames beyond those it has all of this side takes, 64 to 65,536. Default 4096: with
    /// frames of 1,120 bytes that keeps a path of 1 Gbit/s and 35 ms full, and it bounds what a
    /// session holds of frames that wait for others.
    pub const fn window(mut self, frames: u32) -> Self {
        self.window = frames;
        self
    }

    /// How long an acknowledgement waits for a frame to go with; at most 500 ms. Default 5 ms. A
    /// shorter one costs datagrams, a longer one makes losses show later.
    pub const fn ack_delay(mut self, delay: Duration) -> Self {
        self.ack_delay = delay;
        self
    }

    /// How many sessions a server may have, with those that ended within the last minute, of which
    /// it keeps some 64 bytes each. Default 262,144. Further ones are refused: those that have ended
    /// are what keeps calls from running twice.
    pub const fn sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions;
        self
    }

    /// How many bytes of frames that wait for others all sessions of a server may hold. Default
    /// 256 MiB. Beyond seven eighths of it datagrams that come too early are dropped, and sent again;
    /// the rest is for large frames that come in their turn.
    pub const fn held_bytes(mut self, bytes: usize) -> Self {
        self.held_bytes = bytes;
        self
    }

    /// Whether a socket that listens on `[::]` is for IPv6 only (`IPV6_V6ONLY`). Default off: it
    /// takes IPv4 too, whatever the system's default is.
    pub const fn only_v6(mut self, on: bool) -> Self {
        self.only_v6 = on;
        self
    }

    /// Whether the server may listen on an address of the public internet without a warning on
    /// standard error. Default off: nothing here is encrypted, and whoever sees the datagrams can
    /// forge them. All addresses of a machine (`0.0.0.0`, `[::]`) are no such address: nobody knows here
    /// which of them are public, and there is no warning.
    pub const fn public(mut self, on: bool) -> Self {
        self.public = on;
        self
    }

    /// Sockets are in this network instead of the system's.
    #[cfg(feature = "testing")]
    pub(crate) fn over(self, network: Arc<dyn crate::testing::Sockets>) -> Self {
        Self { network: Some(network), ..self }
    }

    pub(crate) fn connect_limit(&self) -> Duration {
        self.connect_timeout
    }

    pub(crate) fn listen_on(&self, socket: Arc<dyn Datagrams>) -> io::Result<UdpListener> {
        let mut material = [0; CookieKey::BYTES];
        for chunk in material.chunks_exact_mut(8) {
            chunk.copy_from_slice(&socket.secret()?.to_le_bytes());
        }
        let config = TableConfig {
            // r[impl session.epoch]
            epoch: Epoch(socket.secret()?),
            params: self.params(),
            sessions: self.sessions,
            cookie_lifetime: COOKIE_LIFETIME,
            retention: RETENTION,
        };
        let budget = Budget::new(self.held_bytes);
        UdpListener::new(socket, config, CookieKey::new(&material), budget)
    }

    /// What this side accepts of a session.
    pub(crate) fn params(&self) -> Params {
        let ack_delay = self.ack_delay.min(ACK_DELAY_MAX);
        Params {
            datagram_bytes: u16::try_from(DATAGRAM_BYTES_MAX).unwrap_or(u16::MAX),
            ack_delay_ms: u16::try_from(ack_delay.as_millis()).unwrap_or(u16::MAX),
            window: self.window.clamp(64, 65_536),
            features: 0,
        }
    }

    fn listening_socket(&self, address: SocketAddr) -> io::Result<Arc<dyn Datagrams>> {
        #[cfg(feature = "testing")]
        if let Some(network) = &self.network {
            return network.bind(address);
        }
        let socket = self.bound_socket(address)?;
        if !self.public && is_public(address.ip()) {
            eprintln!(
                "warning: {address} is a public address, and RPC over plain UDP is neither \
                 encrypted nor authenticated (`UdpOptions::public` silences this)"
            );
        }
        Ok(Arc::new(Kernel::new(socket)?))
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
        // So that the system tells when nothing listens there. Some systems don't send from a
        // connected socket when they are told the address once more.
        #[cfg(target_os = "linux")]
        socket.connect(remote)?;
        Ok(Arc::new(Kernel::new(socket)?))
    }

    fn bound_socket(&self, address: SocketAddr) -> io::Result<std::net::UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket.set_only_v6(self.only_v6)?;
        }
        socket.set_nonblocking(true)?;
        // r[impl reset.shared]
        // No address is shared: a reset would speak for another process.
        // A system that refuses more than it allows keeps what it has.
        let _ = socket.set_send_buffer_size(self.send_buffer);
        let _ = socket.set_recv_buffer_size(self.recv_buffer);
        socket.bind(&address.into())?;
        Ok(socket.into())
    }
}

/// A longer delay isn't told apart on the wire.
const ACK_DELAY_MAX: Duration = Duration::from_millis(500);

/// Whether anybody on the internet may reach the address, if routers let them.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let is_shared = matches!(ip.octets(), [100, 64..=127, ..]);
            !(ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_documentation()
                || is_shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_told_from_others() {
        let is_public = |text: &str| is_public(text.parse().unwrap());
        for public in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:4860::1", "::ffff:8.8.8.8"] {
            assert!(is_public(public), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.1.1",
            "0.0.0.0",
            "::",
            "::1",
            "fd00::1",
            "fe80::1",
        ] {
            assert!(!is_public(private), "{private}");
        }
    }
}
