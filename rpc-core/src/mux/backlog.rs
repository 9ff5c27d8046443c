//! Requests that are complete and haven't been started: how much they hold, and which of them wait
//! until the peer takes more of its replies.

use std::{collections::BTreeMap, task::Waker};

use crate::frame::CallId;

/// The backlog of one connection.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Bytes of requests that haven't been started.
    pub(super) bytes: usize,
    /// Those that may not start yet, the oldest first: ids grow with every call.
    parked: BTreeMap<CallId, Waker>,
}

/// Whether a handler may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// It may, now.
    Now,
    /// Not before it is woken.
    Wait,
    /// Its call is over.
    Never,
}

impl Backlog {
    /// Lets a request wait. Returns a waker that isn't needed any more.
    pub(super) fn park(&mut self, id: CallId, waker: Waker) -> Option<Waker> {
        self.parked.insert(id, waker)
    }

    /// A request doesn't wait any more.
    pub(super) fn leave(&mut self, id: CallId) -> Option<Waker> {
        self.parked.remove(&id)
    }

    /// The waker of the request that has waited longest.
    pub(super) fn next(&mut self) -> Option<Waker> {
        self.parked.pop_first().map(|(_, waker)| waker)
    }

    /// Nothing will be started any more.
    pub(super) fn clear(&mut self, discarded: &mut Vec<Waker>) {
        while let Some(waker) = self.next() {
            discarded.push(waker);
        }
    }

    #[cfg(any(fuzzing, test))]
    pub(super) fn oldest(&self) -> Option<CallId> {
        self.parked.keys().next().copied()
    }

    #[cfg(any(fuzzing, test))]
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0 && self.parked.is_empty()
    }
}
