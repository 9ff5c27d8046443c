//! Serves greetings, and prints where.

use std::{
    convert::Infallible,
    error::Error,
    task::{Context, Poll},
};

use hello_tonic::{Greeting, HELLO, Name};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service},
    server::{Grpc, NamedService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

#[derive(Clone)]
struct English;

impl UnaryService<Name> for English {
    type Response = Greeting;
    type Future = BoxFuture<Response<Greeting>, Status>;

    fn call(&mut self, request: Request<Name>) -> Self::Future {
        let Name { name } = request.into_inner();
        Box::pin(async move { Ok(Response::new(Greeting { text: format!("Hello, {name}!") })) })
    }
}

#[derive(Clone)]
struct GreeterServer;

impl NamedService for GreeterServer {
    const NAME: &'static str = "hello.Greeter";
}

impl Service<http::Request<Body>> for GreeterServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            HELLO => Box::pin(async move {
                Ok(Grpc::new(ProstCodec::default()).unary(English, request).await)
            }),
            _ => Box::pin(async move { Ok(Status::unimplemented("no such method").into_http()) }),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let incoming = TcpIncoming::from(listener);
    Server::builder().add_service(GreeterServer).serve_with_incoming(incoming).await?;
    Ok(())
}
