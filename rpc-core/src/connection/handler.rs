//! A handler's future: polled with its context, its panics contained, in a task of its own if it
//! takes more than one poll; which handlers those are is `dispatch`'s business.

use std::{
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, Waker},
};

use tokio::task::AbortHandle;

use super::{Connection, Router, dispatch::ReplyFrames};
use crate::{
    clock,
    context::{Context, Entered},
    error::ErrorKind,
    frame::CallId,
    mux::Mux,
    service::{Handler, Outcome, Refusal, Request, Service},
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
    pub(super) context: Option<Context>,
    pub(super) handler: Option<Handler>,
}

impl Running {
    /// Makes the handler's future, and polls it once if it is to run inline. Returns its outcome if
    /// it has one already.
    #[inline]
    pub(super) fn start(
        &mut self,
        service: &dyn Service,
        request: Request,
        poll: bool,
    ) -> Option<Outcome> {
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
pub(super) struct HandlerTask {
    pub(super) id: CallId,
    pub(super) running: Running,
    /// Taken when the call has ended.
    pub(super) connection: Option<Arc<Connection>>,
    /// The method whose first poll is to be timed.
    pub(super) route: Option<(Arc<Router>, usize)>,
}

impl Future for HandlerTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        let polled = if let Some((router, at)) = this.route.take() {
            let began = clock::now();
            let polled = this.running.poll(cx);
            if let Some(route) = router.route(at) {
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
    let limits = connection.with(|mux| mux.reply_limits());
    let frames = ReplyFrames::of(outcome, limits);
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
    fn end_task(&self, id: CallId, end: impl FnOnce(&mut Mux)) -> Option<AbortHandle> {
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
