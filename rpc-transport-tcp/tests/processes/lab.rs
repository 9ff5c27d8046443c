//! The service of these tests, and the process that offers it.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rpc_core::{Limits, Server, ServerBuilder};
use rpc_transport_tcp::{TcpListener, listen};

use crate::{
    process::{PATIENCE, Process, orders, parameter, tell},
    record::{Books, Record},
};

#[rpc_core::service]
pub(crate) trait Lab {
    /// Writes down that it ran.
    async fn run(&self, call: u64) -> u64;
    /// Writes down that it ran, and never ends. Writes down when it is dropped.
    async fn hold(&self, call: u64);
    /// Writes down that it ran, as a call of this number, and returns so many bytes.
    async fn fill(&self, bytes: u64) -> Vec<u8>;
}

pub(crate) struct Bench {
    record: Record,
    held: Arc<AtomicUsize>,
}

impl Bench {
    pub(crate) fn new(record: &str) -> Self {
        Self { record: Record::append_to(Path::new(record)), held: Arc::default() }
    }

    /// How many handlers are being held.
    pub(crate) fn held(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.held)
    }
}

impl Lab for Bench {
    async fn run(&self, call: u64) -> u64 {
        self.record.ran(call);
        call
    }

    async fn hold(&self, call: u64) {
        self.record.ran(call);
        self.held.fetch_add(1, Ordering::SeqCst);
        let _held = Held { bench: self, call };
        std::future::pending::<()>().await;
    }

    async fn fill(&self, bytes: u64) -> Vec<u8> {
        self.record.ran(bytes);
        vec![7; usize::try_from(bytes).unwrap()]
    }
}

struct Held<'a> {
    bench: &'a Bench,
    call: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.bench.record.dropped(self.call);
        self.bench.held.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A process that offers [`Lab`].
pub(crate) struct LabProcess {
    pub(crate) process: Process,
    pub(crate) address: String,
}

impl LabProcess {
    /// Starts one. It listens as soon as nobody else does.
    pub(crate) fn starting(address: &str, books: &Books, files: Option<u32>) -> Process {
        let parameters = [("ADDRESS", address), ("RECORD", books.path())];
        Process::start("server", &parameters, files)
    }

    pub(crate) async fn start(address: &str, books: &Books) -> Self {
        Self::listening(Self::starting(address, books, None)).await
    }

    /// Waits until it listens.
    pub(crate) async fn listening(mut process: Process) -> Self {
        let address = process.told("listening on").await;
        Self { process, address }
    }

    /// How many connections it has.
    pub(crate) async fn connections(&mut self) -> usize {
        self.process.order("count");
        self.process.told("connections").await.parse().unwrap()
    }
}

/// A server with one listener, as tests want it.
pub(crate) fn server(bench: Bench) -> ServerBuilder {
    let mut limits = Limits::default();
    if let Some(bytes) = parameter("FRAME_BYTES") {
        limits.frame_bytes = bytes.parse().unwrap();
    }
    // A crowd takes its time on a busy machine.
    let timeout =
        parameter("HELLO_MS").map(|millis| Duration::from_millis(millis.parse().unwrap()));
    let timeout = timeout.unwrap_or(2 * PATIENCE);
    Server::builder().limits(limits).hello_timeout(timeout).service(LabServer::new(bench))
}

/// The role `server`: serves until it is told to shut down, or the test is gone.
pub(crate) fn serve() {
    let bench = Bench::new(&parameter("RECORD").unwrap());
    let address = parameter("ADDRESS").unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(async {
        let listener = listen_patiently(&address).await;
        let local = listener.local_addr();
        let server = server(bench).listen(listener).start().unwrap();
        tell(&format!("listening on {local}"));
        server
    });
    for order in orders() {
        match order.as_str() {
            "count" => tell(&format!("connections {}", server.connections())),
            "shutdown" => {
                let drained = runtime.block_on(server.shutdown(Duration::from_secs(10)));
                tell(&format!("drained {drained}"));
                return;
            }
            _ => panic!("no such order: {order}"),
        }
    }
}

/// Listens as soon as the port is free: a server that is being replaced still has it.
async fn listen_patiently(address: &str) -> TcpListener {
    let trying = async {
        loop {
            match listen(address).await {
                Ok(listener) => return listener,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.expect("the port never got free")
}
