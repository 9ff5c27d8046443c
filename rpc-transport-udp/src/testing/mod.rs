//! A UDP network in memory, with every fault that a network has; nothing that a program needs.
//!
//! The transport's own code runs over it, listeners, connectors and sessions, down to where it would
//! make system calls. Everything that happens follows from a seed, the secrets of servers and the
//! numbers of sessions too, so that a run in tokio's paused time is the same each time.
//!
//! ```
//! use rpc_core::{Channel, Server};
//! use rpc_transport_udp::testing::{Faults, Network};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let network = Network::new(7).faults(Faults::rough());
//! let listener = network.listen().await?;
//! let address = listener.local_addr();
//! let server = Server::builder().listen(listener).start()?;
//! let channel = Channel::connect(network.connector(address)).await?;
//! assert_eq!(network.violation(), None);
//! # drop((server, channel));
//! # Ok(())
//! # }
//! ```
//!
//! A datagram arrives when whoever waits for it looks at the clock: there is no task, only the timers
//! of those who wait. Nothing is sent to nobody: a socket is told that nobody listens where it sends,
//! unless the network is [silent](Network::silent).
//!
//! The network also watches servers: what one sends to an address that hasn't proved that somebody is
//! there is metered, see [`violation`](Network::violation).
//!
//! Whoever has another simulated network, such as turmoil's, implements [`Simulator`] for it, and has the
//! transport run over that: [`simulated`].
//!
//! The map of this directory: `faults` are numbers, `path` is what they do to one datagram, `hub` knows
//! all sockets and what is on its way to them, `port` is one of those sockets, `meter` counts, `trace`
//! prints; `simulator` has the sockets of others.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    reason = "tests run it, and a panic is how it reports"
)]

mod faults;
mod hub;
mod meter;
mod path;
mod port;
mod simulator;
mod trace;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use self::hub::{Direction, Hub};
pub use self::{
    faults::Faults,
    path::Counts,
    simulator::{SimulatedSocket, Simulator, simulated},
};
use crate::{UdpConnector, UdpListener, UdpOptions, driver::socket::Datagrams};

/// Where servers listen that don't say where.
const SERVERS: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 1, 0, 1), 0);

/// A network of its own. Clones are the same network.
#[derive(Clone)]
pub struct Network {
    seed: u64,
    hub: Arc<Mutex<Hub>>,
}

impl Network {
    /// A network without faults, in which all that is random follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, hub: Arc::new(Mutex::new(Hub::new(seed))) }
    }

    /// What happens from now on, in both directions.
    #[must_use]
    pub fn faults(self, faults: Faults) -> Self {
        self.to_servers(faults.clone()).to_clients(faults)
    }

    /// What happens from now on on the way to servers.
    #[must_use]
    pub fn to_servers(self, faults: Faults) -> Self {
        self.lock().path(Direction::ToServers).faults = faults;
        self
    }

    /// What happens from now on on the way to clients.
    #[must_use]
    pub fn to_clients(self, faults: Faults) -> Self {
        self.lock().path(Direction::ToClients).faults = faults;
        self
    }

    /// Whether a client hears nothing when nobody listens where it sends, as behind a firewall.
    /// Default: it is told so ([`ConnectionRefused`](io::ErrorKind::ConnectionRefused)).
    #[must_use]
    pub fn silent(self, silent: bool) -> Self {
        self.lock().is_silent = silent;
        self
    }

    /// Whether every datagram is printed when it is sent, with the time since the first one, and what
    /// is in it. Default: off.
    #[must_use]
    pub fn traced(self, traced: bool) -> Self {
        self.lock().is_traced = traced;
        self
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Options whose listeners and connectors are in this network.
    pub fn options(&self) -> UdpOptions {
        UdpOptions::new().over(Arc::new(self.clone()))
    }

    /// Listens at an address of its own.
    ///
    /// # Errors
    /// None but those of [`listen_at`](Self::listen_at).
    pub async fn listen(&self) -> io::Result<UdpListener> {
        self.listen_at(SERVERS.into()).await
    }

    /// Listens at this address; port 0 stands for any that is free. A server that listens again at
    /// an address is another one, with an epoch of its own.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) while something else listens there.
    pub async fn listen_at(&self, address: SocketAddr) -> io::Result<UdpListener> {
        self.options().listen(address).await
    }

    /// Connects to whoever listens at this address then.
    #[must_use]
    pub fn connector(&self, address: impl ToString) -> UdpConnector {
        self.options().connector(address)
    }

    /// The server at this address vanishes, as a process that is killed: its socket is closed and
    /// takes nothing, and what it still says goes nowhere. The address is free at once. Its part that
    /// is in this process learns nothing of it; drop it.
    pub fn kill(&self, address: SocketAddr) {
        self.lock().kill(address);
    }

    /// Nothing passes for some time, in either direction. What is under way still arrives.
    pub fn partition(&self, time: Duration) {
        let until = Instant::now() + time;
        self.lock().partition(until.into_std());
    }

    /// The NAT of every client forgets it: what it sends next comes from another port, or from
    /// another address altogether. What is sent to the old one goes nowhere.
    pub fn rebind(&self) {
        self.lock().rebind_all();
    }

    /// The machines of all clients slept for so long: their steady clock stood still meanwhile, the one
    /// that says what time it is went on.
    pub fn sleep(&self, time: Duration) {
        self.lock().slept += time;
    }

    /// How long they have slept in all.
    pub(crate) fn slept(&self) -> Duration {
        self.lock().slept
    }

    /// The first time that a server sent more to an address than it may, if one did: at most three
    /// times what came from there, no more than what came if that wasn't an INIT, until the address
    /// is proved by a cookie or the answer to a challenge.
    #[must_use]
    pub fn violation(&self) -> Option<String> {
        self.lock().violation()
    }

    /// What has happened to datagrams so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().counts()
    }

    /// A number that says what was sent so far, from where to where and when: two runs with the same
    /// number were the same.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.lock().fingerprint()
    }

    /// How many datagrams are on their way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.lock().under_way()
    }

    /// How many sockets there are.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.lock().sockets()
    }

    fn lock(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where sockets come from, if not from the system.
pub(crate) trait Sockets: fmt::Debug + Send + Sync {
    /// A server's socket.
    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn Datagrams>>;

    /// A client's socket, to talk to this server.
    fn connect(&self, server: SocketAddr) -> io::Result<Arc<dyn Datagrams>>;
}

impl Sockets for Network {
    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn Datagrams>> {
        port::bound(self.clone(), |hub| hub.bind_server(Instant::now().into_std(), address))
    }

    fn connect(&self, server: SocketAddr) -> io::Result<Arc<dyn Datagrams>> {
        port::bound(self.clone(), |hub| Ok(hub.bind_client(server)))
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("seed", &self.seed).finish_non_exhaustive()
    }
}
