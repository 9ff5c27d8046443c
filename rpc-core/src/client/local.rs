//! A channel to a service in this process, without a listener to name; the transport is `memory`.

use std::{
    fmt, io,
    sync::{Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use super::Channel;
use crate::{
    server::{Server, ServerBuilder},
    service::Service,
    transport::{
        Address, Connector,
        memory::{self, MemoryConnector, MemoryTransport},
    },
};

impl Channel {
    /// A channel to `service`, which runs in this process, behind a server of its own, while the
    /// channel or a call on it is there. For tests, and for services that need no other process:
    /// arguments are encoded, deadlines, cancellation and errors are those of any other channel.
    ///
    /// ```
    /// # #[rpc_core::service]
    /// # trait Greeter {
    /// #     async fn hello(&self, name: &str) -> String;
    /// # }
    /// # struct English;
    /// # impl Greeter for English {
    /// #     async fn hello(&self, name: &str) -> String {
    /// #         format!("Hello, {name}!")
    /// #     }
    /// # }
    /// # use rpc_core::Channel;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), rpc_core::RpcError> {
    /// let greeter = GreeterClient::new(Channel::local(GreeterServer::new(English)));
    /// assert_eq!(greeter.hello("Ada").await?, "Hello, Ada!");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// For several services, limits or a shutdown, use a [`Server`] and
    /// [`transport::memory`](memory).
    #[must_use]
    pub fn local(service: impl Service) -> Self {
        Self::lazy(Local::new(service))
    }
}

/// Starts its server when a connection is needed: before that there may be no runtime.
struct Local {
    name: &'static str,
    builder: Mutex<Option<ServerBuilder>>,
    running: OnceCell<(Server, MemoryConnector)>,
}

impl Local {
    fn new(service: impl Service) -> Self {
        let name = service.name();
        let builder = Server::builder().service(service).no_idle_timeout();
        Self { name, builder: Mutex::new(Some(builder)), running: OnceCell::new() }
    }

    async fn start(&self) -> io::Result<(Server, MemoryConnector)> {
        let listener = memory::listen("local:0").await?;
        let connector = memory::connector(listener.local_addr());
        let builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner).take();
        let hopeless = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        let builder = builder.ok_or_else(|| hopeless("its server did not start".to_owned()))?;
        let server = builder.listen(listener).start().map_err(|e| hopeless(e.to_string()))?;
        Ok((server, connector))
    }
}

impl Connector for Local {
    type Transport = MemoryTransport;

    fn target(&self) -> Address {
        Address::Memory(self.name.to_owned())
    }

    async fn connect(&self) -> io::Result<MemoryTransport> {
        let (_server, connector) = self.running.get_or_try_init(|| self.start()).await?;
        connector.connect().await
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("service", &self.name).finish_non_exhaustive()
    }
}
