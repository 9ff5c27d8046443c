//! The accept loop of one listener: never ends by itself, whatever `accept` returns.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::sync::watch;

use super::registry::Registry;
use crate::{
    connection::{Connection, Driver, DriverConfig, Router},
    error::CloseReason,
    frame::Role,
    limits::Limits,
    mux::{Keepalive, Settings},
    transport::{Listener, Transport},
};

/// The pause after an accept that failed for want of resources: doubled up to the second figure.
/// Connections that exist go on; the backlog holds those that come.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How many connections are still accepted when the server goes: what a backlog holds. A shutdown
/// has to end, however fast they come.
const LAST_CONNECTIONS: usize = 1024;

/// What a listener's task needs.
#[derive(Clone)]
pub(super) struct Acceptor {
    pub(super) router: Arc<Router>,
    pub(super) registry: Arc<Registry>,
    pub(super) limits: Limits,
    pub(super) connections: usize,
    pub(super) hello_timeout: Duration,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) instance: u128,
}

/// Accepts until the server goes, and then what waits already: a client that has connected may have
/// sent a request, and if it is never read nobody knows what became of it.
pub(super) async fn accept<L: Listener>(
    mut listener: L,
    acceptor: Acceptor,
    mut going: watch::Receiver<bool>,
) {
    let mut pause = PAUSE.0;
    let mut last = 0..LAST_CONNECTIONS;
    while !*going.borrow() || last.next().is_some() {
        let accepted = {
            let mut going = pin!(going.wait_for(|going| *going));
            poll_fn(|cx| match listener.poll_accept(cx) {
                Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
                Poll::Pending => going.as_mut().poll(cx).map(|_| None),
            })
            .await
        };
        let Some(accepted) = accepted else { return };
        match accepted {
            Ok(transport) => {
                pause = PAUSE.0;
                acceptor.serve(transport);
            }
            Err(error) if is_of_one_connection(&error) => tokio::task::yield_now().await,
            Err(_) => {
                if tokio::time::timeout(pause, going.wait_for(|going| *going)).await.is_ok() {
                    return;
                }
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

/// Whether a failed accept says something about that connection only (`accept(2)`, *Error
/// handling*): the peer went away before it was accepted. Everything else counts as a lack of
/// resources, which passes.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
    )
}

impl Acceptor {
    /// Serves a connection in a task of its own.
    fn serve<T: Transport>(&self, transport: T) {
        let connection = Connection::new(
            Role::Acceptor,
            Settings {
                limits: self.limits.clone(),
                keepalive: Some(Keepalive::default()),
                frame_bytes: transport.frame_bytes(),
                instance: self.instance,
                cautious: false,
            },
        );
        let place = self.registry.enter(&connection, self.connections);
        if place.is_none() {
            connection.close(CloseReason::TooManyConnections);
        }
        let config =
            DriverConfig { hello_timeout: self.hello_timeout, idle_timeout: self.idle_timeout };
        let driver = Driver::new(connection, transport, Arc::clone(&self.router), config);
        tokio::spawn(async move {
            driver.await;
            drop(place);
        });
    }
}
