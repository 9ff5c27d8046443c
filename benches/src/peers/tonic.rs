//! tonic with prost. What its build script would write from a `.proto` file is written here by hand,
//! in the same shape, so that nobody needs `protoc`.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use ::tonic::codegen::{BoxFuture, Service, http::uri::PathAndQuery};
use ::tonic::server::{NamedService, UnaryService};
use ::tonic::transport::server::TcpIncoming;
use ::tonic::transport::{Channel, Endpoint, Server};
use ::tonic::{Request, Response, Status, body::Body};
use bytes::Bytes;
use prost::Message;
use tokio::net::TcpListener;
use tonic_prost::ProstCodec;

use crate::harness::{Adds, Echoes, Target};

/// The default of 4 MiB is below the largest payload.
const MESSAGE_BYTES_MAX: usize = 128 << 20;

#[derive(Clone, PartialEq, Message)]
struct Terms {
    #[prost(uint64, tag = "1")]
    a: u64,
    #[prost(uint64, tag = "2")]
    b: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Sum {
    #[prost(uint64, tag = "1")]
    sum: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Payload {
    #[prost(bytes = "bytes", tag = "1")]
    bytes: Bytes,
}

const ADD: &str = "/bench.Bench/Add";
const ECHO: &str = "/bench.Bench/Echo";

pub(crate) async fn serve(addr: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = Server::builder().add_service(BenchServer).serve_with_incoming(incoming);
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            eprintln!("tonic: the server stopped: {error}");
        }
    });
    Ok(addr)
}

#[derive(Clone)]
struct BenchServer;

impl NamedService for BenchServer {
    const NAME: &'static str = "bench.Bench";
}

impl Service<http::Request<Body>> for BenchServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            ADD => Box::pin(async move {
                let mut grpc = ::tonic::server::Grpc::new(ProstCodec::default());
                Ok(grpc.unary(Add, request).await)
            }),
            ECHO => Box::pin(async move {
                let mut grpc = ::tonic::server::Grpc::new(ProstCodec::default())
                    .max_decoding_message_size(MESSAGE_BYTES_MAX);
                Ok(grpc.unary(Echo, request).await)
            }),
            _ => Box::pin(async move { Ok(Status::unimplemented("no such method").into_http()) }),
        }
    }
}

struct Add;

impl UnaryService<Terms> for Add {
    type Response = Sum;
    type Future = BoxFuture<Response<Sum>, Status>;

    fn call(&mut self, request: Request<Terms>) -> Self::Future {
        let Terms { a, b } = request.into_inner();
        Box::pin(async move { Ok(Response::new(Sum { sum: a.wrapping_add(b) })) })
    }
}

struct Echo;

impl UnaryService<Payload> for Echo {
    type Response = Payload;
    type Future = BoxFuture<Response<Payload>, Status>;

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(request.into_inner())) })
    }
}

#[derive(Clone)]
pub(crate) struct Client(::tonic::client::Grpc<Channel>);

impl Target for Client {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(io::Error::other)?;
        let channel = endpoint.tcp_nodelay(true).connect().await.map_err(io::Error::other)?;
        let grpc = ::tonic::client::Grpc::new(channel);
        Ok(Self(grpc.max_decoding_message_size(MESSAGE_BYTES_MAX)))
    }
}

impl Client {
    /// What a generated method does.
    async fn call<M, R>(&self, path: &'static str, message: M) -> Result<R, Status>
    where
        M: Message + 'static,
        R: Message + Default + 'static,
    {
        let mut grpc = self.0.clone();
        grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let path = PathAndQuery::from_static(path);
        let reply = grpc.unary(Request::new(message), path, ProstCodec::default()).await?;
        Ok(reply.into_inner())
    }
}

impl Adds for Client {
    async fn add(&self, a: u64, b: u64) -> u64 {
        let Sum { sum } = self.call(ADD, Terms { a, b }).await.expect("the server answers");
        sum
    }
}

impl Echoes for Client {
    async fn echo(&self, payload: Bytes) -> Bytes {
        let sent = Payload { bytes: payload };
        let Payload { bytes } = self.call(ECHO, sent).await.expect("the server answers");
        bytes
    }
}
