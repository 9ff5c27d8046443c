//! tarpc over TCP with bincode, and a task for each request, as in its README.

use std::io;
use std::net::SocketAddr;

use ::tarpc::server::{BaseChannel, Channel};
use ::tarpc::tokio_util::codec::{Framed, LengthDelimitedCodec};
use ::tarpc::{client, context, serde_transport};
use bytes::Bytes;
use futures::StreamExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_serde::formats::Bincode;

use crate::harness::{Adds, Echoes, Target};
use crate::tcp;

/// The default of 8 MiB is below the largest payload.
const FRAME_BYTES_MAX: usize = 128 << 20;

#[::tarpc::service]
trait Bench {
    async fn add(a: u64, b: u64) -> u64;
    async fn echo(payload: Bytes) -> Bytes;
}

#[derive(Clone)]
struct Plain;

impl Bench for Plain {
    async fn add(self, _: context::Context, a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }
    async fn echo(self, _: context::Context, payload: Bytes) -> Bytes {
        payload
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
            let transport = serde_transport::new(framed(stream), Bincode::default());
            let requests = BaseChannel::with_defaults(transport).execute(Plain.serve());
            tokio::spawn(requests.for_each(|request| async {
                tokio::spawn(request);
            }));
        }
    });
    Ok(addr)
}

fn framed(stream: TcpStream) -> Framed<TcpStream, LengthDelimitedCodec> {
    let mut codec = LengthDelimitedCodec::new();
    codec.set_max_frame_length(FRAME_BYTES_MAX);
    Framed::new(stream, codec)
}

#[derive(Clone)]
pub(crate) struct Client(BenchClient);

impl Target for Client {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = tcp::connect(addr).await?;
        let transport = serde_transport::new(framed(stream), Bincode::default());
        Ok(Self(BenchClient::new(client::Config::default(), transport).spawn()))
    }
}

impl Adds for Client {
    async fn add(&self, a: u64, b: u64) -> u64 {
        self.0.add(context::current(), a, b).await.expect("the server answers")
    }
}

impl Echoes for Client {
    async fn echo(&self, payload: Bytes) -> Bytes {
        self.0.echo(context::current(), payload).await.expect("the server answers")
    }
}
