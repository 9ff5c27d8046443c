//! What the UDP transport promises, over loopback sockets.

mod conformance;
mod promises;
mod simulation;

use std::{future::poll_fn, io};

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
