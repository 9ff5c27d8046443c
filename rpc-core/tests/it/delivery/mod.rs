//! The delivery table (`spec/wire.md`, chapter 11), line by line and from outside: what the caller
//! learns, what goes over the wire, and how often the handler ran.
//!
//! The name of a test begins with its row, and `tests/repo/delivery.rs` finds rows without a test.
//! `wire` is a peer of raw bytes, `phases` brings a call to where something happens to it; the other
//! files have the rows, by event. Time is paused: it moves on when nobody has anything left to do.

mod close;
mod deadline;
mod dropped;
mod errors;
mod go_away;
mod handlers;
mod lost;
mod phases;
mod reconnect;
mod refused;
mod replies;
mod requests;
mod reset;
mod wire;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rpc_core::{Channel, Delivery, ErrorKind, RpcError, Server, ServerBuilder, transport::memory};
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::raw::{PIPE_BYTES, Pipes};
use wire::Wire;

/// A value that can't be encoded if it is `true`.
#[derive(Debug, Deserialize)]
struct Sealed(bool);

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 {
            return Err(S::Error::custom("it is sealed"));
        }
        serializer.serialize_bool(false)
    }
}

#[rpc_core::service]
trait Lab {
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8>;
    #[rpc(idempotent)]
    async fn look(&self, bytes: Vec<u8>) -> Vec<u8>;
    async fn even(&self, n: u64) -> Result<u64, String>;
    async fn large(&self, bytes: u32) -> Vec<u8>;
    async fn sealed(&self, value: Sealed);
    async fn seal(&self) -> Sealed;
    async fn forever(&self);
    async fn panic(&self, polls: u32);
}

/// Notes what runs.
#[derive(Default)]
struct Bench {
    /// The size of what was to be echoed, 0 for other methods, in the order of the runs.
    runs: Mutex<Vec<usize>>,
    /// Handlers that were stopped half-way.
    stopped: Arc<AtomicUsize>,
}

impl Bench {
    fn note(&self, bytes: usize) {
        self.runs.lock().unwrap().push(bytes);
    }

    fn runs(&self) -> Vec<usize> {
        self.runs.lock().unwrap().clone()
    }

    fn stopped(&self) -> usize {
        self.stopped.load(Ordering::SeqCst)
    }
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Lab for Bench {
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.note(bytes.len());
        bytes
    }
    async fn look(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.note(bytes.len());
        bytes
    }
    async fn even(&self, n: u64) -> Result<u64, String> {
        self.note(0);
        if n.is_multiple_of(2) { Ok(n) } else { Err(format!("{n} is odd")) }
    }
    async fn large(&self, bytes: u32) -> Vec<u8> {
        self.note(0);
        vec![7; bytes as usize]
    }
    async fn sealed(&self, _value: Sealed) {
        self.note(0);
    }
    async fn seal(&self) -> Sealed {
        self.note(0);
        Sealed(true)
    }
    async fn forever(&self) {
        self.note(0);
        let _count = CountDrop(Arc::clone(&self.stopped));
        std::future::pending::<()>().await;
    }
    async fn panic(&self, polls: u32) {
        self.note(0);
        for _ in 0..polls {
            tokio::task::yield_now().await;
        }
        panic!("a test's own panic");
    }
}

/// A call under way.
type Running = JoinHandle<Result<Vec<u8>, RpcError>>;

/// What a call fails with.
async fn failure(call: &mut Running) -> (ErrorKind, Delivery) {
    let error = call.await.unwrap().expect_err("it fails");
    (error.kind(), error.delivery())
}

/// Waits until nobody has anything left to do: only then does paused time move on.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A server with one connection, the other end of which is `wire`.
struct Serving {
    wire: Wire,
    server: Server,
    bench: Arc<Bench>,
}

impl Serving {
    fn start(server: ServerBuilder, pipe_bytes: usize) -> Self {
        let bench = Arc::new(Bench::default());
        let (pipes, accepted) = mpsc::unbounded_channel();
        let service = LabServer::from_arc(Arc::clone(&bench));
        let server = server.service(service).listen(Pipes(accepted)).start().unwrap();
        let (wire, theirs) = Wire::pipe(pipe_bytes);
        pipes.send(theirs).unwrap();
        Self { wire, server, bench }
    }
}

/// A server and a client of it, both as users have them.
async fn both_ends(name: &str) -> (Server, LabClient, Arc<Bench>) {
    let bench = Arc::new(Bench::default());
    let service = LabServer::from_arc(Arc::clone(&bench));
    let listener = memory::listen(name).await.unwrap();
    let server = Server::builder().service(service).listen(listener).start().unwrap();
    let channel = Channel::connect(memory::connector(name)).await.unwrap();
    (server, LabClient::new(channel), bench)
}

/// Hands what one side has sent to a server, and returns what it ran because of it.
async fn runs_of(bytes: &[u8]) -> Vec<usize> {
    let mut serving = Serving::start(Server::builder(), PIPE_BYTES);
    serving.wire.send(bytes).await;
    settle().await;
    serving.bench.runs()
}
