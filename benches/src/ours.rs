//! Our calls over TCP and over UDP, with every default: deadlines, the fence, limits.

use std::io;
use std::net::SocketAddr;

use rpc_core::transport::{Connector, Listener};
use rpc_core::{Channel, Server};
use rpc_transport_tcp as tcp;
use rpc_transport_udp as udp;

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
pub(crate) async fn serve_tcp(addr: SocketAddr) -> io::Result<SocketAddr> {
    let listener = tcp::listen(addr).await?;
    let addr = listener.local_addr();
    serve(listener)?;
    Ok(addr)
}

/// The same over UDP.
pub(crate) async fn serve_udp(addr: SocketAddr) -> io::Result<SocketAddr> {
    let listener = udp::listen(addr).await?;
    let addr = listener.local_addr();
    serve(listener)?;
    Ok(addr)
}

fn serve(listener: impl Listener) -> io::Result<()> {
    let mut server = Server::builder()
        .service(AdderServer::new(Wrapping))
        .listen(listener)
        .start()
        .map_err(io::Error::other)?;
    tokio::spawn(async move { server.wait().await });
    Ok(())
}

#[derive(Clone)]
pub(crate) struct TcpClient(AdderClient);

impl Target for TcpClient {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        connect(tcp::connector(addr)).await.map(Self)
    }

    async fn add(&self, a: u64, b: u64) -> u64 {
        add(&self.0, a, b).await
    }
}

#[derive(Clone)]
pub(crate) struct UdpClient(AdderClient);

impl Target for UdpClient {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        connect(udp::connector(addr)).await.map(Self)
    }

    async fn add(&self, a: u64, b: u64) -> u64 {
        add(&self.0, a, b).await
    }
}

async fn connect(connector: impl Connector) -> io::Result<AdderClient> {
    Channel::connect(connector).await.map(AdderClient::new).map_err(io::Error::other)
}

async fn add(client: &AdderClient, a: u64, b: u64) -> u64 {
    match client.add(a, b).await {
        Ok(sum) => sum,
        Err(error) => panic!("{error}"),
    }
}
