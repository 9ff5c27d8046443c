//! The server's half: listeners, connections, shutdown. Running requests is `connection`'s job.

mod accept;
mod builder;
mod registry;

use std::{fmt, io, sync::Arc, time::Duration};

pub use builder::{ServerBuilder, StartError};

#[cfg(feature = "testing")]
use crate::connection::Connection;
use crate::{
    clock,
    counters::Counters,
    error::CloseReason,
    sync::{JoinHandle, timeout},
    transport::Address,
};
use registry::Registry;

/// A running server. Dropping it closes everything at once, but its addresses may be taken for a
/// moment longer (`shutdown(Duration::ZERO)` waits for that); [`shutdown`](Server::shutdown) finishes
/// what is under way first, and [`wait`](Server::wait) lets it run.
///
/// # Handlers that block
/// Handlers run on the runtime's threads, like any async code: one that blocks or computes for long
/// without an `.await` keeps its thread from everything else. What takes more than some 100 µs
/// belongs into [`spawn_blocking`](tokio::task::spawn_blocking). Nothing interrupts a handler
/// between two awaits: not a cancel, not its deadline, not a shutdown.
///
/// How long others wait when a handler blocks for 50 ms (`benches/README.md` has the figures):
///
/// | | calls and pings of the same connection | other connections |
/// |---|---|---|
/// | on a `current_thread` runtime | 50 ms for each call that blocks | the same |
/// | otherwise, as long as a thread is free | not, unless they are next on that very thread | the same |
/// | while every thread is blocked | until one is free | the same |
/// | the first time, of a method that was fast 16 times in a row | 50 ms, and seven times that if calls that came together do so | as above |
///
/// The last line is the price of speed: a method whose first polls were fast runs where its request
/// was decoded, in the task that serves the connection. A poll of more than 20 µs, when it is
/// noticed, and one of more than a millisecond always, sends it back to tasks of its own. A client
/// gives a server up that answers no ping for 8 seconds.
///
/// # Handlers that panic
/// A panic fails the call that it belongs to with
/// [`HandlerPanicked`](crate::ErrorKind::HandlerPanicked), *replied*; nothing else is touched, and the
/// caller isn't told the text. The same holds for the code of arguments and replies while a handler
/// is polled (`Deserialize`, `Serialize`, `Drop`). Panics in destructors of a handler that is stopped
/// are swallowed: its call was cancelled or is late already.
///
/// Not contained are panics in a program that is built with `panic = "abort"`, a second panic while
/// the first unwinds, a stack overflow and a failed allocation. They end the process, and with it
/// every call of every connection. Locks that a panic poisons are the service's own business; the
/// framework holds none while a handler runs.
#[must_use = "dropping a server closes it at once: keep it, and call `wait` or `shutdown`"]
pub struct Server {
    registry: Arc<Registry>,
    acceptors: Vec<JoinHandle<()>>,
    local_addrs: Vec<Address>,
}

impl Server {
    /// Services, listeners and limits, then [`start`](ServerBuilder::start).
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Where it listens, in the order of the listeners.
    #[must_use]
    pub fn local_addrs(&self) -> &[Address] {
        &self.local_addrs
    }

    /// Where its first listener listens.
    ///
    /// # Errors
    /// It has no listener.
    pub fn local_addr(&self) -> io::Result<&Address> {
        let none = || io::Error::new(io::ErrorKind::NotFound, "the server has no listener");
        self.local_addrs.first().ok_or_else(none)
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.registry.len()
    }

    /// What has happened so far, on all connections that were accepted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.registry.counters()
    }

    /// Stops accepting, tells every peer to go away, and finishes the calls that are under way for
    /// at most `grace`; then closes what is left, which takes a second at most. Returns whether all
    /// of it ended by itself. The addresses are free when it returns.
    ///
    /// A client that was told a moment ago that it may connect, as over UDP, has perhaps sent its
    /// first call: it is waited for, at most for some seconds of `grace`.
    ///
    /// # Cancel safety
    /// Dropping the future closes everything at once.
    pub async fn shutdown(mut self, grace: Duration) -> bool {
        let until = clock::now().checked_add(grace);
        self.registry.stop_accepting(until);
        // Until the acceptors are gone, their addresses are taken, and whoever is told to go away
        // would only come back.
        self.wait().await;
        self.registry.go_away();
        let left = until.map_or(grace, |until| until.saturating_duration_since(clock::now()));
        let drained = timeout(left, self.registry.empty()).await.is_ok();
        if !drained {
            self.registry.close_all(CloseReason::ShuttingDown);
            // Bounded: a connection that is closed lingers for a second at most.
            self.registry.empty().await;
        }
        drained
    }

    /// Runs until every listener has ended, which none of this project's does by itself. Put it into
    /// a `select!` with the signal that ends the process, then call [`shutdown`](Server::shutdown).
    /// A server without listeners returns at once.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn wait(&mut self) {
        while let Some(acceptor) = self.acceptors.last_mut() {
            // An error means that the runtime is going away.
            let _ended = acceptor.await;
            self.acceptors.pop();
        }
    }
}

#[cfg(feature = "testing")]
impl Server {
    /// Its connections, for a kit that looks into them.
    pub(crate) fn all_connections(&self) -> Vec<Arc<Connection>> {
        self.registry.all()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.acceptors.iter().for_each(JoinHandle::abort);
        self.registry.close_all(CloseReason::ShuttingDown);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addrs", &self.local_addrs)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}
