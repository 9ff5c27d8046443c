//! Our calls over TCP, with every default: deadlines, the fence, limits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rpc_core::service::{Handler, Method, Plain, Request, Service};
use rpc_core::{Call, Channel, Server};
use rpc_transport_tcp as transport;

use crate::harness::Target;

const ADD: Method = Method::new("Adder", "add");

struct Adder;

impl Adder {
    #[expect(clippy::unused_async, reason = "handlers are async")]
    async fn add(&self, a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }
}

struct AdderServer(Arc<Adder>);

impl Service for AdderServer {
    fn name(&self) -> &'static str {
        "Adder"
    }
    fn methods(&self) -> &'static [Method] {
        &[ADD]
    }
    fn call(&self, request: Request) -> Handler {
        let service = Arc::clone(&self.0);
        match request.method() {
            id if id == ADD.id() => Box::pin(async move {
                let (a, b) = request.args()?;
                let reply = service.add(a, b).await;
                request.reply::<Plain<u64>>(&reply)
            }),
            _ => request.unknown_method(),
        }
    }
}

/// Starts the server on the current runtime; returns the address it is bound to.
pub(crate) async fn serve(addr: SocketAddr) -> io::Result<SocketAddr> {
    let listener = transport::listen(addr).await?;
    let addr = listener.local_addr();
    let server = Server::builder()
        .service(AdderServer(Arc::new(Adder)))
        .listen(listener)
        .start()
        .map_err(io::Error::other)?;
    tokio::spawn(server.wait());
    Ok(addr)
}

#[derive(Clone)]
pub(crate) struct Client(Channel);

impl Client {
    fn call(&self, a: u64, b: u64) -> Call<u64> {
        self.0.call::<Plain<u64>, _>(&ADD, &(a, b))
    }
}

impl Target for Client {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let channel = Channel::connect(transport::connector(addr)).await;
        channel.map(Self).map_err(io::Error::other)
    }

    async fn add(&self, a: u64, b: u64) -> u64 {
        match self.call(a, b).await {
            Ok(sum) => sum,
            Err(error) => panic!("{error}"),
        }
    }
}
