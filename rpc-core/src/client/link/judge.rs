//! Judges connections that ended and attempts that failed: how long to wait before the next.

use std::{io, sync::Arc, time::Duration};

use super::{Link, State};
use crate::{
    clock,
    connection::Connection,
    error::ErrorKind,
    mux::{Cause, Closed, TIMEOUT_MAX},
};

impl Link {
    /// Decides whether a connection that ended was a failed attempt: one that was made moments ago
    /// and has answered nothing. Without that, a server that turns peers away would be asked
    /// without a pause.
    pub(super) fn judge(&self, state: &mut State, connection: &Connection) {
        let end = connection.end();
        state.end.clone_from(&end.closed);
        if end.answered || end.age > self.settings.backoff.1 {
            state.failed_in_a_row = 0;
            state.not_before = None;
            return;
        }
        let text = "the server is going away".to_owned();
        self.note_failure(
            state,
            match end.closed {
                Some(Closed { cause: Cause(Some(cause)), .. }) => {
                    io::Error::new(cause.kind(), cause)
                }
                Some(Closed { kind: ErrorKind::IncompatiblePeer, text, .. }) => {
                    io::Error::new(io::ErrorKind::InvalidData, text)
                }
                Some(closed) => io::Error::new(io::ErrorKind::ConnectionAborted, closed.text),
                None => io::Error::new(io::ErrorKind::ConnectionAborted, text),
            },
        );
    }

    pub(super) fn note_failure(&self, state: &mut State, error: io::Error) {
        state.not_before = clock::now().checked_add(self.pause(state.failed_in_a_row));
        state.failed_in_a_row += 1;
        state.failures += 1;
        state.last_error = Some(Arc::new(error));
    }

    /// The pause after `failed` failures in a row: exponential, with jitter.
    fn pause(&self, failed: u32) -> Duration {
        let (first, most) = self.settings.backoff;
        // A pause that no clock can express would be none.
        let full = first.saturating_mul(1 << failed.min(16)).min(most).min(TIMEOUT_MAX);
        full / 2 + full.mul_f64(fastrand::f64() / 2.0)
    }
}
