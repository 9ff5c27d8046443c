//! A server in memory and a channel to it, for suites in which handlers and callers misbehave.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rpc_core::{
    Channel, Delivery, ErrorKind, Limits, RpcError, Server,
    service::Service,
    transport::{
        Address, Connector,
        memory::{self, MemoryConnector, MemoryTransport},
    },
};

/// A server with one service, and a channel that has a connection to it.
pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) channel: Channel,
    pub(crate) dials: Dials,
}

/// How often a connection was made.
#[derive(Clone, Default)]
pub(crate) struct Dials(Arc<AtomicUsize>);

impl Dials {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Counts the connections it makes.
pub(crate) struct Counting(pub(crate) MemoryConnector, pub(crate) Dials);

impl Connector for Counting {
    type Transport = MemoryTransport;

    fn target(&self) -> Address {
        self.0.target()
    }

    async fn connect(&self) -> io::Result<Self::Transport> {
        self.1.0.fetch_add(1, Ordering::SeqCst);
        self.0.connect().await
    }
}

/// Serves `service` with at most `calls` calls at a time on a connection, under a name that nothing
/// in this process has had before: who comes too late finds nobody.
pub(crate) async fn rig(service: impl Service, calls: u32) -> Rig {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("rig {}", NEXT.fetch_add(1, Ordering::SeqCst));
    let mut limits = Limits::default();
    limits.calls = calls;
    let server = Server::builder()
        .service(service)
        .limits(limits)
        .listen(memory::listen(name).await.unwrap())
        .start()
        .unwrap();
    let dials = Dials::default();
    let channel = Channel::connect(Counting(to(&server), dials.clone())).await.unwrap();
    Rig { server, channel, dials }
}

pub(crate) fn to(server: &Server) -> MemoryConnector {
    memory::connector(server.local_addr().unwrap())
}

#[track_caller]
pub(crate) fn check(error: &RpcError, kind: ErrorKind, delivery: Delivery) {
    assert_eq!((error.kind(), error.delivery()), (kind, delivery), "{error}");
}

/// Tasks of this runtime that have not ended.
pub(crate) fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Waits for what has to come, without a pause: the paused clock stands still meanwhile.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(20), "{what}: not so, at {caller}");
            tokio::task::yield_now().await;
        }
    }
}
