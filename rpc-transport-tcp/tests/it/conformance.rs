//! The transport contract, over loopback sockets, as rpc-core's kit checks it.

use rpc_core::testing::conformance;
use rpc_transport_tcp::{TcpOptions, TcpTransport};

use crate::{has_v6, pair};

/// A connection through a listener of its own.
async fn connected_pair(options: TcpOptions, addr: &str) -> (TcpTransport, TcpTransport) {
    let mut listener = options.clone().listen(addr).await.expect("a free port");
    let connector = options.connector(listener.local_addr());
    pair(&connector, &mut listener).await.expect("a loopback connection")
}

#[tokio::test]
async fn conforms() {
    conformance::run(|| connected_pair(TcpOptions::new(), "127.0.0.1:0")).await;
}

#[tokio::test]
async fn conforms_over_ipv6() {
    if has_v6() {
        conformance::run(|| connected_pair(TcpOptions::new(), "[::1]:0")).await;
    }
}

/// Frames are cut into many pieces, and writers wait all the time.
#[tokio::test]
async fn conforms_with_small_buffers() {
    // Below 8 KiB or so Linux sends by its window probe timer, a few hundred bytes at a time.
    let options = TcpOptions::new().send_buffer(16 * 1024).recv_buffer(16 * 1024);
    conformance::run(|| connected_pair(options.clone(), "127.0.0.1:0")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_among_threads() {
    let kit = async { conformance::run(|| connected_pair(TcpOptions::new(), "localhost:0")).await };
    tokio::spawn(kit).await.expect("no panic");
}
