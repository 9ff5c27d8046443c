//! Cap'n Proto's RPC over TCP, as in its examples. What it generates is in `schema`, so that nobody needs
//! its compiler.
//!
//! Its clients and connections belong to one thread. Here they are used from tasks that might move, and
//! don't, as the runtime has one worker: `SendWrapper` panics if that were to change, and costs a
//! comparison.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ::capnp::message::ReaderOptions;
use bytes::Bytes;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::twoparty::VatNetwork;
use capnp_rpc::{RpcSystem, new_client};
use futures::AsyncReadExt;
use futures::io::{BufReader, BufWriter};
use send_wrapper::SendWrapper;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_util::compat::TokioAsyncReadCompatExt;

use self::bench_capnp::bench;
use crate::harness::{Adds, Echoes, Target};
use crate::tcp;

#[rustfmt::skip]
#[path = "schema/bench_capnp.rs"]
#[allow(clippy::all, clippy::pedantic, clippy::use_self, warnings, reason = "a tool writes it")]
mod bench_capnp;

struct Plain;

impl bench::Server for Plain {
    async fn add(
        self: Rc<Self>,
        params: bench::AddParams,
        mut results: bench::AddResults,
    ) -> Result<(), ::capnp::Error> {
        let terms = params.get()?;
        results.get().set_sum(terms.get_a().wrapping_add(terms.get_b()));
        Ok(())
    }

    async fn echo(
        self: Rc<Self>,
        params: bench::EchoParams,
        mut results: bench::EchoResults,
    ) -> Result<(), ::capnp::Error> {
        results.get().set_payload(params.get()?.get_payload()?);
        Ok(())
    }
}

pub(crate) async fn serve(addr: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            // A client that is gone needs no answer.
            let Ok(()) = stream.set_nodelay(true) else { continue };
            let client: bench::Client = new_client(Plain);
            let system =
                RpcSystem::new(Box::new(network(stream, Side::Server)), Some(client.client));
            tokio::spawn(SendWrapper::new(async move {
                // That a client has gone is how connections end.
                drop(system.await);
            }));
        }
    });
    Ok(addr)
}

fn network(
    stream: TcpStream,
    side: Side,
) -> VatNetwork<BufReader<impl futures::AsyncRead + Unpin>> {
    let (reader, writer) = stream.compat().split();
    // The default counts 64 MiB in all, below the largest payload.
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(None);
    VatNetwork::new(BufReader::new(reader), BufWriter::new(writer), side, options)
}

#[derive(Clone)]
pub(crate) struct Client(SendWrapper<Rc<Connection>>);

struct Connection {
    bench: bench::Client,
    system: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.system.abort();
    }
}

impl Target for Client {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = tcp::connect(addr).await?;
        let mut system = RpcSystem::new(Box::new(network(stream, Side::Client)), None);
        let bench = system.bootstrap(Side::Server);
        let system = tokio::spawn(SendWrapper::new(async move {
            drop(system.await);
        }));
        let system = system.abort_handle();
        Ok(Self(SendWrapper::new(Rc::new(Connection { bench, system }))))
    }
}

impl Adds for Client {
    fn add(&self, a: u64, b: u64) -> impl Future<Output = u64> + Send {
        let mut request = self.0.bench.add_request();
        request.get().set_a(a);
        request.get().set_b(b);
        SendWrapper::new(async move {
            let reply = request.send().promise.await.expect("the server answers");
            reply.get().expect("a reply").get_sum()
        })
    }
}

impl Echoes for Client {
    fn echo(&self, payload: Bytes) -> impl Future<Output = Bytes> + Send {
        let mut request = self.0.bench.echo_request();
        request.get().set_payload(&payload);
        SendWrapper::new(async move {
            let reply = request.send().promise.await.expect("the server answers");
            let returned = reply.get().and_then(|reply| reply.get_payload());
            Bytes::copy_from_slice(returned.expect("a reply"))
        })
    }
}
