//! The service of these tests, and the process that offers it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rpc_core::Server;
use rpc_transport_udp::listen;

use crate::{
    lab::{Host, Lab, PORT},
    process::{Process, orders, parameter, tell},
    record::{Books, Record},
};

#[rpc_core::service]
pub(crate) trait Bench {
    /// Writes down that it ran.
    async fn run(&self, call: u64) -> u64;
    /// Writes down that it ran, and never ends. Writes down when it is dropped.
    async fn hold(&self, call: u64);
    /// Returns what it gets.
    async fn echo(&self, bytes: Bytes) -> Bytes;
    /// Takes what it gets, and returns how much that was.
    async fn put(&self, bytes: Bytes) -> u64;
}

pub(crate) struct Desk {
    record: Record,
    held: Arc<AtomicU64>,
}

impl Bench for Desk {
    async fn run(&self, call: u64) -> u64 {
        self.record.ran(call);
        call
    }

    async fn hold(&self, call: u64) {
        self.record.ran(call);
        self.held.fetch_add(1, Ordering::SeqCst);
        let _held = Held { desk: self, call };
        std::future::pending::<()>().await;
    }

    async fn echo(&self, bytes: Bytes) -> Bytes {
        bytes
    }

    async fn put(&self, bytes: Bytes) -> u64 {
        bytes.len() as u64
    }
}

struct Held<'a> {
    desk: &'a Desk,
    call: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.desk.record.dropped(self.call);
        self.desk.held.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A process at the server's host that offers [`Bench`].
pub(crate) struct BenchProcess {
    pub(crate) process: Process,
}

impl BenchProcess {
    /// Starts one at the address of all servers.
    pub(crate) async fn start(lab: &Lab, books: &Books) -> Self {
        Self::start_at(lab, books, &Lab::address()).await
    }

    /// Starts one that listens at `address`, and waits until it does.
    pub(crate) async fn start_at(lab: &Lab, books: &Books, address: &str) -> Self {
        let parameters = [("ADDRESS", address), ("RECORD", books.path())];
        let namespace = lab.namespace(Host::Server);
        let mut process = Process::start_in(Some(&namespace), "server", &parameters, None);
        process.told("listening on").await;
        Self { process }
    }

    /// How many connections it has, and calls that are held.
    pub(crate) async fn connections(&mut self) -> (usize, u64) {
        self.process.order("count");
        let counts = self.process.told("connections").await;
        let (connections, held) = counts.split_once(' ').unwrap();
        (connections.parse().unwrap(), held.parse().unwrap())
    }
}

/// The role `server`: serves until the test is gone.
pub(crate) fn serve() {
    let held = Arc::<AtomicU64>::default();
    let record = Record::append_to(Path::new(&parameter("RECORD").unwrap()));
    let desk = Desk { record, held: Arc::clone(&held) };
    let address = parameter("ADDRESS").unwrap_or_else(|| format!("0.0.0.0:{PORT}"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(async {
        let listener = listen(&address).await.unwrap();
        let local = listener.local_addr();
        let server = Server::builder()
            // The tests of clients that vanish don't wait for ten minutes.
            .idle_timeout(IDLE)
            .service(BenchServer::new(desk))
            .listen(listener)
            .start()
            .unwrap();
        tell(&format!("listening on {local}"));
        server
    });
    for order in orders() {
        match order.as_str() {
            "count" => {
                let held = held.load(Ordering::SeqCst);
                tell(&format!("connections {} {held}", server.connections()));
            }
            _ => panic!("no such order: {order}"),
        }
    }
}

/// How long the servers of these tests keep connections without calls.
pub(crate) const IDLE: Duration = Duration::from_secs(60);
