//! A connection as both sides hold it: the state machine behind one lock, and the task that drives
//! it; no protocol of its own.
//!
//! The lock is held for nanoseconds, never across I/O, and never while user code runs: wakers,
//! serializers and destructors wait until it is released.

mod dispatch;
mod driver;
mod handler;
mod origin;
mod router;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    fmt, mem,
    sync::{Arc, PoisonError},
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;

pub(crate) use driver::{Driver, DriverConfig};
pub(crate) use handler::forget_panic;
pub(crate) use origin::Origin;
pub(crate) use router::{Capacity, Router};

use crate::{
    clock,
    counters::Counters,
    error::{CloseReason, ErrorKind},
    frame::{CallId, Metadata, Role},
    mux::{
        Closed, Ending, Mux, Need, NewCall, NextItem, Opened, Phase, Room, Settings, Ticket,
        earlier,
    },
    planted::planted,
    service::MethodId,
    sync::{AbortHandle, Mutex, MutexGuard},
};

/// One connection.
pub(crate) struct Connection {
    state: Mutex<State>,
}

struct State {
    mux: Mux,
    /// The driver's waker, while the driver sleeps.
    driver: Option<Waker>,
    /// The driver is at work, and looks at everything before it sleeps: it needs no waking.
    awake: bool,
    /// The transport takes no more at present: new frames needn't wake the driver.
    stalled: bool,
    /// When the driver will look at deadlines by itself.
    armed: Option<Instant>,
    /// When the connection was made.
    made: Instant,
    /// Handlers that run in tasks of their own, by slot.
    tasks: Vec<Option<(CallId, AbortHandle)>>,
}

/// How much good a connection was, when it takes no more calls.
#[derive(Debug)]
pub(crate) struct End {
    /// Whether the peer has answered any call.
    pub(crate) answered: bool,
    /// How long ago it was made.
    pub(crate) age: Duration,
    /// How it ended, if it has and isn't draining.
    pub(crate) closed: Option<Closed>,
}

/// What a caller asks for: everything about a call but its arguments.
#[derive(Debug)]
pub(crate) struct CallOptions<'a> {
    pub(crate) method: MethodId,
    pub(crate) idempotent: bool,
    pub(crate) oneway: bool,
    pub(crate) metadata: &'a Metadata,
    /// Whether items follow the arguments.
    pub(crate) stream: bool,
    /// Large bytes behind the rest of the arguments.
    pub(crate) tail: Option<&'a Bytes>,
    pub(crate) limit: TimeLimit,
}

/// How long a call may take.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TimeLimit {
    /// From its first poll on. Kept afterwards if that is what decided, for error texts.
    pub(crate) timeout: Option<Duration>,
    /// Until when: what the caller and the handler around it say. From the first poll on it includes
    /// the timeout.
    pub(crate) deadline: Option<Instant>,
    is_fixed: bool,
}

impl TimeLimit {
    pub(crate) fn new(timeout: Option<Duration>, deadline: Option<Instant>) -> Self {
        Self { timeout, deadline, is_fixed: false }
    }

    /// Begins to count, if that hasn't been done. A timeout that no clock can express is none.
    #[inline]
    pub(crate) fn fix(&mut self, now: Instant) {
        if mem::replace(&mut self.is_fixed, true) {
            return;
        }
        let own = self.timeout.and_then(|timeout| now.checked_add(timeout));
        if let (Some(own), Some(other)) = (own, self.deadline)
            && other < own
        {
            self.timeout = None;
        }
        self.deadline = earlier(own, self.deadline);
    }
}

impl Connection {
    pub(crate) fn new(role: Role, settings: Settings) -> Arc<Self> {
        let now = clock::now();
        let state = State {
            mux: Mux::new(role, settings),
            driver: None,
            awake: false,
            stalled: false,
            armed: None,
            made: now,
            tasks: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Opens a call, or says what to do instead.
    #[inline]
    pub(crate) fn open_call(
        &self,
        options: &mut CallOptions<'_>,
        ticket: Option<Ticket>,
        buffer: &mut Vec<u8>,
        waker: &Waker,
    ) -> Opened {
        // A reading of its own: what was read for another call can be as old as the task's last
        // `.await`, and a deadline must not be early.
        let now = clock::now();
        let waker = waker.clone();
        let mut state = self.lock();
        let call = options.resolve(now);
        let opened = state.mux.open_call(&call, ticket, buffer, waker);
        state.release();
        opened
    }

    /// Takes the ending of a call, if it has ended.
    #[inline]
    pub(crate) fn poll_call(&self, id: CallId, waker: &Waker) -> Option<Ending> {
        let mut state = self.lock();
        if let Some(ending) = state.mux.take_ending(id) {
            state.release();
            return Some(ending);
        }
        if state.mux.will_wake(id, waker) {
            return None;
        }
        drop(state);
        // The call may end while the lock isn't held; the waker is looked at once more then.
        let waker = waker.clone();
        let mut state = self.lock();
        let ending = state.mux.take_ending(id);
        state.mux.set_waker(id, waker);
        state.release();
        ending
    }

    // ---- streams

    /// Takes the next item of a stream, or how it ended.
    pub(crate) fn poll_item(&self, id: CallId, waker: &Waker) -> Poll<NextItem> {
        let mut state = self.lock();
        let item = state.mux.poll_item(id);
        if item.is_ready() || state.mux.will_wake_reader(id, waker) {
            state.release();
            return item;
        }
        drop(state);
        // As in `poll_call`: something may come while the lock isn't held.
        let waker = waker.clone();
        let mut state = self.lock();
        let overlooked = planted("item-overlooked");
        let item = if overlooked { Poll::Pending } else { state.mux.poll_item(id) };
        state.mux.set_item_waker(id, waker);
        state.release();
        item
    }

    pub(crate) fn drop_reader(&self, id: CallId) {
        self.with(|mux| mux.drop_reader(id));
    }

    /// The waker is that of a task of ours, so cloning it under the lock runs nobody's code.
    pub(crate) fn poll_room(&self, id: CallId, need: Need, waker: &Waker) -> Poll<Room> {
        self.with(|mux| mux.poll_room(id, need, waker))
    }

    pub(crate) fn send_items(&self, id: CallId, staged: &[u8], cost: usize) -> bool {
        let now = clock::now();
        self.with(|mux| mux.send_items(now, id, staged, cost))
    }

    pub(crate) fn send_large_item(&self, id: CallId, item: Bytes) {
        let now = clock::now();
        self.with(|mux| mux.send_large_item(now, id, item));
    }

    pub(crate) fn end_writer(&self, id: CallId) {
        self.with(|mux| mux.end_writer(id));
    }

    pub(crate) fn fail_arguments(&self, id: CallId, kind: ErrorKind, detail: String) {
        self.with(|mux| mux.fail_arguments(id, kind, detail));
    }

    /// The deadline of one of the peer's calls, as it is now. `None` when the call is over.
    pub(crate) fn deadline_of(&self, id: CallId) -> Option<Option<Instant>> {
        self.lock().mux.deadline_of(id)
    }

    /// The caller of a pending call has gone.
    pub(crate) fn drop_call(&self, id: CallId) {
        self.with(|mux| mux.drop_call(id));
    }

    /// A caller has gone while it waited for a place.
    pub(crate) fn leave_queue(&self, ticket: Ticket) {
        self.with(|mux| mux.leave_queue(ticket));
    }

    /// Whether the peer has said hello.
    pub(crate) fn hello_arrived(&self) -> bool {
        self.lock().mux.hello_arrived()
    }

    /// What has happened on it so far.
    pub(crate) fn counters(&self) -> Counters {
        self.lock().mux.counters()
    }

    /// How the connection ended, if it has.
    pub(crate) fn closed(&self) -> Option<Closed> {
        match self.lock().mux.phase() {
            Phase::Closed(closed) => Some(closed.clone()),
            Phase::Open | Phase::Draining { .. } => None,
        }
    }

    /// What there is to say about a connection that takes no more calls.
    pub(crate) fn end(&self) -> End {
        let state = self.lock();
        let closed = match state.mux.phase() {
            Phase::Closed(closed) => Some(closed.clone()),
            Phase::Open | Phase::Draining { .. } => None,
        };
        let age = clock::now().saturating_duration_since(state.made);
        End { answered: state.mux.was_answered(), age, closed }
    }

    /// Begins nothing new; what is under way goes on.
    pub(crate) fn go_away(&self) {
        self.with(Mux::go_away);
    }

    /// Nobody needs the connection any more: closes it, when one-way calls that have left are
    /// answered.
    pub(crate) fn retire(&self) {
        self.with(Mux::retire);
    }

    /// Closes the connection now.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.with(|mux| mux.close(reason, ""));
    }

    /// Changes the state, then wakes whoever has to act on it, outside of the lock.
    pub(crate) fn with<R>(&self, change: impl FnOnce(&mut Mux) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state.mux);
        state.release();
        result
    }

    fn lock(&self) -> StateGuard<'_> {
        // No user code runs under the lock, so poisoning can't leave a half-made change behind.
        StateGuard(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(feature = "testing")]
impl Connection {
    /// What is left of calls although nobody uses the connection at present, by name. A connection
    /// that is closed is on its way out, and has none.
    pub(crate) fn leftovers(&self) -> Vec<(&'static str, usize)> {
        let state = self.lock();
        if matches!(state.mux.phase(), Phase::Closed(_)) {
            return Vec::new();
        }
        let mut left = state.mux.leftovers();
        let tasks = state.tasks.iter().flatten().count();
        left.extend((tasks > 0).then_some(("tasks of handlers", tasks)));
        left
    }
}

impl<'a> CallOptions<'a> {
    #[inline]
    fn resolve(&mut self, now: Instant) -> NewCall<'a> {
        self.limit.fix(now);
        NewCall {
            now,
            method: self.method,
            idempotent: self.idempotent,
            oneway: self.oneway,
            timeout: self.limit.deadline.map(|deadline| deadline.saturating_duration_since(now)),
            deadline: self.limit.deadline,
            metadata: self.metadata,
            stream: self.stream,
            tail: self.tail,
        }
    }
}

/// The locked state.
struct StateGuard<'a>(MutexGuard<'a, State>);

impl std::ops::Deref for StateGuard<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        &self.0
    }
}

impl std::ops::DerefMut for StateGuard<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.0
    }
}

impl StateGuard<'_> {
    /// Unlocks, then wakes the driver if it has something to do, and callers whose calls moved on.
    #[inline]
    fn release(mut self) {
        let asleep = planted("driver-not-woken") && !self.mux.output().discarded.is_empty();
        let driver = if self.needs_driver() && !asleep { self.driver.take() } else { None };
        let output = self.mux.output();
        if output.wakers.is_empty() && output.discarded.is_empty() {
            drop(self);
        } else {
            let wakers = mem::take(&mut output.wakers);
            let discarded = mem::take(&mut output.discarded);
            drop(self);
            drop(discarded);
            wakers.into_iter().for_each(Waker::wake);
        }
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

impl State {
    #[inline]
    fn needs_driver(&self) -> bool {
        if self.awake || self.driver.is_none() {
            return false;
        }
        let earlier = match (self.mux.next_timeout(), self.armed) {
            (Some(next), Some(armed)) => next < armed,
            (next, None) => next.is_some(),
            (None, Some(_)) => false,
        };
        let over = matches!(self.mux.phase(), Phase::Closed(_));
        let earlier = earlier && !planted("deadline-wakes-nobody");
        (self.mux.has_frames() && !self.stalled) || earlier || self.mux.is_drained() || over
    }

    /// Takes the task of a handler out of the table.
    fn take_task(&mut self, id: CallId) -> Option<AbortHandle> {
        let entry = self.tasks.get_mut(id.slot())?;
        entry.take_if(|(owner, _)| *owner == id).map(|(_, task)| task)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
