//! The limit with one call in flight: length-prefixed frames, strictly in turns.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::harness::{Adds, Target};
use crate::tcp::{self, Inbox, push_frame};

pub(crate) async fn serve(addr: SocketAddr) -> io::Result<SocketAddr> {
    tcp::serve(addr, answer).await
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut inbox = Inbox::new();
    let mut reply = Vec::new();
    loop {
        inbox.fill(&mut stream).await?;
        while let Some([a, b]) = inbox.next_frame() {
            push_frame(&mut reply, [a + b]);
            stream.write_all(&reply).await?;
            reply.clear();
        }
    }
}

/// The lock makes calls take turns; with one caller it is never contended.
#[derive(Clone)]
pub(crate) struct Client(Arc<Mutex<Connection>>);

struct Connection {
    stream: TcpStream,
    inbox: Inbox,
    request: Vec<u8>,
}

impl Target for Client {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = tcp::connect(addr).await?;
        let connection = Connection { stream, inbox: Inbox::new(), request: Vec::new() };
        Ok(Self(Arc::new(Mutex::new(connection))))
    }
}

impl Adds for Client {
    async fn add(&self, a: u64, b: u64) -> u64 {
        self.0.lock().await.add(a, b).await.expect("the connection holds")
    }
}

impl Connection {
    async fn add(&mut self, a: u64, b: u64) -> io::Result<u64> {
        self.request.clear();
        push_frame(&mut self.request, [a, b]);
        self.stream.write_all(&self.request).await?;
        loop {
            self.inbox.fill(&mut self.stream).await?;
            if let Some([sum]) = self.inbox.next_frame() {
                return Ok(sum);
            }
        }
    }
}
