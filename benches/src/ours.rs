//! Our calls over TCP, with every default: deadlines, the fence, limits.

use std::io;
use std::net::SocketAddr;

use rpc_core::{Channel, Server};
use rpc_transport_tcp as transport;

use crate::harness::Target;

#[rpc_core::service]
trait Adder {
    async fn add(&self, a: u64, b: u64) -> u64;
}

struct Wrapping;

impl Adder for Wrapping {
    async fn add(&self, a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }
}

/// Starts the server on the current runtime; returns the address it is bound to.
pub(crate) async fn serve(addr: SocketAddr) -> io::Result<SocketAddr> {
    let listener = transport::listen(addr).await?;
    let addr = listener.local_addr();
    let mut server = Server::builder()
        .service(AdderServer::new(Wrapping))
        .listen(listener)
        .start()
        .map_err(io::Error::other)?;
    tokio::spawn(async move { server.wait().await });
    Ok(addr)
}

#[derive(Clone)]
pub(crate) struct Client(AdderClient);

impl Target for Client {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let channel = Channel::connect(transport::connector(addr)).await;
        channel.map(AdderClient::new).map(Self).map_err(io::Error::other)
    }

    async fn add(&self, a: u64, b: u64) -> u64 {
        match self.0.add(a, b).await {
            Ok(sum) => sum,
            Err(error) => panic!("{error}"),
        }
    }
}
