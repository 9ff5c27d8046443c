//! The transport contract, over loopback sockets, as rpc-core's kit checks it.

use rpc_core::testing::conformance;
use rpc_transport_udp::{UdpOptions, UdpTransport};

use crate::pair;

/// A session through a listener of its own.
async fn connected_pair(options: UdpOptions, addr: &str) -> (UdpTransport, UdpTransport) {
    let mut listener = options.clone().listen(addr).await.expect("a free port");
    let connector = options.connector(listener.local_addr());
    pair(&connector, &mut listener).await.expect("a loopback session")
}

#[tokio::test]
async fn conforms() {
    conformance::run(|| connected_pair(UdpOptions::new(), "127.0.0.1:0")).await;
}
