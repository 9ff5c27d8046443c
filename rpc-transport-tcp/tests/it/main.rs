//! What the TCP transport promises, over loopback sockets.

mod callbacks;
mod conformance;
mod connect;
mod listen;
mod options;
mod promises;

use std::{
    future::poll_fn,
    io::{self, Write},
};

use rpc_core::transport::{Connector, Listener};
use rpc_transport_tcp::{TcpConnector, TcpListener, TcpTransport};

/// Accepts one connection.
async fn accept(listener: &mut TcpListener) -> io::Result<TcpTransport> {
    poll_fn(|cx| listener.poll_accept(cx)).await
}

/// Makes one connection: the client's end and the server's.
async fn pair(
    connector: &TcpConnector,
    listener: &mut TcpListener,
) -> io::Result<(TcpTransport, TcpTransport)> {
    tokio::try_join!(connector.connect(), accept(listener))
}

/// Whether this machine has IPv6; says so when a test is skipped for the lack of it.
fn has_v6() -> bool {
    let bound = std::net::TcpListener::bind("[::1]:0");
    if let Err(cause) = &bound {
        // Not `eprintln`, which the harness keeps to itself.
        let _ = writeln!(io::stderr(), "SKIPPED: this machine has no IPv6 loopback: {cause}");
    }
    bound.is_ok()
}
