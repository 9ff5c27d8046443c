//! The connections of a server: counted, limited, closed together; what they do is their business.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use crate::{
    connection::Connection,
    counters::Counters,
    error::CloseReason,
    planted::planted,
    sync::{Mutex, MutexGuard},
};

/// Connections that are told at a time that there are too many. Further ones are dropped without a
/// word.
const LEAVING_MAX: usize = 1024;

/// Entries of connections that are no strangers any more, before they are looked through.
const STRANGERS_KEPT: usize = 64;

/// All connections of one server.
#[derive(Debug, Default)]
pub(super) struct Registry {
    state: Mutex<State>,
    emptied: Notify,
    /// Newcomers aren't welcome any more.
    closed: Notify,
}

#[derive(Debug, Default)]
struct State {
    connections: BTreeMap<u64, Arc<Connection>>,
    /// Those that had not said hello when they were last looked at, the oldest first.
    strangers: VecDeque<u64>,
    /// Connections that are being told that there are too many.
    leaving: usize,
    next: u64,
    /// What happened on connections that are over, and those that were turned away.
    past: Counters,
    closing: Closing,
}

/// What becomes of connections that come in at present.
#[derive(Debug, Clone, Copy, Default)]
enum Closing {
    #[default]
    No,
    /// They are told to go away. Those that are known to come are waited for, at most until then.
    GoAway(Option<Instant>),
    /// They are closed.
    Close(CloseReason),
}

/// A connection's place in the registry, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    registry: Arc<Registry>,
    /// Not entered, if it has been turned away.
    number: u64,
}

impl Registry {
    /// Enters a connection. If there are `limit` already, the oldest that hasn't said hello makes
    /// room for it; if all have, it is turned away. `None` if it isn't to be served at all: too many
    /// are being turned away. While the server is shutting down it goes the way of all others.
    pub(super) fn enter(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        limit: usize,
    ) -> Option<Place> {
        let mut state = self.lock();
        let full = state.connections.len() >= limit;
        let too_many = full && state.leaving >= LEAVING_MAX;
        let stranger = if full && !too_many { state.take_stranger() } else { None };
        let entered = !full || stranger.is_some();
        if full {
            state.past.connections_refused += 1;
        }
        if too_many {
            return None;
        }
        state.leaving += usize::from(full);
        let number = state.next;
        state.next += 1;
        if entered {
            state.insert(number, connection);
        }
        let closing = state.closing;
        drop(state);
        if let Some(unwanted) = if entered { stranger.as_ref() } else { Some(connection) } {
            unwanted.close(CloseReason::TooManyConnections);
        }
        match closing {
            Closing::No => {}
            Closing::GoAway(_) => connection.go_away(),
            Closing::Close(reason) => connection.close(reason),
        }
        Some(Place { registry: Arc::clone(self), number })
    }

    pub(super) fn len(&self) -> usize {
        self.lock().connections.len()
    }

    pub(super) fn counters(&self) -> Counters {
        let state = self.lock();
        let mut counters = state.past;
        state.connections.values().for_each(|connection| counters += connection.counters());
        counters
    }

    /// Nobody is to be accepted any more. Who comes all the same is told to go away. Those that are
    /// known to come are waited for, at most until then.
    pub(super) fn stop_accepting(&self, until: Option<Instant>) {
        self.lock().closing = Closing::GoAway(until);
        self.closed.notify_waiters();
    }

    /// Until when to wait for connections that are known to come: until `asked` at most.
    pub(super) fn waits_until(&self, asked: Instant) -> Instant {
        match self.lock().closing {
            Closing::GoAway(Some(until)) => asked.min(until),
            _ => asked,
        }
    }

    /// Waits until nobody is to be accepted any more.
    pub(super) async fn closing(&self) {
        loop {
            let closed = self.closed.notified();
            if !matches!(self.lock().closing, Closing::No) {
                return;
            }
            closed.await;
        }
    }

    /// Tells every peer that nothing new will be begun.
    pub(super) fn go_away(&self) {
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
            let unheard = planted("emptied-unheard") && self.len() < usize::MAX;
            let emptied = if unheard { self.emptied.notified() } else { emptied };
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

impl State {
    fn insert(&mut self, number: u64, connection: &Arc<Connection>) {
        self.connections.insert(number, Arc::clone(connection));
        self.strangers.push_back(number);
        // Most have said hello long ago, or are gone.
        if self.strangers.len() > 2 * self.connections.len() + STRANGERS_KEPT {
            let connections = &self.connections;
            self.strangers.retain(|number| {
                connections.get(number).is_some_and(|connection| !connection.hello_arrived())
            });
        }
    }

    /// Takes out the oldest connection whose peer hasn't said hello.
    fn take_stranger(&mut self) -> Option<Arc<Connection>> {
        while let Some(number) = self.strangers.pop_front() {
            let connection = self.connections.get(&number);
            if connection.is_some_and(|connection| !connection.hello_arrived()) {
                return self.connections.remove(&number);
            }
        }
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        if planted("connection-not-forgotten") && matches!(state.closing, Closing::No) {
            return;
        }
        let connection = state.connections.remove(&self.number);
        match &connection {
            Some(connection) => state.past += connection.counters(),
            None => state.leaving -= 1,
        }
        let empty = state.connections.is_empty();
        drop(state);
        drop(connection);
        if empty {
            self.registry.emptied.notify_waiters();
        }
    }
}

#[cfg(all(test, rpc_shuttle))]
mod models {
    use shuttle::{future::block_on, thread};

    use super::*;
    use crate::{frame::Role, limits::Limits, models::exhaust, mux::Settings};

    #[test]
    fn who_waits_for_the_last_connection_hears_that_it_goes() {
        exhaust(|| {
            let registry = Arc::<Registry>::default();
            let limits = Limits::default();
            let frame_bytes = 65_536;
            let settings =
                Settings { limits, keepalive: None, frame_bytes, instance: 1, cautious: false };
            let connection = Connection::new(Role::Acceptor, settings);
            let place = registry.enter(&connection, 1).expect("a place");
            let driver = thread::spawn(move || drop(place));
            block_on(registry.empty());
            assert_eq!(registry.len(), 0);
            driver.join().unwrap();
        });
    }
}
