//! Our calls over TCP and over UDP, with the defaults: deadlines, the fence, limits.

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;

use bytes::Bytes;
use rpc_core::transport::{Connector, Listener};
use rpc_core::{Channel, Server};
use rpc_transport_tcp as tcp;
use rpc_transport_udp as udp;

use crate::harness::{Adds, Echoes, Target};

/// More than any scenario has; by default a server takes 16,384, and runs 65,536 calls at a time.
const CONNECTIONS: usize = 20_000;
const CALLS: usize = 200_000;

#[rpc_core::service]
trait Bench {
    async fn add(&self, a: u64, b: u64) -> u64;
    async fn echo(&self, payload: Bytes) -> Bytes;
}

struct Plain;

impl Bench for Plain {
    async fn add(&self, a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }
    async fn echo(&self, payload: Bytes) -> Bytes {
        payload
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
        .service(BenchServer::new(Plain))
        .listen(listener)
        .connections(CONNECTIONS)
        .calls(CALLS)
        .start()
        .map_err(io::Error::other)?;
    tokio::spawn(async move { server.wait().await });
    Ok(())
}

/// What differs between a client over TCP and one over UDP.
pub(crate) trait Over: Clone + Send + Sync + 'static {
    fn connector(addr: SocketAddr) -> impl Connector;
}

#[derive(Clone)]
pub(crate) struct Tcp;

impl Over for Tcp {
    fn connector(addr: SocketAddr) -> impl Connector {
        tcp::connector(addr)
    }
}

#[derive(Clone)]
pub(crate) struct Udp;

impl Over for Udp {
    fn connector(addr: SocketAddr) -> impl Connector {
        udp::connector(addr)
    }
}

#[derive(Clone)]
pub(crate) struct Client<O>(BenchClient, PhantomData<O>);

impl<O: Over> Target for Client<O> {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let channel = Channel::connect(O::connector(addr)).await.map_err(io::Error::other)?;
        Ok(Self(BenchClient::new(channel), PhantomData))
    }
}

impl<O: Over> Adds for Client<O> {
    async fn add(&self, a: u64, b: u64) -> u64 {
        match self.0.add(a, b).await {
            Ok(sum) => sum,
            Err(error) => panic!("{error}"),
        }
    }
}

impl<O: Over> Echoes for Client<O> {
    async fn echo(&self, payload: Bytes) -> Bytes {
        match self.0.echo(payload).await {
            Ok(payload) => payload,
            Err(error) => panic!("{error}"),
        }
    }
}
