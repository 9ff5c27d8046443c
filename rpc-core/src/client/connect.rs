//! Makes connections and drives them, in a task of its own; what a channel does with them is
//! `link`'s business.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Weak},
};

use super::{ChannelBuilder, link::Link};
use crate::{
    connection::{Connection, Driver, DriverConfig, Router},
    error::CloseReason,
    frame::Role,
    mux::Settings,
    sync::sleep_until,
    transport::{Connector, Transport},
};

/// An attempt to connect: the connection, and what drives it.
pub(super) type Connecting =
    Pin<Box<dyn Future<Output = io::Result<(Arc<Connection>, Driving)>> + Send>>;

/// Drives a connection to its end.
type Driving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes connections, whatever the transport is.
pub(super) struct Connect(Box<dyn Fn(bool) -> Connecting + Send + Sync>);

impl Connect {
    /// `router` has what the peer may call back.
    pub(super) fn new<C: Connector>(
        settings: &ChannelBuilder,
        router: Router,
        connector: C,
    ) -> Self {
        let (connector, router) = (Arc::new(connector), Arc::new(router));
        let instance = crate::random_u128();
        let (limits, keepalive) = (settings.limits.clone(), settings.keepalive);
        let hello_timeout = settings.hello_timeout;
        let config = DriverConfig { hello_timeout, idle_timeout: None };
        Self(Box::new(move |cautious| {
            let (connector, router) = (Arc::clone(&connector), Arc::clone(&router));
            let limits = limits.clone();
            Box::pin(async move {
                let transport = connector.connect().await?;
                let frame_bytes = transport.frame_bytes();
                let settings = Settings { limits, keepalive, frame_bytes, instance, cautious };
                let connection = Connection::new(Role::Connector, settings);
                let driver = Driver::new(Arc::clone(&connection), transport, router, config);
                Ok((connection, Box::pin(driver) as Driving))
            })
        }))
    }

    /// `cautious` says that there was a connection before.
    pub(super) fn begin(&self, cautious: bool) -> Connecting {
        (self.0)(cautious)
    }
}

/// A task's promise to make a connection, as long as somebody waits for one. Broken when the task
/// is dropped, even before its first poll.
pub(super) struct Promise {
    /// Not held: an attempt doesn't keep a channel alive.
    link: Weak<Link>,
    task: u64,
}

impl Promise {
    pub(super) fn new(link: &Arc<Link>, task: u64) -> Self {
        Self { link: Arc::downgrade(link), task }
    }

    /// Makes connections as long as somebody waits for one, and drives them.
    pub(super) async fn keep(self) {
        while let Some(link) = self.link.upgrade() {
            let not_before = link.not_before();
            drop(link);
            if let Some(at) = not_before {
                sleep_until(at.into()).await;
            }
            if !self.try_once().await {
                return;
            }
        }
    }

    /// Makes one connection and drives it. Returns whether to make another.
    async fn try_once(&self) -> bool {
        let Some(connecting) = self.link.upgrade().and_then(|link| link.begin(self.task)) else {
            return false;
        };
        match connecting.await {
            Ok((connection, driving)) => {
                let wanted =
                    self.link.upgrade().is_some_and(|link| link.connected(self.task, &connection));
                if !wanted {
                    connection.close(CloseReason::Done);
                }
                driving.await;
                self.link.upgrade().is_some_and(|link| link.ended(self.task, &connection))
            }
            Err(error) => self.link.upgrade().is_some_and(|link| link.failed(self.task, error)),
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(link) = self.link.upgrade() {
            link.abandoned(self.task);
        }
    }
}
