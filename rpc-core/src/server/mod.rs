//! The server's half: listeners, connections, shutdown. Running requests is `connection`'s job.

mod accept;
mod builder;
mod registry;

use std::{fmt, io, mem, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};

pub use builder::{ServerBuilder, StartError};

#[cfg(feature = "testing")]
use crate::connection::Connection;
use crate::{error::CloseReason, transport::Address};
use registry::Registry;

/// A running server. Dropping it closes everything at once; [`shutdown`](Server::shutdown) finishes
/// what is under way first, and [`wait`](Server::wait) lets it run.
#[must_use = "dropping a server closes it at once: keep it, and call `wait` or `shutdown`"]
pub struct Server {
    registry: Arc<Registry>,
    acceptors: Vec<JoinHandle<()>>,
    /// Tells the acceptors that the server goes.
    going: watch::Sender<bool>,
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

    /// Accepts who waits to be accepted and nobody else, tells every peer to go away, and finishes
    /// the calls that are under way for at most `grace`; then closes what is left, which takes a
    /// second at most. Returns whether all of it ended by itself. The addresses are free when it
    /// returns.
    ///
    /// # Cancel safety
    /// Dropping the future closes everything at once.
    pub async fn shutdown(mut self, grace: Duration) -> bool {
        self.going.send_replace(true);
        for acceptor in mem::take(&mut self.acceptors) {
            // Until it is gone, its address is taken.
            let _ended = acceptor.await;
        }
        // Not before: who goes away comes back at once, and must not find this server again.
        self.registry.go_away();
        let drained = tokio::time::timeout(grace, self.registry.empty()).await.is_ok();
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
