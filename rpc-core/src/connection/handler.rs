//! A handler's future: polled with its context, its panics contained, in a task of its own if it
//! takes more than one poll; which handlers those are is `dispatch`'s business.

use std::{
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, ready},
};

use super::{Connection, Router, dispatch::ReplyFrames};
use crate::{
    clock,
    context::{Context, Entered},
    error::{ErrorKind, Ran},
    frame::CallId,
    mux::{Mux, Start},
    planted::planted,
    service::{Handler, Outcome, Refusal, Request, Service},
    streaming::{Items, Pump, Pumped},
    sync::AbortHandle,
};

impl Connection {
    /// Keeps the handle of a handler's task, so that a cancel can stop it.
    pub(super) fn remember_task(&self, id: CallId, handle: AbortHandle) {
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
pub(super) struct Running {
    context: Option<Context>,
    handler: Option<Handler>,
}

impl Running {
    pub(super) fn new(context: Context) -> Self {
        Self { context: Some(context), handler: None }
    }

    /// Takes the request, makes the handler's future, and polls it once.
    #[inline]
    pub(super) fn start(
        &mut self,
        service: &dyn Service,
        request: &mut Option<Request>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Outcome> {
        let Some(request) = request.take() else { return Poll::Pending };
        let Some(context) = self.context.take() else { return Poll::Pending };
        let entered = Entered::enter(context);
        let started = catch_unwind(AssertUnwindSafe(|| {
            let mut handler = service.call(request);
            match handler.as_mut().poll(cx) {
                Poll::Ready(outcome) => Ok(outcome),
                Poll::Pending => Err(handler),
            }
        }));
        self.context = entered.leave();
        match started {
            Ok(Ok(outcome)) => Poll::Ready(outcome),
            Ok(Err(handler)) => {
                self.handler = Some(handler);
                Poll::Pending
            }
            Err(panic) => Poll::Ready(Err(panicked(panic))),
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
        discard(self.handler.take());
    }

    /// Runs something as a part of the handler.
    fn within<R>(&mut self, run: impl FnOnce() -> R) -> R {
        let Some(context) = self.context.take() else { return run() };
        let entered = Entered::enter(context);
        let result = run();
        self.context = entered.leave();
        result
    }
}

/// Drops something of the user's, whose destructor may panic.
fn discard<T>(value: T) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        forget_panic(panic);
    }
}

/// A handler in a task of its own.
pub(super) struct HandlerTask {
    pub(super) id: CallId,
    pub(super) running: Running,
    /// Until the handler is started.
    pub(super) request: Option<Request>,
    /// Whether it had to wait before it could be started.
    pub(super) waited: bool,
    /// The items of its reply, if it has returned a stream, and what sends them.
    pub(super) items: Option<Items>,
    pub(super) pump: Option<Box<Pump>>,
    /// Taken when the call has ended.
    pub(super) connection: Option<Arc<Connection>>,
    /// Where the method is in the router.
    pub(super) router: Arc<Router>,
    pub(super) at: usize,
}

impl HandlerTask {
    /// Whether the handler may start. A request that had to wait lets the next one try after its
    /// first poll, when it is known whether there is still room.
    fn may_start(&mut self, cx: &TaskContext<'_>) -> Start {
        let Some((connection, request)) = self.connection.as_ref().zip(self.request.as_ref())
        else {
            return Start::Never;
        };
        let start = connection.with(|mux| mux.may_start(self.id, request.bytes(), cx.waker()));
        self.waited |= start == Start::Wait;
        start
    }

    /// Starts the handler, and notes how long its first poll takes.
    fn start(&mut self, cx: &mut TaskContext<'_>) -> Poll<Outcome> {
        let Some(route) = self.router.route(self.at) else { return Poll::Pending };
        let began = clock::now();
        let polled = self.running.start(&*route.service, &mut self.request, cx);
        route.note(clock::now().duration_since(began));
        if let Some(connection) = self.connection.as_ref().filter(|_| self.waited) {
            connection.with(Mux::start_next);
        }
        polled
    }
}

impl HandlerTask {
    /// The handler has returned a stream: its caller learns that, then the items follow.
    pub(super) fn begin_stream(&mut self, cx: &mut TaskContext<'_>, items: Items) -> Poll<()> {
        let Some(connection) = &self.connection else { return Poll::Ready(()) };
        if !connection.with(|mux| mux.begin_stream(self.id)) {
            return Poll::Ready(());
        }
        self.pump = Some(Box::new(Pump::new(Arc::clone(connection), self.id, items)));
        self.pump(cx)
    }

    fn pump(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let Some(pump) = &mut self.pump else { return Poll::Ready(()) };
        let end = ready!(self.running.within(|| pump.poll(cx)));
        // Its destructor is user code, and has to be through before the slot is free.
        self.running.within(|| discard(self.pump.take()));
        let Some(connection) = self.connection.take() else { return Poll::Ready(()) };
        match end {
            Pumped::Finished => {
                drop(connection.end_task(self.id, |mux| mux.end_writer(self.id)));
            }
            Pumped::Gone => connection.stopped(self.id, None),
            Pumped::Broken(broken) => {
                let (kind, text) = broken.of_reply();
                let frames = ReplyFrames::Error(kind, Ran::Ended, text);
                drop(connection.end_task(self.id, |mux| frames.queue(mux, self.id)));
            }
        }
        Poll::Ready(())
    }
}

impl Future for HandlerTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Some(items) = this.items.take() {
            return this.begin_stream(cx, items);
        }
        if this.pump.is_some() {
            return this.pump(cx);
        }
        let polled = if this.request.is_none() {
            this.running.poll(cx)
        } else {
            match this.may_start(cx) {
                Start::Now => this.start(cx),
                Start::Wait => return Poll::Pending,
                Start::Never => return Poll::Ready(()),
            }
        };
        let Poll::Ready(mut outcome) = polled else { return Poll::Pending };
        // r[impl reply.handler-gone]
        // The slot is free only when the future is gone.
        this.running.discard();
        if let Some(items) = outcome.as_mut().ok().and_then(|answer| answer.items.take()) {
            return this.begin_stream(cx, items);
        }
        if let Some(connection) = this.connection.take() {
            let panicked = matches!(&outcome, Err(r) if r.kind == ErrorKind::HandlerPanicked);
            if !(planted("panic-unanswered") && panicked) {
                end_call(&connection, this.id, outcome);
            }
        }
        Poll::Ready(())
    }
}

impl Drop for HandlerTask {
    /// The task was stopped: the call was cancelled, its deadline passed, or the runtime is going.
    fn drop(&mut self) {
        self.router.leave();
        self.running.discard();
        discard((self.items.take(), self.pump.take()));
        if let Some(connection) = self.connection.take() {
            connection.stopped(self.id, self.request.take().map(|request| request.bytes()));
        }
    }
}

/// Queues the terminal frame of a call whose handler ran in a task.
fn end_call(connection: &Connection, id: CallId, outcome: Outcome) {
    let limits = connection.with(|mux| mux.reply_limits());
    let frames = ReplyFrames::of(outcome, limits);
    drop(connection.end_task(id, |mux| frames.queue(mux, id)));
}

impl Connection {
    /// Ends a call whose handler had a task, and returns the task's handle. Another may start now.
    fn end_task(&self, id: CallId, end: impl FnOnce(&mut Mux)) -> Option<AbortHandle> {
        let mut state = self.lock();
        let task = state.take_task(id);
        end(&mut state.mux);
        state.mux.start_next();
        state.release();
        task
    }

    /// Stops the handler of a call. Its end sends the terminal frame.
    pub(super) fn stop(&self, id: CallId, why: ErrorKind) {
        let mut state = self.lock();
        state.mux.note_stop(id, why);
        let task = state.take_task(id);
        drop(state);
        if let Some(task) = task.filter(|_| !planted("handler-not-stopped")) {
            task.abort();
        }
    }

    /// A handler's future is gone before it ended; `unrun` has the bytes of its request if it
    /// wasn't even started.
    fn stopped(&self, id: CallId, unrun: Option<usize>) {
        let task = self.end_task(id, |mux| {
            if let Some(bytes) = unrun {
                mux.release(id, bytes);
            }
            mux.end_stopped(id, if unrun.is_some() { Ran::Never } else { Ran::Maybe });
        });
        drop(task);
    }

    /// Stops every handler: the connection is gone.
    pub(super) fn stop_all(&self) {
        let tasks = mem::take(&mut self.lock().tasks);
        for (_, task) in tasks.into_iter().flatten() {
            task.abort();
        }
    }
}

/// What the caller learns about a panic: that there was one. Its text may hold secrets, and is
/// where panics always go, with the panic hook.
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Refusal {
    forget_panic(panic);
    Refusal::of(ErrorKind::HandlerPanicked)
}

/// Drops a panic's payload, whose destructor may panic in turn.
pub(crate) fn forget_panic(panic: Box<dyn std::any::Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        mem::forget(second);
    }
}
