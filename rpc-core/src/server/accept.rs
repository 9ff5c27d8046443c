//! The accept loop of one listener: never ends by itself, whatever `accept` returns.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::task::coop;

use super::registry::{Place, Registry};
use crate::{
    clock,
    connection::{Connection, Driver, DriverConfig, Router},
    frame::Role,
    limits::Limits,
    mux::{Keepalive, Settings},
    sync::{sleep, spawn, timeout, yield_now},
    transport::{Listener, Transport},
};

/// The pause after an accept that failed for want of resources: doubled up to the second figure, so
/// that a server accepts again within a second once there are some, also on a busy machine.
/// Connections that exist go on; the backlog holds those that come.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// After so many accepts that failed for other reasons there is a pause too, the shortest: nobody
/// must be able to keep a core busy with them.
const LOST_MAX: u32 = 100;

/// How many connections are still accepted when the server is shut down: what a backlog holds at
/// most on most systems. Whoever makes more of them must not hold up the shutdown.
const CLEARED_MAX: usize = 4096;

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

/// Accepts until the task is aborted, or the server is shut down.
pub(super) async fn accept<L: Listener>(mut listener: L, acceptor: Acceptor) {
    {
        let mut closing = pin!(acceptor.registry.closing());
        let mut accepting = pin!(acceptor.accept_all(&mut listener));
        poll_fn(|cx| match closing.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => accepting.as_mut().poll(cx),
        })
        .await;
    }
    acceptor.clear(&mut listener).await;
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
    /// Accepts without an end.
    async fn accept_all<L: Listener>(&self, listener: &mut L) {
        let mut pause = PAUSE.0;
        let mut lost = 0;
        loop {
            match poll_fn(|cx| listener.poll_accept(cx)).await {
                Ok(transport) => {
                    pause = PAUSE.0;
                    self.serve(transport);
                }
                Err(error) if is_of_one_connection(&error) => {
                    lost = (lost + 1) % LOST_MAX;
                    if lost == 0 {
                        sleep(PAUSE.0).await;
                    } else {
                        yield_now().await;
                    }
                }
                Err(_) => {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }

    /// Accepts what has come already, before the listener is closed: that would reset it, and a
    /// client that has sent its first request with its hello couldn't know whether it was run.
    async fn clear<L: Listener>(&self, listener: &mut L) {
        self.accept_invited(listener).await;
        listener.refuse_more();
        self.accept_ready(listener).await;
        // A runtime learns what has come when it has time to ask, at the latest for a timer.
        sleep(Duration::from_millis(1)).await;
        self.accept_ready(listener).await;
    }

    /// Accepts those who were told that they may come: they count on it, and may have sent requests.
    async fn accept_invited<L: Listener>(&self, listener: &mut L) {
        while let Some(asked) = listener.invite_no_more() {
            let until = self.registry.waits_until(asked);
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return;
            }
            match timeout(left, poll_fn(|cx| listener.poll_accept(cx))).await {
                Ok(Ok(transport)) => self.serve(transport),
                Ok(Err(error)) if is_of_one_connection(&error) => yield_now().await,
                // There are no resources for them, or none has come.
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    /// Accepts until the listener would block.
    async fn accept_ready<L: Listener>(&self, listener: &mut L) {
        let accepting = poll_fn(|cx| {
            for _ in 0..CLEARED_MAX {
                match listener.poll_accept(cx) {
                    Poll::Ready(Ok(transport)) => self.serve(transport),
                    Poll::Ready(Err(error)) if is_of_one_connection(&error) => {}
                    Poll::Ready(Err(_)) | Poll::Pending => break,
                }
            }
            Poll::Ready(())
        });
        // A task's budget would end this early.
        coop::unconstrained(accepting).await;
    }

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
        let Some(place) = self.registry.enter(&connection, self.connections) else { return };
        let config =
            DriverConfig { hello_timeout: self.hello_timeout, idle_timeout: self.idle_timeout };
        let driver = Driver::new(connection, transport, Arc::clone(&self.router), config);
        spawn(Serving { driver, _place: place });
    }
}

/// The task of one connection. No `async` block: that would hold the driver twice, as what it
/// captured and as what it awaits, which is 600 bytes for every connection.
struct Serving<T> {
    driver: Driver<T>,
    /// Given back when the driver is gone.
    _place: Place,
}

impl<T: Transport> Future for Serving<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.driver).poll(cx)
    }
}
