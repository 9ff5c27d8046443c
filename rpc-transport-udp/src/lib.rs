//! The UDP transport of [`rpc_core`]: frames in datagrams, reliable and at most once; no encryption.
//!
//! ```
//! use std::future::poll_fn;
//!
//! use rpc_core::transport::{Connector, Listener, Transport};
//! use rpc_transport_udp as transport;
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
//! It is TCP's place in a program: `use rpc_transport_udp as transport;` instead of
//! `use rpc_transport_tcp as transport;`, and every promise of calls holds as before. What it does for
//! that is specified in `spec/datagram.md`, so that a client can be written in another language.
//!
//! # Guarantees
//!
//! - A frame arrives once and whole, in the order of its lane, or the session ends with an error.
//!   Lanes don't wait for each other: a datagram that is lost holds up the calls that were in it.
//! - A call runs at most once, whatever the network does to datagrams: it may lose, repeat, delay and
//!   reorder them, and servers may restart. A model of the rules, with a mutant of each, shows which
//!   ones that needs.
//! - Nothing is kept of a stranger, and nothing is sent to an address that isn't proved but answers
//!   that are no longer than what came from there.
//! - A datagram that was damaged on its way is dropped (CRC-32C; UDP's own checksum misses some).
//! - It shares a path fairly: CUBIC with HyStart++, pacing, and ECN as RFC 9002 and 9438 have it.
//! - A client may come from another address at any time, as behind a NAT; its calls go on.
//! - An idle session sends nothing.
//!
//! # When to use it
//!
//! On networks that you trust, where datagrams are lost and calls are many and small. Whoever sees
//! the datagrams can read and forge them: over the internet use a transport with encryption.
//! Listening on a public address prints a warning. One address belongs to one server process at a
//! time, and not to a balancer that spreads datagrams over several.
//!
//! The path has to take datagrams of 1,200 bytes, as QUIC wants it; one that doesn't fails the
//! connect, with that reason. Larger ones, up to 1,452 bytes, are found by probing.
//!
//! # Set-up
//!
//! The first call of a session takes two round trips, all others take one. A server that is gone is
//! noticed as over TCP by core's pings, within 8 seconds while calls wait; one that has restarted by
//! the first datagram that reaches the new process, which also tells which calls certainly didn't
//! run.
//!
//! # Options
//!
//! [`listen`] and [`connector()`] use the defaults. Others are set through [`UdpOptions`]:
//!
//! ```
//! # use std::time::Duration;
//! # use rpc_transport_udp::UdpOptions;
//! let connector =
//!     UdpOptions::new().connect_timeout(Duration::from_secs(1)).connector("db.example:7000");
//! ```
//!
//! | option | default | side |
//! |---|---|---|
//! | [`connect_timeout`](UdpOptions::connect_timeout) | 5 s | client |
//! | [`send_buffer`](UdpOptions::send_buffer) | 4 MiB are asked for | both |
//! | [`recv_buffer`](UdpOptions::recv_buffer) | 4 MiB are asked for | both |
//! | [`window`](UdpOptions::window) | 4096 frames | both |
//! | [`ack_delay`](UdpOptions::ack_delay) | 5 ms | both |
//! | [`sessions`](UdpOptions::sessions) | 262,144, with those that ended within a minute | server |
//! | [`held_bytes`](UdpOptions::held_bytes) | 256 MiB | server |
//! | [`only_v6`](UdpOptions::only_v6) | off | server |
//! | [`public`](UdpOptions::public) | off: a warning | server |
//!
//! A peer that acknowledges nothing for 30 s is given up.
//!
//! # Addresses
//!
//! They are written as for TCP: a host and a port, `127.0.0.1:7000`, `[::1]:7000`,
//! `localhost:7000`. Names are resolved again at every connect, and their addresses tried in turn,
//! the next one beside the last after 250 ms; the first that answers wins. **Port 0** lets the system
//! choose; [`UdpListener::local_addr`] tells which.

#![cfg_attr(
    all(fuzzing, not(test)),
    allow(
        dead_code,
        unused_imports,
        reason = "targets share their rigs with tests, which are compiled without what is tested"
    )
)]
// Nothing that a peer sends may end the process: what could panic is refused, or says why it can't.
#![cfg_attr(
    not(any(fuzzing, test)),
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

mod driver;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(all(test, rpc_shuttle))]
mod models;
mod options;
mod planted;
mod proto;
mod spares;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;

use std::io;

pub use driver::{UdpConnector, UdpListener, UdpTransport};
pub use options::UdpOptions;

/// Listens on `addr` with the default [`UdpOptions`].
///
/// # Errors
/// The address is malformed (`InvalidInput`), its name can't be resolved, or none of its addresses
/// can be bound; the message names each with its cause.
pub async fn listen(addr: impl ToString) -> io::Result<UdpListener> {
    UdpOptions::new().listen(addr).await
}

/// Connects to `addr` with the default [`UdpOptions`], whenever a session is needed.
///
/// Nothing happens here: names are resolved, and a malformed address is reported, at each connect.
#[must_use]
pub fn connector(addr: impl ToString) -> UdpConnector {
    UdpOptions::new().connector(addr)
}
