//! Runs requests: finds the service, polls the handler, turns what it ends with into frames.
//!
//! A handler that ends at its first poll costs no task. It is polled where its request was decoded;
//! if it is pending it moves to a task of its own, which polls it again at once. A method starts
//! out in tasks, comes inline after [`PROMOTE_AFTER`] fast first polls in a row, and goes back to
//! tasks after a slow one.

use std::{
    collections::HashSet,
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context as TaskContext, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::task::coop;

use super::{Connection, StateGuard};
use crate::{
    clock,
    context::{Context, Entered},
    error::{ErrorKind, Ran},
    frame::{self, CallId, PREFIX_BYTES},
    mux::{Accepted, Mux},
    outbox::BULK_BYTES,
    service::{Answer, Handler, MethodId, Outcome, Refusal, Request, Service},
    transport::Peer,
};

/// First polls that have to be fast before a method runs inline.
const PROMOTE_AFTER: u32 = 16;

/// A first poll that takes longer than this sends its method back to tasks. A connection's other
/// calls wait for at most this much per inline call.
const SLOW_POLL: Duration = Duration::from_micros(20);

/// A batch that takes longer than this has its handlers timed one by one the next time.
const SLOW_BATCH: Duration = Duration::from_micros(100);

/// All services of a server, by method.
#[derive(Default)]
pub(crate) struct Router {
    /// Sorted by id.
    routes: Vec<Route>,
    /// The half of the ids that names the service, sorted.
    services: Vec<u32>,
}

struct Route {
    id: MethodId,
    service: Arc<dyn Service>,
    /// Fast first polls in a row.
    streak: AtomicU32,
}

/// Why services can't be on one server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RouterError {
    #[error("two services are named `{0}`: give one another name with #[service(name = \"..\")]")]
    DuplicateService(&'static str),
    #[error("`{0}` has the method id of another method on this server: rename one of them")]
    DuplicateMethod(String),
}

impl Router {
    pub(crate) fn new(services: Vec<Arc<dyn Service>>) -> Result<Self, RouterError> {
        let mut router = Self::default();
        let mut names = HashSet::new();
        let mut ids = HashSet::new();
        for service in services {
            if !names.insert(service.name()) {
                return Err(RouterError::DuplicateService(service.name()));
            }
            for method in service.methods() {
                if !ids.insert(method.id()) {
                    // r[impl method.unique]
                    return Err(RouterError::DuplicateMethod(method.to_string()));
                }
                let (id, service) = (method.id(), Arc::clone(&service));
                router.services.push(id.service_half());
                router.routes.push(Route { id, service, streak: AtomicU32::new(0) });
            }
        }
        router.routes.sort_by_key(|route| route.id);
        router.services.sort_unstable();
        router.services.dedup();
        Ok(router)
    }

    #[inline]
    fn find(&self, id: MethodId) -> Result<(usize, &Route), ErrorKind> {
        match self.routes.binary_search_by_key(&id, |route| route.id) {
            Ok(at) => self.routes.get(at).map(|route| (at, route)).ok_or(ErrorKind::UnknownMethod),
            // r[impl method.unknown]
            Err(_) if self.services.binary_search(&id.service_half()).is_ok() => {
                Err(ErrorKind::UnknownMethod)
            }
            Err(_) => Err(ErrorKind::UnknownService),
        }
    }
}

impl Route {
    fn is_inline(&self) -> bool {
        self.streak.load(Ordering::Relaxed) >= PROMOTE_AFTER
    }

    /// Notes how long a first poll took.
    fn note(&self, took: Duration) {
        if took > SLOW_POLL {
            self.streak.store(0, Ordering::Relaxed);
        } else if !self.is_inline() {
            self.streak.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whom the last input concerned.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Woke {
    /// Callers were woken, and may call again.
    pub(super) callers: bool,
    /// Requests were run, and may have been answered.
    pub(super) requests: bool,
}

impl Woke {
    pub(super) fn add(&mut self, other: Self) {
        self.callers |= other.callers;
        self.requests |= other.requests;
    }
}

/// Runs the requests of one connection. Lives in the connection's task.
pub(super) struct Dispatcher {
    router: Arc<Router>,
    peer: Arc<Peer>,
    /// Callers to wake, empty between batches.
    wakers: Vec<Waker>,
    /// Requests to run, empty between batches.
    accepted: Vec<Accepted>,
    /// Frames of calls that ended inline.
    staged: Vec<u8>,
    /// The calls they end.
    ended: Vec<CallId>,
    /// What can't be staged: large replies.
    bulk: Vec<(CallId, bool, Bytes)>,
    /// Handlers to move to tasks, after the lock has been taken for the rest.
    spawned: Vec<HandlerTask>,
    /// Whether handlers are timed one by one.
    timing: bool,
}

impl Dispatcher {
    pub(super) fn new(router: Arc<Router>, peer: Arc<Peer>) -> Self {
        Self {
            router,
            peer,
            wakers: Vec::new(),
            accepted: Vec::new(),
            staged: Vec::new(),
            ended: Vec::new(),
            bulk: Vec::new(),
            spawned: Vec::new(),
            timing: false,
        }
    }

    /// Does what received frames ask for, after unlocking: wakes callers, runs requests, stops
    /// handlers.
    #[inline]
    pub(super) fn act(
        &mut self,
        connection: &Arc<Connection>,
        mut state: StateGuard<'_>,
        now: Instant,
    ) -> Woke {
        let reply_limit = state.mux.reply_bytes_max();
        let output = state.mux.output();
        mem::swap(&mut output.wakers, &mut self.wakers);
        mem::swap(&mut output.accepted, &mut self.accepted);
        let stopped = mem::take(&mut output.stopped);
        drop(state);
        let woke = Woke { callers: !self.wakers.is_empty(), requests: !self.accepted.is_empty() };
        self.wakers.drain(..).for_each(Waker::wake);
        if woke.requests {
            self.run(connection, reply_limit, now);
        }
        for (id, why) in stopped {
            connection.stop(id, why);
        }
        woke
    }

    /// Runs a batch of requests, and queues the replies of those that end at once.
    fn run(&mut self, connection: &Arc<Connection>, reply_limit: usize, began: Instant) {
        let mut accepted = mem::take(&mut self.accepted);
        for request in accepted.drain(..) {
            self.run_one(connection, request, reply_limit);
        }
        self.accepted = accepted;
        self.timing = !self.ended.is_empty() && clock::now().duration_since(began) > SLOW_BATCH;
        self.queue(connection);
    }

    #[inline]
    fn run_one(&mut self, connection: &Arc<Connection>, accepted: Accepted, reply_limit: usize) {
        let Accepted { id, method, deadline, metadata, body } = accepted;
        let (at, route) = match self.router.find(method) {
            Ok(found) => found,
            Err(kind) => {
                self.stage(id, Err(Refusal { kind, detail: String::new() }), reply_limit);
                return;
            }
        };
        let context = Context::new(Arc::clone(&self.peer), deadline, metadata);
        let request = Request::new(method, context.clone(), body);
        let inline = route.is_inline() && coop::has_budget_remaining();
        let mut running = Running { context: Some(context), handler: None };
        let began = self.timing.then(clock::now);
        let outcome = running.start(&*route.service, request, inline);
        if let Some(began) = began.filter(|_| inline) {
            route.note(clock::now().duration_since(began));
        }
        if let Some(outcome) = outcome {
            drop(running);
            self.stage(id, outcome, reply_limit);
        } else {
            let route = (!inline).then(|| (Arc::clone(&self.router), at));
            let connection = Some(Arc::clone(connection));
            self.spawned.push(HandlerTask { id, running, connection, route });
        }
    }

    /// Turns the outcome of a call that ended inline into frames.
    #[inline]
    fn stage(&mut self, id: CallId, outcome: Outcome, reply_limit: usize) {
        match ReplyFrames::of(outcome, reply_limit) {
            ReplyFrames::Small(answer) => {
                let length = frame::DATA_HEADER_BYTES + answer.body.len();
                self.staged.reserve(PREFIX_BYTES + length);
                frame::encode_prefix(&mut self.staged, id.lane(), length, true);
                frame::encode_reply_header(&mut self.staged, answer.app_error, false);
                self.staged.extend_from_slice(&answer.body);
            }
            ReplyFrames::Bulk(app_error, body) => {
                self.bulk.push((id, app_error, body));
                return;
            }
            ReplyFrames::Error(kind, ran, text) => {
                frame::encode_error(&mut self.staged, id, kind, ran, &text);
            }
        }
        self.ended.push(id);
    }

    /// Queues what was staged, under the lock, and starts tasks for the rest.
    fn queue(&mut self, connection: &Arc<Connection>) {
        if !self.ended.is_empty() || !self.bulk.is_empty() {
            connection.with(|mux| {
                #[expect(clippy::cast_possible_truncation, reason = "at most the limit on calls")]
                let terminals = self.ended.len() as u32;
                for id in self.ended.drain(..) {
                    mux.finish(id);
                }
                mux.append_staged(&self.staged, terminals);
                for (id, app_error, body) in self.bulk.drain(..) {
                    if mux.finish(id) {
                        mux.queue_bulk_reply(id, app_error, body);
                    }
                }
            });
            self.staged.clear();
        }
        for task in self.spawned.drain(..) {
            let id = task.id;
            let handle = tokio::spawn(task).abort_handle();
            connection.remember_task(id, handle);
        }
    }

    /// Gives back the memory that an idle connection doesn't need.
    pub(super) fn shrink(&mut self) {
        self.wakers = Vec::new();
        self.accepted = Vec::new();
        self.staged = Vec::new();
        self.ended = Vec::new();
    }
}

impl Connection {
    /// Keeps the handle of a handler's task, so that a cancel can stop it.
    fn remember_task(&self, id: CallId, handle: tokio::task::AbortHandle) {
        let mut state = self.lock();
        // It may have ended already, on another thread.
        if !state.mux.is_running(id) {
            return;
        }
        let slot = id.slot();
        if slot >= state.tasks.len() {
            state.tasks.resize_with(slot + 1, || None);
        }
        if let Some(entry) = state.tasks.get_mut(slot) {
            *entry = Some((id, handle));
        }
    }
}

/// A handler and the context it runs in.
struct Running {
    context: Option<Context>,
    handler: Option<Handler>,
}

impl Running {
    /// Makes the handler's future, and polls it once if it is to run inline. Returns its outcome if
    /// it has one already.
    #[inline]
    fn start(&mut self, service: &dyn Service, request: Request, poll: bool) -> Option<Outcome> {
        let entered = Entered::enter(self.context.take()?);
        let started = catch_unwind(AssertUnwindSafe(|| {
            let mut handler = service.call(request);
            if poll {
                let mut cx = TaskContext::from_waker(Waker::noop());
                if let Poll::Ready(outcome) = handler.as_mut().poll(&mut cx) {
                    return Ok(outcome);
                }
            }
            Err(handler)
        }));
        self.context = entered.leave();
        match started {
            Ok(Ok(outcome)) => Some(outcome),
            Ok(Err(handler)) => {
                self.handler = Some(handler);
                None
            }
            Err(panic) => Some(Err(panicked(panic))),
        }
    }

    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Outcome> {
        let Some(handler) = &mut self.handler else { return Poll::Pending };
        let Some(context) = self.context.take() else { return Poll::Pending };
        let entered = Entered::enter(context);
        let polled = catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx)));
        self.context = entered.leave();
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(outcome)) => Poll::Ready(outcome),
            Err(panic) => Poll::Ready(Err(panicked(panic))),
        }
    }

    /// Drops the future. Its destructors are user code, and may panic.
    fn discard(&mut self) {
        let handler = self.handler.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(handler))) {
            forget_panic(panic);
        }
    }
}

/// A handler in a task of its own.
struct HandlerTask {
    id: CallId,
    running: Running,
    /// Taken when the call has ended.
    connection: Option<Arc<Connection>>,
    /// The method whose first poll is to be timed.
    route: Option<(Arc<Router>, usize)>,
}

impl Future for HandlerTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        let polled = if let Some((router, at)) = this.route.take() {
            let began = clock::now();
            let polled = this.running.poll(cx);
            if let Some(route) = router.routes.get(at) {
                route.note(clock::now().duration_since(began));
            }
            polled
        } else {
            this.running.poll(cx)
        };
        let Poll::Ready(outcome) = polled else { return Poll::Pending };
        // r[impl reply.handler-gone]
        // The slot is free only when the future is gone.
        this.running.discard();
        if let Some(connection) = this.connection.take() {
            end_call(&connection, this.id, outcome);
        }
        Poll::Ready(())
    }
}

impl Drop for HandlerTask {
    /// The task was stopped: the call was cancelled, its deadline passed, or the runtime is going.
    fn drop(&mut self) {
        self.running.discard();
        if let Some(connection) = self.connection.take() {
            connection.stopped(self.id);
        }
    }
}

/// Queues the terminal frame of a call whose handler ran in a task.
fn end_call(connection: &Connection, id: CallId, outcome: Outcome) {
    let reply_limit = connection.with(|mux| mux.reply_bytes_max());
    let frames = ReplyFrames::of(outcome, reply_limit);
    let task = connection.end_task(id, |mux| {
        if !mux.finish(id) {
            return;
        }
        match frames {
            ReplyFrames::Small(answer) => mux.queue_reply(id, answer.app_error, &answer.body),
            ReplyFrames::Bulk(app_error, body) => mux.queue_bulk_reply(id, app_error, body),
            ReplyFrames::Error(kind, ran, text) => mux.queue_error(id, kind, ran, &text),
        }
    });
    drop(task);
}

impl Connection {
    /// Ends a call whose handler had a task, and returns the task's handle.
    fn end_task(&self, id: CallId, end: impl FnOnce(&mut Mux)) -> Option<tokio::task::AbortHandle> {
        let mut state = self.lock();
        let task = state.take_task(id);
        end(&mut state.mux);
        state.release();
        task
    }

    /// Stops the handler of a call. Its end sends the terminal frame.
    pub(super) fn stop(&self, id: CallId, why: ErrorKind) {
        let mut state = self.lock();
        state.mux.note_stop(id, why);
        let task = state.take_task(id);
        drop(state);
        if let Some(task) = task {
            task.abort();
        }
    }

    /// A handler's future is gone before it ended.
    fn stopped(&self, id: CallId) {
        drop(self.end_task(id, |mux| mux.end_stopped(id)));
    }

    /// Stops every handler: the connection is gone.
    pub(super) fn stop_all(&self) {
        let tasks = mem::take(&mut self.lock().tasks);
        for (_, task) in tasks.into_iter().flatten() {
            task.abort();
        }
    }
}

/// How the end of a call goes over the wire.
enum ReplyFrames {
    Small(Answer),
    Bulk(bool, Bytes),
    Error(ErrorKind, Ran, String),
}

impl ReplyFrames {
    #[inline]
    fn of(outcome: Outcome, reply_limit: usize) -> Self {
        match outcome {
            // r[impl reply.too-large]
            Ok(answer) if answer.body.len() > reply_limit => {
                let bytes = answer.body.len();
                let text = format!("a reply of {bytes} bytes, {reply_limit} are allowed");
                Self::Error(ErrorKind::TooLarge, Ran::Ended, text)
            }
            Ok(answer) if answer.body.len() >= BULK_BYTES - PREFIX_BYTES => {
                Self::Bulk(answer.app_error, answer.body.into())
            }
            Ok(answer) => Self::Small(answer),
            Err(Refusal { kind, detail }) => {
                let ran = match kind {
                    ErrorKind::HandlerPanicked | ErrorKind::MalformedReply => Ran::Ended,
                    _ => Ran::Never,
                };
                Self::Error(kind, ran, detail)
            }
        }
    }
}

/// What the caller learns about a panic: that there was one. Its text may hold secrets, and is
/// where panics always go, with the panic hook.
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Refusal {
    forget_panic(panic);
    Refusal { kind: ErrorKind::HandlerPanicked, detail: String::new() }
}

/// Drops a panic's payload, whose destructor may panic in turn.
fn forget_panic(panic: Box<dyn std::any::Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        mem::forget(second);
    }
}
