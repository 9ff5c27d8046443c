//! Socket options: their defaults, and setting them; NODELAY is not among them, it is always set.

use std::{io, net::SocketAddr, time::Duration};

use rpc_core::transport::ip::Target;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

use crate::{TcpConnector, TcpListener};

/// How sockets are set up, and the listeners and connectors that do so.
///
/// The defaults suit most; see the [table](crate#options). Options that only concern one side are
/// ignored by the other. A value that the system refuses is reported by
/// [`listen`](TcpOptions::listen) and by each connect.
#[derive(Debug, Clone)]
#[must_use = "options do nothing until `listen` or `connector` is called"]
pub struct TcpOptions {
    pub(crate) connect_timeout: Duration,
    send_buffer: Option<usize>,
    recv_buffer: Option<usize>,
    unsent_bytes: Option<u32>,
    backlog: u32,
    keepalive: bool,
    keepalive_time: Duration,
    keepalive_interval: Duration,
    keepalive_count: u32,
    user_timeout: Option<Duration>,
    reuse_address: bool,
    only_v6: bool,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl TcpOptions {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            send_buffer: None,
            recv_buffer: None,
            unsent_bytes: None,
            backlog: 1024,
            keepalive: true,
            keepalive_time: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(10),
            keepalive_count: 6,
            user_timeout: Some(Duration::from_secs(30)),
            // On Windows the option means something else: to take over a port that is in use.
            reuse_address: cfg!(not(windows)),
            only_v6: false,
        }
    }

    /// Listens on `addr`; see [`listen`](crate::listen).
    ///
    /// # Errors
    /// The address is malformed (`InvalidInput`), its name can't be resolved, or none of its
    /// addresses can be bound; the message names each with its cause.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    pub async fn listen(self, addr: impl ToString) -> io::Result<TcpListener> {
        let target = Target::parse(&addr.to_string())?;
        TcpListener::bind(&target, self).await
    }

    /// Connects to `addr` whenever a connection is needed; see [`connector`](crate::connector()).
    #[must_use]
    pub fn connector(self, addr: impl ToString) -> TcpConnector {
        TcpConnector::new(addr.to_string(), self)
    }

    /// How long a connect may take: resolving the name and trying all its addresses. Default 5 s.
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The kernel's send buffer in bytes (`SO_SNDBUF`). Default `None`: the kernel tunes it, which
    /// a fixed value switches off. Linux doubles the value and caps it at `net.core.wmem_max`.
    pub fn send_buffer(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.send_buffer = bytes.into();
        self
    }

    /// The kernel's receive buffer in bytes (`SO_RCVBUF`), and so the window that the peer may
    /// fill. Default `None`: the kernel tunes it, which a fixed value switches off. Linux doubles
    /// the value and caps it at `net.core.rmem_max`.
    pub fn recv_buffer(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.recv_buffer = bytes.into();
        self
    }

    /// How many bytes may wait in the kernel to be sent for the first time before the socket takes
    /// no more (`TCP_NOTSENT_LOWAT`; Linux and Android, ignored elsewhere). Default `None`: as many
    /// as the send buffer holds.
    ///
    /// What waits in the kernel can't be overtaken. Where small calls share a connection with large
    /// messages, some 128 KiB, beside a small [`Limits::window_bytes`](rpc_core::Limits), let them
    /// pass; it costs more wake-ups per byte.
    pub fn unsent_bytes(mut self, bytes: impl Into<Option<u32>>) -> Self {
        self.unsent_bytes = bytes.into();
        self
    }

    /// How many established connections wait for the server to accept them; beyond that clients'
    /// attempts go unanswered until there is room. Default 1024. Linux caps it at
    /// `net.core.somaxconn`.
    pub const fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Whether the kernel probes an idle connection's peer (`SO_KEEPALIVE`). Default on.
    ///
    /// It finds dead peers of connections without calls, and keeps the entries of NATs and
    /// firewalls alive. While calls are in flight rpc-core's own pings find out sooner.
    pub const fn keepalive(mut self, on: bool) -> Self {
        self.keepalive = on;
        self
    }

    /// How long a connection is idle before the first probe (`TCP_KEEPIDLE`). Default 60 s. Rounded
    /// up to whole seconds, at least one; Linux refuses more than 32,767.
    pub const fn keepalive_time(mut self, idle: Duration) -> Self {
        self.keepalive_time = idle;
        self
    }

    /// The time between probes (`TCP_KEEPINTVL`). Default 10 s. Rounded up to whole seconds, at
    /// least one; Linux refuses more than 32,767.
    pub const fn keepalive_interval(mut self, interval: Duration) -> Self {
        self.keepalive_interval = interval;
        self
    }

    /// How many unanswered probes end the connection (`TCP_KEEPCNT`). Default 6, at least one;
    /// Linux refuses more than 127.
    ///
    /// On Linux [`user_timeout`](Self::user_timeout), when set, decides instead.
    pub const fn keepalive_count(mut self, probes: u32) -> Self {
        self.keepalive_count = probes;
        self
    }

    /// How long sent data may stay unacknowledged, or wait for room in the peer's window, before
    /// the kernel ends the connection (`TCP_USER_TIMEOUT`; Linux and Android, ignored elsewhere).
    /// Default 30 s. `None` leaves it to the kernel's retransmissions, about 15 minutes.
    ///
    /// It concerns a peer that stopped reading as well as one that is gone: whatever halts a peer
    /// for longer (a debugger, `SIGSTOP`) costs it the connections on which data waits.
    ///
    /// It also replaces [`keepalive_count`](Self::keepalive_count): an idle connection ends at the
    /// first probe that is due once the peer has been silent for this long and one probe has gone
    /// unanswered. With the defaults that is 70 s after the last sign of life (60 s idle, then one
    /// interval); without a user timeout it would be 120 s.
    pub fn user_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.user_timeout = limit.into();
        self
    }

    /// Whether a listener may bind a port on which connections of an earlier process are still
    /// being wound up (`SO_REUSEADDR`), so that a server can restart at once. Default on, except on
    /// Windows, where it would allow two servers on one port.
    pub const fn reuse_address(mut self, on: bool) -> Self {
        self.reuse_address = on;
        self
    }

    /// Whether a listener on `[::]` leaves IPv4 alone (`IPV6_V6ONLY`). Default off: it accepts
    /// both. Always set explicitly, so that the system's default doesn't matter.
    pub const fn only_v6(mut self, on: bool) -> Self {
        self.only_v6 = on;
        self
    }

    /// A socket to connect to `address` from.
    pub(crate) fn connecting_socket(&self, address: SocketAddr) -> io::Result<TcpSocket> {
        let socket = new_socket(address)?;
        // Before the SYN, which carries the scale of the window.
        self.apply_buffers(&socket)?;
        self.apply_to(SockRef::from(&socket))?;
        Ok(socket)
    }

    /// A socket to listen on `address` with.
    pub(crate) fn listening_socket(&self, address: SocketAddr) -> io::Result<TcpSocket> {
        let socket = new_socket(address)?;
        named("SO_REUSEADDR", socket.set_reuseaddr(self.reuse_address))?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            named("IPV6_V6ONLY", SockRef::from(&socket).set_only_v6(self.only_v6))?;
        }
        // Accepted sockets inherit them (on some systems only the buffers), and bad values are
        // refused at once.
        self.apply_buffers(&socket)?;
        self.apply_to(SockRef::from(&socket))?;
        Ok(socket)
    }

    /// The backlog as far as `listen(2)` can express it.
    pub(crate) fn backlog_clamped(&self) -> u32 {
        self.backlog.min(i32::MAX.unsigned_abs())
    }

    /// Sets what an accepted connection doesn't inherit on every system.
    pub(crate) fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        self.apply_to(SockRef::from(stream))
    }

    fn apply_buffers(&self, socket: &TcpSocket) -> io::Result<()> {
        let socket = SockRef::from(socket);
        // The option is a C int.
        let bytes_max = i32::MAX.unsigned_abs() as usize;
        if let Some(bytes) = self.send_buffer {
            named("SO_SNDBUF", socket.set_send_buffer_size(bytes.min(bytes_max)))?;
        }
        if let Some(bytes) = self.recv_buffer {
            named("SO_RCVBUF", socket.set_recv_buffer_size(bytes.min(bytes_max)))?;
        }
        Ok(())
    }

    fn apply_to(&self, socket: SockRef<'_>) -> io::Result<()> {
        if self.keepalive {
            named("the keepalive options", socket.set_tcp_keepalive(&self.probes()))?;
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(limit) = self.user_timeout {
            // 0 would mean none.
            let limit = limit.max(Duration::from_millis(1));
            named("TCP_USER_TIMEOUT", socket.set_tcp_user_timeout(Some(limit)))?;
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(bytes) = self.unsent_bytes {
            named("TCP_NOTSENT_LOWAT", socket.set_tcp_notsent_lowat(bytes))?;
        }
        Ok(())
    }

    fn probes(&self) -> TcpKeepalive {
        let probes = TcpKeepalive::new().with_time(whole_seconds(self.keepalive_time));
        #[cfg(any(
            target_os = "linux",
            target_os = "android",
            target_os = "macos",
            target_os = "ios",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "dragonfly",
            target_os = "illumos",
            windows,
        ))]
        let probes = probes
            .with_interval(whole_seconds(self.keepalive_interval))
            .with_retries(self.keepalive_count.max(1));
        probes
    }
}

fn new_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

/// Adds the option's name to a refusal, which otherwise says "invalid argument" only.
fn named(option: &str, result: io::Result<()>) -> io::Result<()> {
    result.map_err(|e| io::Error::new(e.kind(), format!("cannot set {option}: {e}")))
}

/// Rounded up, at least 1: the kernel counts seconds, and refuses 0.
fn whole_seconds(duration: Duration) -> Duration {
    let round_up = u64::from(duration.subsec_nanos() > 0);
    Duration::from_secs(duration.as_secs().saturating_add(round_up).max(1))
}
