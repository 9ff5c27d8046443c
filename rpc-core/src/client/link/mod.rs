//! The connection behind a channel: which one it is, who waits for it, when the next attempt may
//! begin. Making and driving connections is the business of `connect`.

mod judge;
mod watch;

use std::{
    collections::BTreeMap,
    fmt, io, mem,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::sync::Notify;

use super::{
    ChannelBuilder,
    connect::{Connect, Connecting, Promise},
};
use crate::{
    clock,
    connection::{Connection, Router},
    counters::Counters,
    error::{Delivery, ErrorKind, RpcError},
    mux::Closed,
    planted::planted,
    sync::{Handle, Mutex, MutexGuard},
    transport::{Address, Connector},
};

/// What a channel and its calls share.
pub(super) struct Link {
    settings: ChannelBuilder,
    target: Address,
    connect: Connect,
    state: Mutex<State>,
    /// Told when a connection is gone.
    gone: Notify,
}

/// Nothing here is dropped or woken under the lock: a waker can own a call of this very link.
struct State {
    phase: Phase,
    /// Calls that wait for a connection.
    waiters: BTreeMap<u64, Waker>,
    next_waiter: u64,
    next_task: u64,
    /// Attempts that have failed, ever, and why the last one did.
    failures: u64,
    last_error: Option<Arc<io::Error>>,
    /// Attempts that have failed since a connection was of use.
    failed_in_a_row: u32,
    /// When the next attempt may begin.
    not_before: Option<Instant>,
    /// How the last connection ended.
    end: Option<Closed>,
    /// Connections that are being driven, by the task that does it: the current one, and those that
    /// are being finished.
    driven: BTreeMap<u64, Arc<Connection>>,
    /// What happened on those before.
    past: Counters,
}

enum Phase {
    /// There is none, and nobody makes one.
    Down,
    /// The task with this number makes one.
    Connecting(u64),
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

    /// `failures` is what [`seen`](Attempt::seen) said at an earlier wait of the same call, if there
    /// was one.
    pub(super) fn new(failures: Option<u64>) -> Self {
        Self { waiter: None, failures, fail_fast: false }
    }

    /// How many attempts had failed when the call first asked for a connection.
    pub(super) fn seen(&self) -> Option<u64> {
        self.failures
    }
}

impl Link {
    pub(super) fn new<C: Connector>(
        settings: ChannelBuilder,
        router: Router,
        connector: C,
    ) -> Arc<Self> {
        let target = connector.target();
        let connect = Connect::new(&settings, router, connector);
        let state = State {
            phase: Phase::Down,
            waiters: BTreeMap::new(),
            next_waiter: 0,
            next_task: 0,
            failures: 0,
            last_error: None,
            failed_in_a_row: 0,
            not_before: None,
            end: None,
            driven: BTreeMap::new(),
            past: Counters::default(),
        };
        Arc::new(Self { settings, target, connect, state: Mutex::new(state), gone: Notify::new() })
    }

    pub(super) fn settings(&self) -> &ChannelBuilder {
        &self.settings
    }

    pub(super) fn target(&self) -> &Address {
        &self.target
    }

    // ---- for calls

    /// The current connection. Makes one if there is none.
    #[inline]
    pub(super) fn poll_connection(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        attempt: &mut Attempt,
    ) -> Poll<Result<Arc<Connection>, RpcError>> {
        if attempt.waiter.is_none() {
            let state = self.lock();
            if let Phase::Up(connection) = &state.phase {
                attempt.failures.get_or_insert(state.failures);
                return Poll::Ready(Ok(Arc::clone(connection)));
            }
        }
        self.wait(cx, attempt)
    }

    #[expect(clippy::panic, reason = "a mistake in the program, which nobody else could tell of")]
    fn wait(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        attempt: &mut Attempt,
    ) -> Poll<Result<Arc<Connection>, RpcError>> {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        let polled = self.look(&mut state, attempt);
        // Dropped after the lock is released, as the waker that isn't kept.
        let (old, task) = match &polled {
            Poll::Ready(_) => (state.forget(attempt).unwrap_or(waker), None),
            Poll::Pending => (state.keep(attempt, waker), state.begin_task()),
        };
        drop(state);
        drop(old);
        if let Some(task) = task {
            // Made before the task is, so that a task that never runs breaks it too.
            let promise = Promise::new(self, task);
            match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(promise.keep())),
                Err(error) => {
                    self.leave(attempt);
                    panic!("a call that needs a connection has to be polled on a runtime: {error}");
                }
            }
        }
        polled
    }

    /// What a call gets at present.
    fn look(
        &self,
        state: &mut State,
        attempt: &mut Attempt,
    ) -> Poll<Result<Arc<Connection>, RpcError>> {
        if let Phase::Up(connection) = &state.phase {
            return Poll::Ready(Ok(Arc::clone(connection)));
        }
        let before = *attempt.failures.get_or_insert(state.failures);
        let failed = state.failures > before;
        let fail_fast = attempt.fail_fast || self.settings.fail_fast;
        // While no attempt may begin, failing fast is failing now.
        let pausing = || state.not_before.is_some_and(|at| at > clock::now());
        if failed && state.is_hopeless() || fail_fast && (failed || pausing()) {
            return Poll::Ready(Err(self.unreachable(state)));
        }
        let limit = self.settings.limits.waiting_calls;
        if attempt.waiter.is_none() && state.waiters.len() >= limit {
            let detail = format!(
                "{limit} calls wait for a connection to {} already (Limits::waiting_calls)",
                self.target
            );
            let error = RpcError::new(ErrorKind::Overloaded, Delivery::NotSent, detail);
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }

    /// A call no longer waits.
    pub(super) fn leave(&self, attempt: &mut Attempt) {
        let waker = self.lock().forget(attempt);
        drop(waker);
    }

    /// The connection takes no more calls: the next call makes another.
    pub(super) fn replace(&self, gone: &Arc<Connection>) {
        let mut state = self.lock();
        if state.is_up(gone) {
            self.judge(&mut state, gone);
            let old = mem::replace(&mut state.phase, Phase::Down);
            drop(state);
            drop(old);
            self.gone.notify_waiters();
        }
    }

    /// The error of a call that never got a connection.
    fn unreachable(&self, state: &State) -> RpcError {
        let detail = format!("could not connect to {}", self.target);
        state.caused(RpcError::new(state.failure_kind(), Delivery::NotSent, detail))
    }

    /// The error of a call whose deadline passed while it waited for a connection.
    pub(super) fn too_late(&self) -> RpcError {
        let detail = format!("it waited for a connection to {}", self.target);
        let error = RpcError::new(ErrorKind::DeadlineExceeded, Delivery::NotSent, detail);
        self.lock().caused(error)
    }

    // ---- for the task that makes connections

    /// When the next attempt may begin.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.lock().not_before
    }

    /// Begins an attempt, unless nobody waits for it any more, or another task does it.
    pub(super) fn begin(&self, task: u64) -> Option<Connecting> {
        let mut state = self.lock();
        if !state.is_connecting(task) {
            return None;
        }
        if state.waiters.is_empty() {
            state.phase = Phase::Down;
            return None;
        }
        let cautious = state.past.connections > 0 || !state.driven.is_empty();
        drop(state);
        Some(self.connect.begin(cautious))
    }

    /// There is a connection. Returns whether it is wanted.
    pub(super) fn connected(&self, task: u64, connection: &Arc<Connection>) -> bool {
        let mut state = self.lock();
        state.driven.insert(task, Arc::clone(connection));
        if !state.is_connecting(task) {
            return false;
        }
        state.phase = Phase::Up(Arc::clone(connection));
        State::wake(state);
        true
    }

    /// A connection has ended. Returns whether the task is to make another.
    pub(super) fn ended(&self, task: u64, connection: &Arc<Connection>) -> bool {
        let mut state = self.lock();
        state.settle(task);
        if !state.is_up(connection) {
            return false;
        }
        self.judge(&mut state, connection);
        self.go_on(state, task)
    }

    /// An attempt has failed. Returns whether the task is to make another.
    pub(super) fn failed(&self, task: u64, error: io::Error) -> bool {
        let mut state = self.lock();
        if !state.is_connecting(task) {
            return false;
        }
        self.note_failure(&mut state, error);
        self.go_on(state, task)
    }

    /// The task is gone before it has kept its promise.
    pub(super) fn abandoned(&self, task: u64) {
        let mut state = self.lock();
        state.settle(task);
        if state.is_connecting(task) {
            state.phase = Phase::Down;
            State::wake(state);
        }
    }

    /// Goes on connecting if patient calls wait, and wakes everybody who waits.
    fn go_on(&self, mut state: MutexGuard<'_, State>, task: u64) -> bool {
        let again = !state.waiters.is_empty() && !self.settings.fail_fast && !state.is_hopeless();
        let phase = if again { Phase::Connecting(task) } else { Phase::Down };
        let old = mem::replace(&mut state.phase, phase);
        State::wake(state);
        drop(old);
        self.gone.notify_waiters();
        again
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(feature = "testing")]
impl Link {
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiters.len()
    }
}

impl State {
    fn is_connecting(&self, task: u64) -> bool {
        matches!(self.phase, Phase::Connecting(current) if current == task)
    }

    fn is_up(&self, connection: &Arc<Connection>) -> bool {
        matches!(&self.phase, Phase::Up(current) if Arc::ptr_eq(current, connection))
    }

    /// What a task drove is over.
    fn settle(&mut self, task: u64) {
        if let Some(connection) = self.driven.remove(&task) {
            self.past += connection.counters();
        }
    }

    /// Keeps the waker of a call that waits. Returns the one that nobody needs any more.
    fn keep(&mut self, attempt: &mut Attempt, waker: Waker) -> Waker {
        let waiter = *attempt.waiter.get_or_insert_with(|| {
            self.next_waiter += 1;
            self.next_waiter
        });
        self.waiters.insert(waiter, waker).unwrap_or_else(|| Waker::noop().clone())
    }

    /// Forgets a call that waited. Returns its waker.
    fn forget(&mut self, attempt: &mut Attempt) -> Option<Waker> {
        attempt.waiter.take().and_then(|waiter| self.waiters.remove(&waiter))
    }

    /// The number of the task that has to make a connection, if there is none that does.
    fn begin_task(&mut self) -> Option<u64> {
        if !matches!(self.phase, Phase::Down) {
            return None;
        }
        self.next_task += 1;
        self.phase = Phase::Connecting(self.next_task);
        Some(self.next_task)
    }

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

    /// Adds the last failure to an error, as its cause.
    fn caused(&self, error: RpcError) -> RpcError {
        match &self.last_error {
            Some(cause) => error.with_shared_source(Arc::clone(cause) as _),
            None => error,
        }
    }

    /// Unlocks, and wakes whoever waits for a connection: who still wants one comes back.
    fn wake(mut state: MutexGuard<'_, Self>) {
        let replaced = state.waiters.values_mut();
        let wakers: Vec<Waker> =
            replaced.map(|waker| mem::replace(waker, Waker::noop().clone())).collect();
        drop(state);
        let missed = usize::from(planted("waiting-caller-not-woken") && wakers.len() > 1);
        wakers.into_iter().skip(missed).for_each(Waker::wake);
    }
}

impl Drop for Link {
    /// Calls keep their channel, so nobody needs the connection any more.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Phase::Up(connection) = &state.phase {
            connection.retire();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("target", &self.target).finish_non_exhaustive()
    }
}
