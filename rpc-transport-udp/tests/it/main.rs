//! What the UDP transport promises, over loopback sockets.

#[cfg(target_os = "linux")]
mod bursts;
mod callbacks;
mod conformance;
mod connect;
mod listen;
mod network;
mod promises;
mod simulation;
mod streams;

use std::{
    future::poll_fn,
    io::{self, Write},
};

use rpc_core::transport::{Connector, Listener};
use rpc_transport_udp::{UdpConnector, UdpListener, UdpTransport};

/// Accepts one session.
async fn accept(listener: &mut UdpListener) -> io::Result<UdpTransport> {
    poll_fn(|cx| listener.poll_accept(cx)).await
}

/// Sets one session up: the client's end and the server's.
async fn pair(
    connector: &UdpConnector,
    listener: &mut UdpListener,
) -> io::Result<(UdpTransport, UdpTransport)> {
    tokio::try_join!(connector.connect(), accept(listener))
}

/// Whether this machine has IPv6; says so when a test is skipped for the lack of it.
fn has_v6() -> bool {
    let bound = std::net::UdpSocket::bind("[::1]:0");
    if let Err(cause) = &bound {
        // Not `eprintln`, which the harness keeps to itself.
        let _ = writeln!(io::stderr(), "SKIPPED: this machine has no IPv6 loopback: {cause}");
    }
    bound.is_ok()
}
