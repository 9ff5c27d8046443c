//! What calls promise, over loopback sockets, as rpc-core's kit checks it.

use std::io;

use rpc_core::{
    testing::promises::{Kit, Network},
    transport::{Address, Connector, Listener},
};
use rpc_transport_udp::{connector, listen};

#[tokio::test]
async fn calls_keep_their_promises() {
    let tally = Kit::new().seeds(20).run(|_| Loopback).await;
    eprintln!("UDP: {tally}");
}

/// A port of this machine.
struct Loopback;

impl Network for Loopback {
    async fn listen(&self, again: Option<&Address>) -> io::Result<impl Listener> {
        listen(again.map_or("127.0.0.1:0".to_owned(), ToString::to_string)).await
    }

    fn connector(&self, to: &Address) -> impl Connector {
        connector(to)
    }
}
