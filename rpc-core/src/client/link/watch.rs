//! What can be seen of a link from outside: that its connection is gone, and what has happened.

use std::sync::Arc;

use super::{Link, Phase, State};
use crate::{
    connection::Connection,
    counters::Counters,
    error::{Delivery, ErrorKind, RpcError},
    mux::Closed,
};

impl Link {
    /// Waits until the present connection isn't the present one any more, and says how it ended.
    pub(in crate::client) async fn gone(&self) -> RpcError {
        let present = self.present();
        loop {
            // Made before the look, so that it hears of what happens after it.
            let gone = self.gone.notified();
            if let Some(end) = self.end_of(present.as_ref()) {
                return end;
            }
            gone.await;
        }
    }

    /// The present connection, if there is one.
    pub(in crate::client) fn present(&self) -> Option<Arc<Connection>> {
        match &self.lock().phase {
            Phase::Up(connection) => Some(Arc::clone(connection)),
            Phase::Down | Phase::Connecting(_) => None,
        }
    }

    /// How a connection ended, if it isn't the present one any more.
    fn end_of(&self, connection: Option<&Arc<Connection>>) -> Option<RpcError> {
        let state = self.lock();
        let gone = connection.is_none_or(|connection| !state.is_up(connection));
        gone.then(|| self.end(&state))
    }

    /// How the last connection ended.
    fn end(&self, state: &State) -> RpcError {
        let (kind, text, cause) = match &state.end {
            Some(Closed { kind, text, cause }) => (*kind, text.clone(), cause.0.clone()),
            None if state.failures > 0 => return self.unreachable(state),
            None if state.past.connections > 0 || !state.driven.is_empty() => {
                (ErrorKind::ConnectionLost, "the server is going away".into(), None)
            }
            None => (ErrorKind::ConnectionLost, "no connection was made yet".into(), None),
        };
        let error = RpcError::new(kind, Delivery::NotSent, text);
        match cause {
            Some(cause) => error.with_shared_source(cause as _),
            None => error,
        }
    }

    pub(in crate::client) fn counters(&self) -> Counters {
        let state = self.lock();
        let mut counters = state.past;
        counters.connections_refused += state.failures;
        for connection in state.driven.values() {
            counters += connection.counters();
        }
        counters
    }
}
