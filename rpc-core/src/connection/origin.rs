//! Where calls come from: the peer, and the way back to it; what goes that way is `client`'s
//! business.

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
};

use tokio::sync::Notify;

use super::Connection;
#[cfg(feature = "testing")]
use crate::error::ErrorKind;
use crate::{counters::Counters, mux::Closed, transport::Peer};

/// What handlers know of the connection that their calls came on. One for each connection.
pub(crate) struct Origin {
    peer: Peer,
    /// Not held: whoever could call back keeps nothing alive with it.
    connection: Weak<Connection>,
    /// What is left of it. Boxed: a connection that lives needs no room for it.
    past: OnceLock<Box<Past>>,
    /// Told when it has ended.
    over: Notify,
}

/// What is left of a connection.
struct Past {
    closed: Option<Closed>,
    counters: Counters,
}

impl Origin {
    pub(crate) fn new(peer: Peer, connection: &Arc<Connection>) -> Self {
        let connection = Arc::downgrade(connection);
        Self { peer, connection, past: OnceLock::new(), over: Notify::new() }
    }

    /// One that never had a connection.
    #[cfg(feature = "testing")]
    pub(crate) fn nowhere(peer: Peer) -> Self {
        let text = "the context was made for a test, without a connection";
        let closed = Some(Closed::new(ErrorKind::ConnectionLost, text));
        let past = OnceLock::from(Box::new(Past { closed, counters: Counters::default() }));
        Self { peer, connection: Weak::new(), past, over: Notify::new() }
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The connection, as long as somebody drives it.
    pub(crate) fn connection(&self) -> Option<Arc<Connection>> {
        self.connection.upgrade()
    }

    /// How the connection ended. `None` while it goes on, or is being finished.
    pub(crate) fn closed(&self) -> Option<Closed> {
        match self.connection() {
            Some(connection) => connection.closed(),
            None => self.past.get().and_then(|past| past.closed.clone()),
        }
    }

    /// Waits until the connection has ended.
    pub(crate) async fn over(&self) {
        loop {
            // Made before the look, so that it hears of what happens after it.
            let over = self.over.notified();
            if self.connection().is_none_or(|connection| connection.closed().is_some()) {
                return;
            }
            over.await;
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        match self.connection() {
            Some(connection) => connection.counters(),
            None => self.past.get().map(|past| past.counters).unwrap_or_default(),
        }
    }

    /// The connection has ended. Whoever drives it may still be at its last words.
    pub(super) fn note_end(&self) {
        self.over.notify_waiters();
    }

    /// Nobody drives the connection any more.
    pub(super) fn note_gone(&self, connection: &Connection) {
        let past = Past { closed: connection.closed(), counters: connection.counters() };
        let _first = self.past.set(Box::new(past));
        self.note_end();
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("peer", &self.peer).finish_non_exhaustive()
    }
}
