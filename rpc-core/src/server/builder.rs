//! Settings of a server and their defaults.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    Server,
    accept::{Acceptor, accept},
    registry::Registry,
};
use crate::{
    connection::{Capacity, Router},
    limits::Limits,
    service::Service,
    sync::{JoinHandle, spawn},
    transport::{Address, Listener},
};

/// How long a client's hello may take.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that a server accepts at a time, unless told otherwise.
const CONNECTIONS: usize = 16_384;

/// Calls that a server runs at a time, unless told otherwise.
const CALLS: usize = 65_536;

/// How long a connection may be of no use to anybody.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// What a server is made of: [`Server::builder`], services, listeners, [`start`](Self::start).
pub struct ServerBuilder {
    services: Vec<Arc<dyn Service>>,
    listeners: Vec<(Address, StartAcceptor)>,
    limits: Limits,
    connections: usize,
    calls: usize,
    hello_timeout: Duration,
    idle_timeout: Option<Duration>,
}

/// Starts a listener's task, once everything else is known.
type StartAcceptor = Box<dyn FnOnce(Acceptor) -> JoinHandle<()> + Send>;

/// Why a server could not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server cannot start: {text}")]
pub struct StartError {
    text: String,
}

impl Default for ServerBuilder {
    fn default() -> Self {
        Self {
            services: Vec::new(),
            listeners: Vec::new(),
            limits: Limits::default(),
            connections: CONNECTIONS,
            calls: CALLS,
            hello_timeout: HELLO_TIMEOUT,
            idle_timeout: Some(IDLE_TIMEOUT),
        }
    }
}

impl ServerBuilder {
    /// Adds a service. All services share all listeners.
    #[must_use]
    pub fn service(mut self, service: impl Service) -> Self {
        self.services.push(Arc::new(service));
        self
    }

    /// Adds a listener. Different transports can be mixed.
    #[must_use]
    pub fn listen(mut self, listener: impl Listener) -> Self {
        let address = listener.local_addr();
        let start = Box::new(move |acceptor| spawn(accept(listener, acceptor)));
        self.listeners.push((address, start));
        self
    }

    /// The limits of each connection. Default: [`Limits::default`].
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// How many connections to accept at a time. When there are that many, the oldest whose client
    /// hasn't said hello yet makes room; if all have, further ones are told so and closed.
    /// Default: 16,384.
    #[must_use]
    pub fn connections(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    /// How many calls to run at a time on all connections together; further ones are refused with
    /// *overloaded*, and never run. Calls that end at their first poll, without waiting for anything,
    /// don't count. Default: 65,536; [`Limits::calls`] is the limit of each connection.
    #[must_use]
    pub fn calls(self, calls: usize) -> Self {
        Self { calls, ..self }
    }

    /// How long a client may take to say hello. Default: 5 seconds.
    #[must_use]
    pub fn hello_timeout(self, timeout: Duration) -> Self {
        Self { hello_timeout: timeout, ..self }
    }

    /// How long a connection without calls is kept before its client is asked to leave; its channel
    /// makes another when it needs one. To the second. Default: 10 minutes.
    ///
    /// Calls in either direction count. A client that only wants to be called back, now and then,
    /// keeps a call under way (one that the handler doesn't answer, without a deadline), which also
    /// makes it find out when the server dies.
    #[must_use]
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        Self { idle_timeout: Some(timeout), ..self }
    }

    /// Connections without calls are kept.
    #[must_use]
    pub fn no_idle_timeout(self) -> Self {
        Self { idle_timeout: None, ..self }
    }

    /// Starts accepting. Without a listener the server has nothing to do.
    ///
    /// # Errors
    /// Two services have the same name, or two methods the same id.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> Result<Server, StartError> {
        let capacity =
            Capacity { calls: self.calls, side: "the server", setting: "ServerBuilder::calls" };
        let router = Router::new(self.services, capacity)
            .map_err(|error| StartError { text: error.to_string() })?;
        let registry = Arc::new(Registry::default());
        let acceptor = Acceptor {
            router: Arc::new(router),
            registry: Arc::clone(&registry),
            limits: self.limits,
            connections: self.connections,
            hello_timeout: self.hello_timeout,
            idle_timeout: self.idle_timeout,
            instance: crate::random_u128(),
        };
        let mut local_addrs = Vec::new();
        let mut acceptors = Vec::new();
        for (address, start) in self.listeners {
            local_addrs.push(address);
            acceptors.push(start(acceptor.clone()));
        }
        Ok(Server { registry, acceptors, local_addrs })
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.services.iter().map(|service| service.name()).collect();
        let listeners: Vec<_> = self.listeners.iter().map(|(address, _)| address).collect();
        f.debug_struct("ServerBuilder")
            .field("services", &services)
            .field("listeners", &listeners)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
