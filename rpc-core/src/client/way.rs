//! What a channel leads over: a link that makes connections, or the one connection that a call came
//! on; no call state.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    builder::TIMEOUT,
    link::{Attempt, Link},
};
use crate::{
    connection::{Connection, Origin},
    counters::Counters,
    error::{Delivery, ErrorKind, RpcError},
    mux::Closed,
    transport::Address,
};

/// Where calls go.
#[derive(Clone)]
pub(super) enum Way {
    /// To a server, over the connection of the moment.
    Out(Arc<Link>),
    /// Back to the peer that called, over the connection that it called on, and no other.
    Back(Arc<Origin>),
}

impl Way {
    /// How long a call may take unless it says otherwise.
    pub(super) fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Out(link) => link.settings().timeout,
            Self::Back(_) => Some(TIMEOUT),
        }
    }

    pub(super) fn target(&self) -> &Address {
        match self {
            Self::Out(link) => link.target(),
            Self::Back(origin) => origin.peer().address(),
        }
    }

    // ---- for calls

    /// The connection for a call. The way out makes one if there is none.
    #[inline]
    pub(super) fn poll_connection(
        &self,
        cx: &mut Context<'_>,
        attempt: &mut Attempt,
    ) -> Poll<Result<Arc<Connection>, RpcError>> {
        match self {
            Self::Out(link) => link.poll_connection(cx, attempt),
            Self::Back(origin) => Poll::Ready(origin.connection().ok_or_else(|| no_way(origin))),
        }
    }

    /// A call no longer waits for a connection.
    pub(super) fn leave(&self, attempt: &mut Attempt) {
        if let Self::Out(link) = self {
            link.leave(attempt);
        }
    }

    /// The error of a call whose deadline passed while it waited for a connection.
    pub(super) fn too_late(&self) -> RpcError {
        match self {
            Self::Out(link) => link.too_late(),
            Self::Back(origin) => no_way(origin),
        }
    }

    /// The connection takes no more calls. Whether there may be another, or the error of those that
    /// have not been sent.
    pub(super) fn replace(&self, gone: &Arc<Connection>) -> Result<(), RpcError> {
        match self {
            Self::Out(link) => {
                link.replace(gone);
                Ok(())
            }
            Self::Back(origin) => Err(no_way(origin)),
        }
    }

    // ---- for whoever looks from outside

    /// Waits until the present connection isn't the present one any more, and says how it ended.
    pub(super) async fn gone(&self) -> RpcError {
        match self {
            Self::Out(link) => link.gone().await,
            Self::Back(origin) => {
                origin.over().await;
                no_way(origin)
            }
        }
    }

    pub(super) fn counters(&self) -> Counters {
        match self {
            Self::Out(link) => link.counters(),
            Self::Back(origin) => origin.counters(),
        }
    }
}

#[cfg(feature = "testing")]
impl Way {
    pub(super) fn present(&self) -> Option<Arc<Connection>> {
        match self {
            Self::Out(link) => link.present(),
            Self::Back(origin) => origin.connection(),
        }
    }

    pub(super) fn waiting(&self) -> usize {
        match self {
            Self::Out(link) => link.waiting(),
            Self::Back(_) => 0,
        }
    }
}

/// Why nothing goes back to a peer that called.
fn no_way(origin: &Origin) -> RpcError {
    // r[impl delivery.table]
    let peer = origin.peer().address();
    match origin.closed() {
        Some(Closed { text, cause, .. }) => {
            let text = format!("the peer that called, {peer}, has gone: {text}");
            let error = RpcError::new(ErrorKind::ConnectionLost, Delivery::NotSent, text);
            match cause.0 {
                Some(cause) => error.with_shared_source(cause),
                None => error,
            }
        }
        None => {
            let text = format!("one side is going away: no further call goes back to {peer}");
            RpcError::new(ErrorKind::ShuttingDown, Delivery::NotSent, text)
        }
    }
}
