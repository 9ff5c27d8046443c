//! Sockets whose buffers are too small for what comes at once: what doesn't fit is lost, and sent again.
//! How much that was says Linux.

use bytes::Bytes;
use rpc_core::{Channel, Server};
use rpc_transport_udp::UdpOptions;
use tokio::task::JoinSet;

use crate::network::{EchoClient, EchoServer, Mirror};

/// Case U11 of `spec/cases.md`. Each side sends much more at once than the other's socket has room for.
#[tokio::test]
async fn what_overflows_a_sockets_buffer_comes_again_and_every_call_is_answered() {
    // The least that the system gives: two datagrams or so.
    let options = UdpOptions::new().recv_buffer(1);
    let listener = options.clone().listen("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr();
    let server = Server::builder().service(EchoServer::new(Mirror)).listen(listener).start();
    let client = EchoClient::new(Channel::builder().lazy(options.connector(address)));
    let mut calls = JoinSet::new();
    for call in 0..40_u8 {
        let sent = Bytes::from(vec![call; 20_000]);
        let echo = client.echo(sent.clone()).no_deadline();
        calls.spawn(async move { assert!(echo.await.expect("an echo") == sent) });
    }
    while let Some(ended) = calls.join_next().await {
        ended.expect("the bytes that were sent");
    }
    let lost = overflows(address.port());
    eprintln!("{lost} datagrams were lost for want of room");
    assert!(lost > 0, "nothing has overflowed, so nothing was tested");
    assert_eq!(server.expect("a server").counters().connections, 1, "one session all the time");
}

/// How many datagrams for this port of 127.0.0.1 the system had no room for.
fn overflows(port: u16) -> u64 {
    let sockets = std::fs::read_to_string("/proc/net/udp").expect("the list of sockets");
    let address = format!("0100007F:{port:04X}");
    let mut lines = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let socket = lines.find(|cells| cells.get(1) == Some(&address.as_str())).expect("the socket");
    socket.last().and_then(|lost| lost.parse().ok()).expect("a number of drops")
}
