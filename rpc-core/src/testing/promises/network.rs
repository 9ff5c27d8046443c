//! What the kit needs of a transport: a place to listen at, again and again, and ways to get there.

use std::{
    future::Future,
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::super::adversary::{Adversary, Death, Direction};
use crate::transport::{Address, Connector, Listener, memory};

/// Frames after which a connection of an [`Adversary`] dies, at most.
const FRAMES: u64 = 60;

/// Where the servers of a run listen, and how its channels get there.
///
/// Implemented for [`Adversary`] and [`Memory`], and by every transport that runs the kit.
pub trait Network: Send + Sync {
    /// Listens: anywhere for the first server of a run (`None`), then again at the address of the
    /// first, while connections that it accepted may still exist.
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) is tried again, until the server that goes has freed
    /// the address.
    fn listen(
        &self,
        again: Option<&Address>,
    ) -> impl Future<Output = io::Result<impl Listener>> + Send;

    /// Connects to the server that listens at this address.
    fn connector(&self, to: &Address) -> impl Connector;

    /// Plans the death of a connection that is made from now on, if it can; which one and how
    /// follows from the number. By default it can't.
    fn kill(&self, whim: u64) {
        let _ = whim;
    }

    /// Whether its connections break although the kit does nothing of the kind. By default they
    /// don't, and then a call may be lost only when a server was dropped or had no time to drain.
    fn breaks(&self) -> bool {
        false
    }

    /// Whether a first connection that is begun while a server goes and another takes its place is
    /// made with one of the two, and loses no call. By default it isn't: its calls don't wait for the
    /// hello, and a socket may be connected and yet come too late to be accepted. Then channels are
    /// given a connection before a server goes, as long as nothing else ends one.
    fn connects_between_servers(&self) -> bool {
        false
    }

    /// A server is about to be dropped without a word, as its process would be killed. A network
    /// that can lets it vanish at this moment: what it still says is lost. By default it can't, and
    /// the server's connections are closed as its transport closes them.
    fn crash(&self, server: &Address) {
        let _ = server;
    }

    /// How long what is left of calls and connections may take to go away. Default: 5 seconds, which
    /// is more than a connection lingers. Over a network that loses the news of a connection's end,
    /// it is the time after which a server closes idle connections.
    fn patience(&self) -> Duration {
        RESTS_WITHIN
    }

    /// What the network has to object to, now that a run is over: something that a transport must
    /// not do to it. It breaks the promise [`Manners`](super::Promise::Manners).
    ///
    /// # Errors
    /// What that is.
    fn objection(&self) -> Result<(), String> {
        Ok(())
    }
}

/// How long what is left may take to go away. A connection lingers for a second.
const RESTS_WITHIN: Duration = Duration::from_secs(5);

/// The memory transport, at a name of its own.
#[derive(Debug, Clone)]
pub struct Memory {
    name: String,
}

impl Memory {
    /// A name that no other network has: between two servers it is free for a moment, and another
    /// test of this process must not take it.
    #[must_use]
    pub fn new() -> Self {
        static NETWORKS: AtomicU64 = AtomicU64::new(0);
        Self { name: format!("promises {}", NETWORKS.fetch_add(1, Ordering::Relaxed)) }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Network for Memory {
    async fn listen(&self, _: Option<&Address>) -> io::Result<impl Listener> {
        memory::listen(&self.name).await
    }

    fn connector(&self, to: &Address) -> impl Connector {
        memory::connector(to)
    }

    fn connects_between_servers(&self) -> bool {
        true
    }
}

impl Network for Adversary {
    async fn listen(&self, _: Option<&Address>) -> io::Result<impl Listener> {
        Ok(self.listen())
    }

    fn connector(&self, _: &Address) -> impl Connector {
        self.connector()
    }

    fn connects_between_servers(&self) -> bool {
        true
    }

    fn kill(&self, whim: u64) {
        let to_acceptor = whim & 1 == 0;
        let direction = if to_acceptor { Direction::ToAcceptor } else { Direction::ToConnector };
        let frames = (whim >> 3) % FRAMES;
        let death = match whim & 2 {
            0 => Death::when_sent(direction, frames),
            _ => Death::when_received(direction, frames),
        };
        let _ = self.clone().death(if whim & 4 == 0 { death } else { death.with_end() });
    }

    fn breaks(&self) -> bool {
        self.is_mortal()
    }
}
