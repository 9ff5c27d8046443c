//! What the soak calls, and a server of it; nobody's load.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rpc_core::{
    Channel, Limits, Server, Streaming,
    transport::{Address, Listener},
};
use tokio::{sync::Barrier, time::sleep};

/// Calls that a server runs for one connection. All of these places have to be free at the end.
pub(crate) const PLACES: u32 = 100;

/// A soak's servers run over one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

#[rpc_core::service]
pub(crate) trait Soak {
    /// Says which call this was.
    async fn echo(&self, call: u64) -> u64;
    /// Gives back what it gets.
    async fn large(&self, bytes: Bytes) -> Bytes;
    /// Takes its time, for callers that don't wait.
    async fn slow(&self, pause: Duration);
    /// Counts up to a number.
    async fn count(&self, to: u64) -> Streaming<u64>;
    /// Adds up.
    async fn sum(&self, numbers: Streaming<u64>) -> u64;
    /// Nobody waits for it.
    #[rpc(oneway)]
    async fn note(&self, call: u64);
    /// Ends when so many calls are in it at a time as a connection has places.
    async fn meet(&self);
}

/// The service. Its counts outlive the servers.
#[derive(Debug)]
pub(crate) struct Place {
    /// How often `echo` ran.
    pub(crate) echoes: AtomicU64,
    barrier: Barrier,
}

impl Default for Place {
    fn default() -> Self {
        Self { echoes: AtomicU64::new(0), barrier: Barrier::new(PLACES as usize) }
    }
}

impl Soak for Place {
    async fn echo(&self, call: u64) -> u64 {
        self.echoes.fetch_add(1, Ordering::Relaxed);
        call
    }

    async fn large(&self, bytes: Bytes) -> Bytes {
        bytes
    }

    async fn slow(&self, pause: Duration) {
        sleep(pause).await;
    }

    async fn count(&self, to: u64) -> Streaming<u64> {
        (1..=to).collect()
    }

    async fn sum(&self, mut numbers: Streaming<u64>) -> u64 {
        let mut sum = 0;
        while let Some(Ok(number)) = numbers.next().await {
            sum += number;
        }
        sum
    }

    async fn note(&self, _call: u64) {}

    async fn meet(&self) {
        self.barrier.wait().await;
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.calls = PLACES;
    limits
}

/// Starts a server: at this address, or at one that the system chooses.
pub(crate) async fn serve(
    transport: Transport,
    at: Option<&Address>,
    place: &Arc<Place>,
) -> Result<Server, Box<dyn Error + Send + Sync>> {
    let at = at.map_or("127.0.0.1:0".to_owned(), ToString::to_string);
    Ok(match transport {
        Transport::Tcp => start(rpc_transport_tcp::listen(at).await?, place)?,
        Transport::Udp => start(rpc_transport_udp::listen(at).await?, place)?,
    })
}

fn start(
    listener: impl Listener,
    place: &Arc<Place>,
) -> Result<Server, Box<dyn Error + Send + Sync>> {
    let service = SoakServer::from_arc(Arc::clone(place));
    Ok(Server::builder().limits(limits()).service(service).listen(listener).start()?)
}

/// A channel to it, which looks for a new server often.
pub(crate) fn channel(transport: Transport, to: &Address) -> Channel {
    let (least, most) = (Duration::from_millis(5), Duration::from_millis(100));
    let builder = Channel::builder().backoff(least, most);
    match transport {
        Transport::Tcp => builder.lazy(rpc_transport_tcp::connector(to)),
        Transport::Udp => builder.lazy(rpc_transport_udp::connector(to)),
    }
}
