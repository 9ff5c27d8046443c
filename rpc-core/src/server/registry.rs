//! The connections of a server: counted, limited, closed together; what they do is their business.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{connection::Connection, error::CloseReason};

/// All connections of one server.
#[derive(Debug, Default)]
pub(super) struct Registry {
    state: Mutex<State>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    connections: HashMap<u64, Arc<Connection>>,
    next: u64,
    closing: Closing,
}

/// What becomes of connections that come in at present.
#[derive(Debug, Clone, Copy, Default)]
enum Closing {
    #[default]
    No,
    /// They are told to go away.
    GoAway,
    /// They are closed.
    Close(CloseReason),
}

/// A connection's place in the registry, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    registry: Arc<Registry>,
    number: u64,
}

impl Registry {
    /// Enters a connection, unless there are `limit` already. It goes the way of all others if the
    /// server is shutting down.
    pub(super) fn enter(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        limit: usize,
    ) -> Option<Place> {
        let mut state = self.lock();
        if state.connections.len() >= limit {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.connections.insert(number, Arc::clone(connection));
        let closing = state.closing;
        drop(state);
        match closing {
            Closing::No => {}
            Closing::GoAway => connection.go_away(),
            Closing::Close(reason) => connection.close(reason),
        }
        Some(Place { registry: Arc::clone(self), number })
    }

    pub(super) fn len(&self) -> usize {
        self.lock().connections.len()
    }

    /// Tells every peer that nothing new will be begun.
    pub(super) fn go_away(&self) {
        self.lock().closing = Closing::GoAway;
        for connection in self.all() {
            connection.go_away();
        }
    }

    /// Closes every connection.
    pub(super) fn close_all(&self, reason: CloseReason) {
        self.lock().closing = Closing::Close(reason);
        for connection in self.all() {
            connection.close(reason);
        }
    }

    /// Waits until there is no connection.
    pub(super) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Connection>> {
        self.lock().connections.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        let connection = state.connections.remove(&self.number);
        let empty = state.connections.is_empty();
        drop(state);
        drop(connection);
        if empty {
            self.registry.emptied.notify_waiters();
        }
    }
}
