//! What has happened so far, in numbers; counting is the business of those to whom it happens.

use std::ops::AddAssign;

/// What has happened so far on all connections of a channel, or of a server. Numbers only grow.
///
/// They make visible what no call reports: answers to calls that were dropped, requests that were
/// refused before a handler saw them, connections that were turned away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Connections that were made or accepted.
    pub connections: u64,
    /// Attempts to connect that failed, with connections that ended at once and were of no use, or
    /// connections that were turned away.
    pub connections_refused: u64,
    /// Calls of which this side sent the request, or some of it.
    pub calls: u64,
    /// Calls that the peer refused: they never ran.
    pub calls_refused: u64,
    /// Calls whose callers gave them up after the request was sent, at least in part.
    pub calls_cancelled: u64,
    /// Calls that may have run, for all this side will ever know.
    pub calls_unknown: u64,
    /// One-way calls that failed after they had ended for their callers: the peer answered with an
    /// error, or with what isn't nothing, or the connection ended before it answered. They are
    /// among `calls_refused` if the peer refused them, and among `calls_unknown` if nobody knows
    /// whether they ran to their end.
    pub oneways_failed: u64,
    /// Pings sent to a peer that had fallen silent.
    pub pings: u64,
    /// Requests of the peer that came.
    pub requests: u64,
    /// Requests that this side refused: they never ran.
    pub requests_refused: u64,
    /// Handlers that were stopped before their end, by a cancel or a deadline.
    pub requests_stopped: u64,
    /// Handlers that panicked.
    pub panics: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, more: Self) {
        // Names every field: a new one can't be forgotten here.
        let Self {
            connections,
            connections_refused,
            calls,
            calls_refused,
            calls_cancelled,
            calls_unknown,
            oneways_failed,
            pings,
            requests,
            requests_refused,
            requests_stopped,
            panics,
        } = more;
        self.connections += connections;
        self.connections_refused += connections_refused;
        self.calls += calls;
        self.calls_refused += calls_refused;
        self.calls_cancelled += calls_cancelled;
        self.calls_unknown += calls_unknown;
        self.oneways_failed += oneways_failed;
        self.pings += pings;
        self.requests += requests;
        self.requests_refused += requests_refused;
        self.requests_stopped += requests_stopped;
        self.panics += panics;
    }
}

/// One more of these, if it is one.
pub(crate) fn count(counter: &mut u64, one: bool) {
    *counter = counter.saturating_add(one.into());
}
