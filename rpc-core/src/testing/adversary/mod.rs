//! The adversarial transport: in memory, within the contract, and as unkind as that allows.
//!
//! It does what a network may do to the code above a transport. Frames of different lanes overtake
//! each other, as they will over UDP. It takes a few frames of a batch and returns `Pending`, or all
//! of them and returns `Pending` all the same; it is full when nobody expects it, lets a receiver
//! poll several times for what is there already, and wakes tasks for nothing. It dies where a
//! [`Death`] says.
//!
//! What it never does: break the [contract](crate::transport). It passes the
//! [conformance kit](super::conformance).
//!
//! All of it follows from a seed: the same seed and the same sequence of calls give the same
//! behaviour. There is no clock in it; delays are counted in polls.
//!
//! ```
//! use rpc_core::{Channel, Server, testing::adversary::Adversary};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let adversary = Adversary::new(7);
//! let server = Server::builder().listen(adversary.listen()).start()?;
//! let channel = Channel::connect(adversary.connector()).await?;
//! # drop((server, channel));
//! # Ok(())
//! # }
//! ```
//!
//! The map of this directory: `transport` is one end of a connection, `link` is what lies between two.

mod link;
mod transport;

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

pub use transport::AdversaryTransport;

use super::random::Random;
use crate::transport::{Address, Connector, Listener};

/// The frame size it asks for, unless told otherwise: that of the memory transport.
const FRAME_BYTES: usize = 64 * 1024;

/// A network of its own, with one place to listen at and connections from there.
///
/// Each connection has a seed of its own, drawn from that of the adversary in the order in which
/// connections are made. Clones are the same network.
#[derive(Clone)]
pub struct Adversary {
    seed: u64,
    frame_bytes: usize,
    hub: Arc<Mutex<Hub>>,
}

/// Where connectors meet listeners.
struct Hub {
    /// The seeds of connections, and nothing else, so that they depend on nothing else.
    seeds: Random,
    whims: Random,
    /// How the next connections die.
    deaths: VecDeque<Death>,
    /// Whether any was ever planned.
    mortal: bool,
    listeners: usize,
    waiting: VecDeque<AdversaryTransport>,
    /// The listeners that wait. All are woken: one of them may be on its way out.
    acceptors: Vec<Waker>,
}

impl Adversary {
    /// A network whose behaviour follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let hub = Hub {
            seeds: Random::new(seed),
            whims: Random::new(!seed),
            deaths: VecDeque::new(),
            mortal: false,
            listeners: 0,
            waiting: VecDeque::new(),
            acceptors: Vec::new(),
        };
        Self { seed, frame_bytes: FRAME_BYTES, hub: Arc::new(Mutex::new(hub)) }
    }

    /// The frame size that its transports ask for, in bytes. Default: 64 KiB.
    #[must_use]
    pub fn frame_bytes(self, frame_bytes: usize) -> Self {
        Self { frame_bytes, ..self }
    }

    /// How a connection dies: the next one that is made, or the one after those whose deaths are
    /// planned already. Connections without a death live on.
    #[must_use]
    pub fn death(self, death: Death) -> Self {
        let mut hub = self.lock();
        hub.deaths.push_back(death);
        hub.mortal = true;
        drop(hub);
        self
    }

    /// Whether the death of a connection was ever planned.
    pub(super) fn is_mortal(&self) -> bool {
        self.lock().mortal
    }

    /// One connection, without listener: the connecting end, the accepting end.
    #[must_use]
    pub fn pair(&self) -> (AdversaryTransport, AdversaryTransport) {
        self.lock().pair(self)
    }

    /// Accepts the connections of this network. There may be several listeners; each connection
    /// goes to one of them. When the last one is dropped, what waits to be accepted is lost.
    #[must_use]
    pub fn listen(&self) -> AdversaryListener {
        self.lock().listeners += 1;
        AdversaryListener { adversary: self.clone() }
    }

    /// Makes connections to the listener of this network.
    #[must_use]
    pub fn connector(&self) -> AdversaryConnector {
        AdversaryConnector { adversary: self.clone() }
    }

    fn address(&self) -> Address {
        Address::Memory(format!("adversary {:#x}", self.seed))
    }

    fn lock(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    fn pair(&mut self, adversary: &Adversary) -> (AdversaryTransport, AdversaryTransport) {
        let seed = self.seeds.next();
        let death = self.deaths.pop_front();
        transport::pair(seed, adversary.frame_bytes, death, adversary.address())
    }
}

impl fmt::Debug for Adversary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adversary")
            .field("seed", &format_args!("{:#x}", self.seed))
            .field("frame_bytes", &self.frame_bytes)
            .finish_non_exhaustive()
    }
}

/// One of the two directions of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Direction {
    /// From the connecting end to the accepting one: requests, usually.
    ToAcceptor,
    /// From the accepting end to the connecting one: replies, usually.
    ToConnector,
}

impl Direction {
    fn other(self) -> Self {
        match self {
            Self::ToAcceptor => Self::ToConnector,
            Self::ToConnector => Self::ToAcceptor,
        }
    }
}

/// When and how a connection dies.
///
/// Unless it [ends](Death::with_end), everything under way is lost in both directions, and both
/// ends get an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    direction: Direction,
    moment: Moment,
    frames: u64,
    manner: Manner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Sent,
    Received,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Error(io::ErrorKind),
    End,
    Reset,
}

impl Death {
    /// As soon as `frames` frames of this direction were taken from their sender, in the middle of
    /// a batch as it may be. With 0, before the first one is.
    #[must_use]
    pub fn when_sent(direction: Direction, frames: u64) -> Self {
        let manner = Manner::Error(io::ErrorKind::ConnectionReset);
        Self { direction, moment: Moment::Sent, frames, manner }
    }

    /// As soon as `frames` frames of this direction were received. With 0, when its receiver first
    /// asks.
    #[must_use]
    pub fn when_received(direction: Direction, frames: u64) -> Self {
        Self { moment: Moment::Received, ..Self::when_sent(direction, frames) }
    }

    /// With this error, at both ends. Default:
    /// [`ConnectionReset`](io::ErrorKind::ConnectionReset).
    #[must_use]
    pub fn with_error(self, kind: io::ErrorKind) -> Self {
        Self { manner: Manner::Error(kind), ..self }
    }

    /// As if the process of the direction's sender were killed: what it had sent arrives, followed
    /// by an end; what was under way to it is lost, and it hears of nothing but errors.
    #[must_use]
    pub fn with_end(self) -> Self {
        Self { manner: Manner::End, ..self }
    }

    /// As if the receiver of the direction had started anew: everything under way is lost, and its
    /// sender gets a [`Reset`](crate::transport::TransportError::Reset), which knows what had arrived
    /// until then. The receiver gets an error.
    #[must_use]
    pub fn with_reset(self) -> Self {
        Self { manner: Manner::Reset, ..self }
    }
}

/// Accepts the connections of an [`Adversary`].
#[derive(Debug)]
pub struct AdversaryListener {
    adversary: Adversary,
}

impl Listener for AdversaryListener {
    type Transport = AdversaryTransport;

    fn local_addr(&self) -> Address {
        self.adversary.address()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<AdversaryTransport>> {
        let mut hub = self.adversary.lock();
        if !hub.waiting.is_empty() && hub.whims.one_in(2) {
            drop(hub);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(transport) = hub.waiting.pop_front() {
            return Poll::Ready(Ok(transport));
        }
        hub.acceptors.retain(|waker| !waker.will_wake(cx.waker()));
        hub.acceptors.push(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for AdversaryListener {
    fn drop(&mut self) {
        let mut hub = self.adversary.lock();
        hub.listeners -= 1;
        if hub.listeners == 0 {
            let lost = std::mem::take(&mut hub.waiting);
            // Their other ends are woken by that, which must not happen under the lock.
            drop(hub);
            drop(lost);
        }
    }
}

/// Makes connections to the listener of an [`Adversary`].
#[derive(Debug, Clone)]
pub struct AdversaryConnector {
    adversary: Adversary,
}

impl Connector for AdversaryConnector {
    type Transport = AdversaryTransport;

    fn target(&self) -> Address {
        self.adversary.address()
    }

    async fn connect(&self) -> io::Result<AdversaryTransport> {
        let mut delay = self.adversary.lock().whims.below(4);
        poll_fn(|cx| match delay.checked_sub(1) {
            Some(less) => {
                delay = less;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(()),
        })
        .await;
        let mut hub = self.adversary.lock();
        if hub.listeners == 0 {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = hub.pair(&self.adversary);
        hub.waiting.push_back(theirs);
        let acceptors = std::mem::take(&mut hub.acceptors);
        drop(hub);
        acceptors.into_iter().for_each(Waker::wake);
        Ok(ours)
    }
}
