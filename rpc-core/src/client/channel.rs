//! A channel: a way to a server that outlives connections; what a call is, is in `call`.

use std::{fmt, future::poll_fn, sync::Arc};

use serde::Serialize;

use super::{
    Call, ChannelBuilder,
    call::{decode_stream, decode_value},
    link::{Attempt, Link},
    way::Way,
};
#[cfg(feature = "testing")]
use crate::connection::Connection;
use crate::{
    connection::{Origin, Router},
    counters::Counters,
    error::RpcError,
    service::{Method, Reply, StreamReply},
    transport::{Address, Connector},
};

/// A way to a server. Cheap to clone; clients of any services share it.
///
/// It makes one connection, and another when that one breaks: when a call needs it, one attempt at
/// a time, with a pause after a failure. Calls wait for the attempt until their deadline. When the
/// last channel and the last call of a connection are gone, the connection is closed, as soon as
/// one-way calls that have left are answered. Handlers that the server has called back by then are
/// stopped (see [`ChannelBuilder::service`]).
///
/// [`Context::channel`](crate::Context::channel) gives a channel of another sort: back to the peer
/// that called.
///
/// Calls have to be polled on a tokio runtime with time (and I/O, if the transport needs it).
#[derive(Clone)]
pub struct Channel {
    pub(super) way: Way,
}

impl Channel {
    /// Makes a connection now, with default settings, and fails at the first failure. It doesn't
    /// wait for the server's hello: a peer that speaks another protocol shows at the first call.
    ///
    /// # Errors
    /// [`ConnectionLost`](crate::ErrorKind::ConnectionLost), not sent: it can't be made. The source
    /// is the transport's error.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait, and with it the channel.
    pub async fn connect(connector: impl Connector) -> Result<Self, RpcError> {
        Self::builder().connect(connector).await
    }

    /// Connects when the first call is made, with default settings.
    #[must_use]
    pub fn lazy(connector: impl Connector) -> Self {
        Self::builder().lazy(connector)
    }

    /// Settings, and their defaults.
    #[must_use]
    pub fn builder() -> ChannelBuilder {
        ChannelBuilder::default()
    }

    pub(super) fn with_settings(
        settings: ChannelBuilder,
        router: Router,
        connector: impl Connector,
    ) -> Self {
        Self { way: Way::Out(Link::new(settings, router, connector)) }
    }

    /// A channel back to whoever called.
    pub(crate) fn back(origin: Arc<Origin>) -> Self {
        Self { way: Way::Back(origin) }
    }

    pub(super) async fn first_connection(&self) -> Result<(), RpcError> {
        let mut attempt = Attempt::failing_fast();
        poll_fn(|cx| self.way.poll_connection(cx, &mut attempt)).await.map(drop)
    }

    /// Where it leads to.
    #[must_use]
    pub fn target(&self) -> &Address {
        self.way.target()
    }

    /// Waits for the end of the present connection, and returns how it ended. If the server says that
    /// it is going away, that is when the calls under way have ended, or when another call makes
    /// another connection. Returns at once if there is none. Nobody has to wait for this: calls make
    /// a connection when they need one. A channel [back to a caller](crate::Context::channel) has one
    /// connection, and this is its end.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn closed(&self) -> RpcError {
        self.way.gone().await
    }

    /// What has happened so far, on all connections that this channel has made, or on the one that it
    /// leads back over.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.way.counters()
    }

    /// Makes a call: encodes the arguments, a tuple, and sends nothing before the call is polled.
    ///
    /// Generated clients are made of this; `examples/by_hand.rs` uses it directly.
    #[inline]
    pub fn call<R: Reply>(
        &self,
        method: &'static Method,
        args: impl Serialize,
    ) -> Call<R::Ok, R::Failure> {
        Call::new(self, method, &args, decode_value::<R>, R::ONEWAY)
    }

    /// Makes a call of a method whose last argument may be `Bytes`: many are then sent as they lie.
    /// See [`call`](Channel::call).
    pub fn call_with_last<R: Reply>(
        &self,
        method: &'static Method,
        args: impl Serialize,
        last: impl Serialize + 'static,
    ) -> Call<R::Ok, R::Failure> {
        Call::with_last(self, method, &args, &last, decode_value::<R>, R::ONEWAY)
    }

    /// Makes a call of a method that returns a stream. See [`call`](Channel::call).
    pub fn call_stream<R: StreamReply>(
        &self,
        method: &'static Method,
        args: impl Serialize,
    ) -> Call<R::Ok, R::Failure> {
        Call::new(self, method, &args, decode_stream::<R>, false)
    }
}

#[cfg(feature = "testing")]
impl Channel {
    /// Its connection, if it has one, for a kit that looks into it.
    pub(crate) fn connection(&self) -> Option<Arc<Connection>> {
        self.way.present()
    }

    /// How many calls wait for a connection.
    pub(crate) fn waiting(&self) -> usize {
        self.way.waiting()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("target", self.target()).finish_non_exhaustive()
    }
}
