//! The TCP transport of [`rpc_core`]: sockets and their options; frames are cut by rpc-core's
//! length-prefix adaptor.
//!
//! ```
//! use std::future::poll_fn;
//!
//! use rpc_core::transport::{Connector, Listener, Transport};
//! use rpc_transport_tcp as transport;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! // What a server is given, and what a client is given:
//! let mut listener = transport::listen("127.0.0.1:0").await?;
//! let connector = transport::connector(listener.local_addr());
//!
//! // What they do with it:
//! let client = connector.connect().await?;
//! let server = poll_fn(|cx| listener.poll_accept(cx)).await?;
//! assert_eq!(client.peer().address().as_socket(), Some(listener.local_addr()));
//! # drop(server);
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - `TCP_NODELAY` is set on every socket: connected, accepted or [handed in](from_stream). There
//!   is no [`TcpTransport`] without it.
//! - A connection attempt ends within the connect timeout, and its error names every address tried
//!   with the cause: `127.0.0.1:7000: Connection refused (os error 111)`.
//! - A failed accept never ends the listener: the error concerns that one connection.
//! - The peer's address is what the kernel says. An IPv4 client of an IPv6 socket has its IPv4
//!   address, not `::ffff:…`.
//! - A connection that TCP made by accident from a port to itself (reconnecting to a dead server on
//!   this host can do that) is refused.
//!
//! # Options
//!
//! [`listen`] and [`connector()`] use the defaults. Others are set through [`TcpOptions`]:
//!
//! ```
//! # use std::time::Duration;
//! # use rpc_transport_tcp::TcpOptions;
//! let connector = TcpOptions::new()
//!     .connect_timeout(Duration::from_secs(1))
//!     .user_timeout(None)
//!     .connector("db.example:7000");
//! ```
//!
//! | option | default | socket option | side |
//! |---|---|---|---|
//! | [`connect_timeout`](TcpOptions::connect_timeout) | 5 s | | client |
//! | [`send_buffer`](TcpOptions::send_buffer) | the kernel tunes it | `SO_SNDBUF` | both |
//! | [`recv_buffer`](TcpOptions::recv_buffer) | the kernel tunes it | `SO_RCVBUF` | both |
//! | [`unsent_bytes`](TcpOptions::unsent_bytes) | no limit | `TCP_NOTSENT_LOWAT` (Linux) | both |
//! | [`backlog`](TcpOptions::backlog) | 1024 | | server |
//! | [`keepalive`](TcpOptions::keepalive) | on | `SO_KEEPALIVE` | both |
//! | [`keepalive_time`](TcpOptions::keepalive_time) | 60 s | `TCP_KEEPIDLE` | both |
//! | [`keepalive_interval`](TcpOptions::keepalive_interval) | 10 s | `TCP_KEEPINTVL` | both |
//! | [`keepalive_count`](TcpOptions::keepalive_count) | 6 | `TCP_KEEPCNT` | both |
//! | [`user_timeout`](TcpOptions::user_timeout) | 30 s | `TCP_USER_TIMEOUT` (Linux) | both |
//! | [`reuse_address`](TcpOptions::reuse_address) | on, except Windows | `SO_REUSEADDR` | server |
//! | [`only_v6`](TcpOptions::only_v6) | off | `IPV6_V6ONLY` | server |
//!
//! # Addresses
//!
//! An address is a host and a port: `127.0.0.1:7000`, `[::1]:7000`, `localhost:7000`. Anything else
//! gets an error that says what to write.
//!
//! - **Names** are resolved again at every connect, through the system's resolver. The addresses
//!   are tried in turn, IPv6 and IPv4 alternately; when one has neither answered nor failed within
//!   250 ms the next is tried beside it, and the first connection wins (RFC 8305). A listener binds
//!   the first address that it can.
//! - **IPv6** addresses stand in brackets. `[::]:7000` accepts IPv4 too, whatever the system's
//!   default is, unless [`only_v6`](TcpOptions::only_v6) is set. A link-local address needs its
//!   interface: `[fe80::1%eth0]:7000` or `[fe80::1%2]:7000`.
//! - **Port 0** lets the system choose; [`TcpListener::local_addr`] tells which.

// Nothing that a peer sends may end the process: what could panic is refused, or says why it can't.
#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unimplemented,
        clippy::unreachable
    )
)]

mod connector;
mod listener;
mod options;
mod transport;

use std::io;

pub use connector::TcpConnector;
pub use listener::TcpListener;
pub use options::TcpOptions;
pub use transport::TcpTransport;

/// Listens on `addr` with the default [`TcpOptions`].
///
/// # Errors
/// The address is malformed (`InvalidInput`), its name can't be resolved, or none of its addresses
/// can be bound; the message names each with its cause.
///
/// # Cancel safety
/// Dropping the future leaves nothing bound.
pub async fn listen(addr: impl ToString) -> io::Result<TcpListener> {
    TcpOptions::new().listen(addr).await
}

/// Connects to `addr` with the default [`TcpOptions`], whenever a connection is needed.
///
/// Nothing happens here: names are resolved, and a malformed address is reported, at each connect.
#[must_use]
pub fn connector(addr: impl ToString) -> TcpConnector {
    TcpOptions::new().connector(addr)
}

/// Uses a connected socket. It keeps its options, except that `TCP_NODELAY` is set.
///
/// # Errors
/// The socket isn't connected any more.
pub fn from_stream(stream: tokio::net::TcpStream) -> io::Result<TcpTransport> {
    let peer = stream.peer_addr()?;
    TcpTransport::new(stream, peer)
}
