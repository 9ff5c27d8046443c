//! Settings of a channel and their defaults.

use std::{fmt, sync::Arc, time::Duration};

use super::Channel;
use crate::{
    connection::{Capacity, Router},
    error::RpcError,
    limits::Limits,
    mux::Keepalive,
    service::Service,
    transport::Connector,
};

/// How long a call may take unless its caller says otherwise.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Calls of the server that a channel runs at a time, unless told otherwise: what some connections
/// may have with the default of [`Limits::calls`]. There is one, and those that are being finished.
const SERVED_CALLS: usize = 4096;

/// How long the server's hello may take.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings of a [`Channel`]: [`Channel::builder`], then [`connect`](ChannelBuilder::connect) or
/// [`lazy`](ChannelBuilder::lazy).
#[derive(Clone)]
pub struct ChannelBuilder {
    pub(super) timeout: Option<Duration>,
    pub(super) hello_timeout: Duration,
    pub(super) backoff: (Duration, Duration),
    pub(super) fail_fast: bool,
    pub(super) keepalive: Option<Keepalive>,
    pub(super) limits: Limits,
    services: Vec<Arc<dyn Service>>,
    served_calls: usize,
}

impl Default for ChannelBuilder {
    fn default() -> Self {
        Self {
            timeout: Some(TIMEOUT),
            hello_timeout: HELLO_TIMEOUT,
            backoff: (Duration::from_millis(50), Duration::from_secs(5)),
            fail_fast: false,
            keepalive: Some(Keepalive::default()),
            limits: Limits::default(),
            services: Vec::new(),
            served_calls: SERVED_CALLS,
        }
    }
}

impl ChannelBuilder {
    /// How long a call may take unless it says otherwise. Default: 10 seconds.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Calls may take as long as they like unless they say otherwise.
    #[must_use]
    pub fn no_timeout(self) -> Self {
        Self { timeout: None, ..self }
    }

    /// How long the server may take to say hello on a new connection. Default: 5 seconds.
    #[must_use]
    pub fn hello_timeout(self, timeout: Duration) -> Self {
        Self { hello_timeout: timeout, ..self }
    }

    /// The pause after a failed attempt to connect: `first`, doubled with each further failure up to
    /// `most`, of which a random part between half and all is waited. A connection that ends sooner
    /// than `most` after it was made, and has answered no call, counts as a failed attempt.
    /// Default: 50 ms to 5 s; 30 days at most.
    #[must_use]
    pub fn backoff(self, first: Duration, most: Duration) -> Self {
        Self { backoff: (first, most.max(first)), ..self }
    }

    /// Calls fail as soon as an attempt to connect has failed, instead of waiting for the next one
    /// until their deadline. Default: they wait.
    #[must_use]
    pub fn fail_fast(self, fail_fast: bool) -> Self {
        Self { fail_fast, ..self }
    }

    /// How a dead server is found while calls wait for it: after `silence` without a byte from it
    /// it is pinged, and if nothing comes for `answer` the connection is closed and the calls fail
    /// with *connection lost*, unknown. Default: 4 s each. A call whose deadline passes during a
    /// silence has the server pinged at once.
    #[must_use]
    pub fn keepalive(self, silence: Duration, answer: Duration) -> Self {
        Self { keepalive: Some(Keepalive { silence, answer }), ..self }
    }

    /// The server is never pinged, not even while it waits for calls back
    /// ([`service`](Self::service)): one that vanishes then is found by the transport, if at all.
    #[must_use]
    pub fn no_keepalive(self) -> Self {
        Self { keepalive: None, ..self }
    }

    /// The limits of each connection. Default: [`Limits::default`].
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Adds a service that the server may call back, over every connection of this channel: see
    /// [`Context::channel`](crate::Context::channel). Handlers run as they do on a server, with the
    /// server as their peer, and what they promise is the same.
    ///
    /// They run as long as there is a connection, and the channel makes another only when one of its
    /// own calls needs it: a client that only listens waits for [`Channel::closed`], and calls again.
    /// When the last [`Channel`] and [`Call`](crate::Call)
    /// are gone it is closed: handlers are stopped, and calls of the server fail with *connection
    /// lost*, unknown. So whoever wants to be called keeps the channel. A service that holds it as
    /// well keeps it open for ever; in a handler, [`Context::channel`](crate::Context::channel) leads
    /// to the server all the same.
    ///
    /// # Panics
    /// [`connect`](Self::connect) and [`lazy`](Self::lazy) do when two services have the same name,
    /// or two methods the same id.
    #[must_use]
    pub fn service(mut self, service: impl Service) -> Self {
        self.services.push(Arc::new(service));
        self
    }

    /// How many calls of the server to run at a time, on all connections of this channel together:
    /// the present one, and those that are being finished. Further ones are refused with
    /// *overloaded*, and never run. Calls that end at their first poll, without waiting for
    /// anything, don't count. Default: 4,096; [`Limits::calls`] is the limit of each connection.
    #[must_use]
    pub fn served_calls(self, calls: usize) -> Self {
        Self { served_calls: calls, ..self }
    }

    /// Makes the first connection now, and fails at the first failure. It doesn't wait for the
    /// server's hello: a peer that speaks another protocol shows at the first call.
    ///
    /// # Errors
    /// [`ConnectionLost`](crate::ErrorKind::ConnectionLost), not sent: it can't be made. The source
    /// is the transport's error.
    ///
    /// # Panics
    /// Two [services](Self::service) have the same name, or two methods the same id.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait, and with it the channel.
    pub async fn connect(self, connector: impl Connector) -> Result<Channel, RpcError> {
        let channel = self.lazy(connector);
        channel.first_connection().await?;
        Ok(channel)
    }

    /// Connects when the first call is made.
    ///
    /// # Panics
    /// Two [services](Self::service) have the same name, or two methods the same id.
    #[must_use]
    #[track_caller]
    #[expect(clippy::panic, reason = "a mistake in the program, found when it starts")]
    pub fn lazy(self, connector: impl Connector) -> Channel {
        let capacity = Capacity {
            calls: self.served_calls,
            side: "the client",
            setting: "ChannelBuilder::served_calls",
        };
        match Router::new(self.services.clone(), capacity) {
            Ok(router) => Channel::with_settings(self, router, connector),
            Err(error) => panic!("a channel cannot serve this: {error}"),
        }
    }
}

impl fmt::Debug for ChannelBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.services.iter().map(|service| service.name()).collect();
        f.debug_struct("ChannelBuilder")
            .field("services", &services)
            .field("timeout", &self.timeout)
            .field("keepalive", &self.keepalive)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
