//! The connection behind a channel: made when it is needed, replaced when it is gone.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    io, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::ChannelBuilder;
use crate::{
    clock,
    connection::{Connection, Driver, DriverConfig, Router},
    error::{CloseReason, Delivery, ErrorKind, RpcError},
    frame::Role,
    mux::{Cause, Closed, Settings},
    transport::{Address, Connector, Transport},
};

/// What a channel and its calls share.
pub(super) struct Link {
    settings: ChannelBuilder,
    target: Address,
    /// Makes a connection and returns the future that drives it.
    connect: Box<dyn Fn(bool) -> Connecting + Send + Sync>,
    state: Mutex<State>,
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<(Arc<Connection>, Driving)>> + Send>>;
type Driving = Pin<Box<dyn Future<Output = ()> + Send>>;

struct State {
    phase: Phase,
    /// Calls that wait for a connection.
    waiters: HashMap<u64, Waker>,
    next_waiter: u64,
    /// Attempts that have failed, ever, and why the last one did. A connection that ended without
    /// answering any call counts as one.
    failures: u64,
    last_error: Option<Arc<io::Error>>,
    /// Attempts that have failed since a connection was of use.
    failed_in_a_row: u32,
    /// When the next attempt may begin.
    not_before: Option<Instant>,
    /// Whether there was a connection before.
    had_one: bool,
}

enum Phase {
    /// There is none, and nobody makes one.
    Down,
    /// A task is making one.
    Connecting,
    /// There is one, as far as anybody knows.
    Up(Arc<Connection>),
}

/// One call's wait for a connection.
#[derive(Debug)]
pub(super) struct Attempt {
    waiter: Option<u64>,
    /// How many attempts had failed when the wait began.
    failures: Option<u64>,
    fail_fast: bool,
}

impl Attempt {
    pub(super) fn failing_fast() -> Self {
        Self { waiter: None, failures: None, fail_fast: true }
    }

    pub(super) fn new() -> Self {
        Self { waiter: None, failures: None, fail_fast: false }
    }
}

impl Link {
    pub(super) fn new<C: Connector>(settings: ChannelBuilder, connector: C) -> Arc<Self> {
        let target = connector.target();
        let connector = Arc::new(connector);
        let instance = crate::random_u128();
        let (limits, keepalive) = (settings.limits.clone(), settings.keepalive);
        let hello_timeout = settings.hello_timeout;
        let connect = move |cautious: bool| -> Connecting {
            let (connector, limits) = (Arc::clone(&connector), limits.clone());
            Box::pin(async move {
                let transport = connector.connect().await?;
                let connection = Connection::new(
                    Role::Connector,
                    Settings {
                        limits,
                        keepalive,
                        frame_bytes: transport.frame_bytes(),
                        instance,
                        cautious,
                    },
                );
                let config = DriverConfig { hello_timeout };
                let router = Arc::new(Router::default());
                let driver = Driver::new(Arc::clone(&connection), transport, router, config);
                Ok((connection, Box::pin(driver) as Driving))
            })
        };
        Arc::new(Self {
            settings,
            target,
            connect: Box::new(connect),
            state: Mutex::new(State {
                phase: Phase::Down,
                waiters: HashMap::new(),
                next_waiter: 0,
                failures: 0,
                last_error: None,
                failed_in_a_row: 0,
                not_before: None,
                had_one: false,
            }),
        })
    }

    pub(super) fn settings(&self) -> &ChannelBuilder {
        &self.settings
    }

    pub(super) fn target(&self) -> &Address {
        &self.target
    }

    /// The current connection. Makes one if there is none.
    #[inline]
    pub(super) fn poll_connection(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        attempt: &mut Attempt,
    ) -> Poll<Result<Arc<Connection>, RpcError>> {
        let mut state = self.lock();
        if let Phase::Up(connection) = &state.phase {
            let connection = Arc::clone(connection);
            if let Some(waiter) = attempt.waiter.take() {
                state.waiters.remove(&waiter);
            }
            return Poll::Ready(Ok(connection));
        }
        self.wait(state, cx, attempt)
    }

    fn wait(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        cx: &mut Context<'_>,
        attempt: &mut Attempt,
    ) -> Poll<Result<Arc<Connection>, RpcError>> {
        let before = *attempt.failures.get_or_insert(state.failures);
        let failed = state.failures > before;
        let fail_fast = attempt.fail_fast || self.settings.fail_fast;
        // While no attempt may begin, failing fast is failing now.
        let pausing = || state.not_before.is_some_and(|at| at > clock::now());
        if failed && state.is_hopeless() || fail_fast && (failed || pausing()) {
            attempt.waiter.take().map(|waiter| state.waiters.remove(&waiter));
            return Poll::Ready(Err(self.unreachable(&state)));
        }
        match attempt.waiter {
            Some(waiter) => {
                state.waiters.insert(waiter, cx.waker().clone());
            }
            None if state.waiters.len() >= self.settings.limits.waiting_calls => {
                let limit = self.settings.limits.waiting_calls;
                let detail = format!(
                    "{limit} calls wait for a connection to {} already (Limits::waiting_calls)",
                    self.target
                );
                let error = RpcError::new(ErrorKind::Overloaded, Delivery::NotSent, detail);
                return Poll::Ready(Err(error));
            }
            None => {
                let waiter = state.next_waiter;
                state.next_waiter += 1;
                state.waiters.insert(waiter, cx.waker().clone());
                attempt.waiter = Some(waiter);
            }
        }
        if let Phase::Down = state.phase {
            state.phase = Phase::Connecting;
            drop(state);
            tokio::spawn(make_connection(Arc::downgrade(self)));
        }
        Poll::Pending
    }

    /// A call no longer waits.
    pub(super) fn leave(&self, attempt: &mut Attempt) {
        if let Some(waiter) = attempt.waiter.take() {
            let waker = self.lock().waiters.remove(&waiter);
            drop(waker);
        }
    }

    /// The connection takes no more calls: the next call makes another.
    pub(super) fn replace(&self, gone: &Arc<Connection>) {
        let mut state = self.lock();
        if matches!(&state.phase, Phase::Up(current) if Arc::ptr_eq(current, gone)) {
            let old = mem::replace(&mut state.phase, Phase::Down);
            drop(state);
            drop(old);
        }
    }

    /// The error of a call that never got a connection.
    fn unreachable(&self, state: &State) -> RpcError {
        let detail = format!("could not connect to {}", self.target);
        let error = RpcError::new(state.failure_kind(), Delivery::NotSent, detail);
        match &state.last_error {
            Some(cause) => error.with_shared_source(Arc::clone(cause) as _),
            None => error,
        }
    }

    /// The error of a call whose deadline passed while it waited for a connection.
    pub(super) fn too_late(&self) -> RpcError {
        let state = self.lock();
        let detail = format!("it waited for a connection to {}", self.target);
        let error = RpcError::new(ErrorKind::DeadlineExceeded, Delivery::NotSent, detail);
        match &state.last_error {
            Some(cause) => error.with_shared_source(Arc::clone(cause) as _),
            None => error,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a connection.
    fn connected(&self, connection: &Arc<Connection>) {
        let mut state = self.lock();
        state.phase = Phase::Up(Arc::clone(connection));
        state.had_one = true;
        State::wake(state);
    }

    /// A connection has ended that was of use.
    fn ended(&self, connection: &Arc<Connection>) {
        let mut state = self.lock();
        state.failed_in_a_row = 0;
        state.not_before = None;
        drop(state);
        self.replace(connection);
    }

    /// There is no connection after all. Returns whether to try again: somebody waits for it.
    fn failed(&self, error: io::Error) -> bool {
        let mut state = self.lock();
        state.not_before = clock::now().checked_add(self.pause(state.failed_in_a_row));
        state.failed_in_a_row += 1;
        state.failures += 1;
        state.last_error = Some(Arc::new(error));
        let again = !state.waiters.is_empty() && !self.settings.fail_fast && !state.is_hopeless();
        let old =
            mem::replace(&mut state.phase, if again { Phase::Connecting } else { Phase::Down });
        State::wake(state);
        drop(old);
        again
    }

    /// The pause after `failed` failures in a row: exponential, with jitter.
    fn pause(&self, failed: u32) -> Duration {
        let (first, most) = self.settings.backoff;
        let full = first.saturating_mul(1 << failed.min(16)).min(most);
        full / 2 + full.mul_f64(fastrand::f64() / 2.0)
    }
}

/// Takes back the promise that somebody is making a connection, should its task be dropped.
struct Promise(Weak<Link>);

impl Drop for Promise {
    fn drop(&mut self) {
        let Some(link) = self.0.upgrade() else { return };
        let mut state = link.lock();
        if !matches!(state.phase, Phase::Connecting) {
            return;
        }
        state.phase = Phase::Down;
        State::wake(state);
    }
}

/// Makes connections as long as somebody waits for one, and drives them.
async fn make_connection(link: Weak<Link>) {
    let _promise = Promise(Weak::clone(&link));
    loop {
        let not_before = link.upgrade().and_then(|link| link.lock().not_before);
        if let Some(at) = not_before {
            tokio::time::sleep_until(at.into()).await;
        }
        // Held only while there is a channel: an attempt doesn't keep one alive.
        let Some(connecting) = link.upgrade().and_then(|link| link.begin()) else { return };
        let error = match connecting.await {
            Ok((connection, driving)) => {
                let Some(strong) = link.upgrade() else { return };
                strong.connected(&connection);
                drop(strong);
                driving.await;
                let Some(link) = link.upgrade() else { return };
                match connection.useless() {
                    None => return link.ended(&connection),
                    Some(closed) if closed.kind == ErrorKind::IncompatiblePeer => {
                        io::Error::new(io::ErrorKind::InvalidData, closed.text)
                    }
                    Some(Closed { cause: Cause(Some(cause)), .. }) => {
                        io::Error::new(cause.kind(), cause)
                    }
                    Some(closed) => io::Error::new(io::ErrorKind::ConnectionAborted, closed.text),
                }
            }
            Err(error) => error,
        };
        if !link.upgrade().is_some_and(|link| link.failed(error)) {
            return;
        }
    }
}

impl Link {
    /// Begins an attempt, unless nobody waits for it any more.
    fn begin(&self) -> Option<Connecting> {
        let mut state = self.lock();
        if state.waiters.is_empty() {
            state.phase = Phase::Down;
            return None;
        }
        Some((self.connect)(state.had_one))
    }
}

impl State {
    /// Whether the last failure says that there is no point in trying again: the address is no
    /// address, or what answers there is no peer.
    fn is_hopeless(&self) -> bool {
        use io::ErrorKind::{InvalidData, InvalidInput};
        let kind = self.last_error.as_ref().map(|error| error.kind());
        matches!(kind, Some(InvalidInput | InvalidData))
    }

    /// What calls that the last failure ends fail with.
    fn failure_kind(&self) -> ErrorKind {
        match self.last_error.as_ref().map(|error| error.kind()) {
            Some(io::ErrorKind::InvalidData) => ErrorKind::IncompatiblePeer,
            _ => ErrorKind::ConnectionLost,
        }
    }

    /// Unlocks, and wakes whoever waits for a connection: who still wants one comes back.
    fn wake(state: MutexGuard<'_, Self>) {
        let wakers: Vec<Waker> = state.waiters.values().cloned().collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Link {
    /// Calls keep their channel, so nobody needs the connection any more.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Phase::Up(connection) = &state.phase {
            connection.close(CloseReason::Done);
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("target", &self.target).finish_non_exhaustive()
    }
}

/// The deadline of a call that has to wait for a connection first.
pub(super) fn deadline_of(timeout: Option<Duration>, deadline: Option<Instant>) -> Option<Instant> {
    let own = timeout.and_then(|timeout| clock::now().checked_add(timeout));
    match (own, deadline) {
        (Some(own), Some(inherited)) => Some(own.min(inherited)),
        (own, inherited) => own.or(inherited),
    }
}
