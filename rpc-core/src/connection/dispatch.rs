//! Runs requests: finds the service, polls the handler, turns what it ends with into frames.
//!
//! A handler that ends at its first poll costs no task. It is polled where its request was decoded;
//! if it is pending it moves to a task of its own, which polls it again at once. Which methods are
//! tried that way is `router`'s business, what happens in a task `handler`'s.

use std::{
    mem,
    sync::Arc,
    task::{self, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::task::coop;

use super::{
    Connection, Origin, Router, StateGuard,
    handler::{HandlerTask, Running},
    router::SLOW_POLL,
};
use crate::{
    clock,
    context::Context,
    error::{ErrorKind, Ran},
    frame::{self, CallId, PREFIX_BYTES},
    mux::{Accepted, Mux, ReplyLimits},
    planted::planted,
    service::{Answer, Outcome, Refusal, Request},
    streaming::Incoming,
    sync::spawn,
};

/// How many requests are run between two looks at the clock. When a batch has become slow, the rest
/// of it goes to tasks. So an inline handler delays the connection's other calls by what it takes
/// to return, nothing interrupts it, and by that of at most so many others.
const BATCH_CHECK: usize = 8;

/// A batch that takes longer than this goes on in tasks, and the next one has its handlers timed
/// one by one.
const SLOW_BATCH: Duration = Duration::from_micros(100);

/// In a batch that takes longer than this, and longer than so many slow polls, a handler has
/// blocked, and nobody has timed which. Parsing what one read brings takes a fraction of it.
const BLOCKED_BATCH: Duration = Duration::from_millis(1);

/// Whom the last input concerned.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Woke {
    /// How many callers were woken, who may call again.
    pub(super) callers: usize,
    /// Requests were run, and may have been answered.
    pub(super) requests: bool,
}

impl Woke {
    pub(super) fn add(&mut self, other: Self) {
        self.callers += other.callers;
        self.requests |= other.requests;
    }
}

/// Runs the requests of one connection. Lives in the connection's task.
pub(super) struct Dispatcher {
    router: Arc<Router>,
    origin: Arc<Origin>,
    /// Callers to wake, empty between batches.
    wakers: Vec<Waker>,
    /// Requests to run, empty between batches.
    accepted: Vec<Accepted>,
    /// Frames of calls that ended inline.
    staged: Vec<u8>,
    /// The calls they end.
    ended: Vec<CallId>,
    /// How other calls end: with large replies, or with errors.
    others: Vec<(CallId, ReplyFrames)>,
    /// Bytes of those large replies.
    large_bytes: usize,
    /// Buffers of staged replies, to use again.
    spent: Vec<Vec<u8>>,
    /// Handlers to move to tasks, after the lock has been taken for the rest.
    spawned: Vec<HandlerTask>,
    /// Whether handlers are timed one by one.
    timing: bool,
}

impl Dispatcher {
    pub(super) fn new(router: Arc<Router>, origin: Arc<Origin>) -> Self {
        Self {
            router,
            origin,
            wakers: Vec::new(),
            accepted: Vec::new(),
            staged: Vec::new(),
            ended: Vec::new(),
            others: Vec::new(),
            large_bytes: 0,
            spent: Vec::new(),
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
        let limits = state.mux.reply_limits();
        let output = state.mux.output();
        mem::swap(&mut output.wakers, &mut self.wakers);
        mem::swap(&mut output.accepted, &mut self.accepted);
        let stopped = mem::take(&mut output.stopped);
        drop(state);
        let woke = Woke { callers: self.wakers.len(), requests: !self.accepted.is_empty() };
        self.wakers.drain(..).for_each(Waker::wake);
        if woke.requests {
            self.run(connection, limits, now);
        }
        for (id, why) in stopped {
            connection.stop(id, why);
        }
        woke
    }

    /// Runs a batch of requests, and queues the replies of those that end at once.
    fn run(&mut self, connection: &Arc<Connection>, limits: ReplyLimits, began: Instant) {
        let mut accepted = mem::take(&mut self.accepted);
        let mut patience = true;
        let blocked =
            BLOCKED_BATCH.max(SLOW_POLL * u32::try_from(accepted.len()).unwrap_or(u32::MAX));
        if planted("swapped-replies")
            && let [first, second, ..] = &mut accepted[..]
        {
            mem::swap(&mut first.id, &mut second.id);
        }
        for (at, request) in accepted.drain(..).enumerate() {
            // The first slow batch must not hold up everything else either.
            if at % BATCH_CHECK == BATCH_CHECK - 1 {
                patience = clock::now().duration_since(began) <= SLOW_BATCH;
            }
            self.run_one(connection, request, limits, patience);
        }
        self.accepted = accepted;
        let took = clock::now().duration_since(began);
        self.timing = took > SLOW_BATCH;
        if took > blocked {
            self.router.demote_all();
        }
        self.queue(connection);
    }

    #[inline]
    fn run_one(
        &mut self,
        connection: &Arc<Connection>,
        accepted: Accepted,
        limits: ReplyLimits,
        patience: bool,
    ) {
        let Accepted { id, method, deadline, metadata, stream, body, .. } = accepted;
        let (at, route) = match self.router.find(method) {
            Ok(found) => found,
            Err(refusal) => return self.stage(id, Err(refusal), limits),
        };
        let context = Context::new(Arc::clone(&self.origin), Some(id), deadline, metadata);
        let mut running = Running::new(context.clone());
        let incoming = stream.then(|| Incoming::new(Arc::clone(connection), id, None));
        let mut request = Some(Request::new(method, context, body, incoming));
        let mut items = None;
        let room = self.staged.len() + self.large_bytes < limits.room;
        if patience && room && route.is_inline() && coop::has_budget_remaining() {
            let began = self.timing.then(clock::now);
            let mut cx = task::Context::from_waker(Waker::noop());
            let polled = running.start(&*route.service, &mut request, &mut cx);
            if let Some(began) = began {
                route.note(clock::now().duration_since(began));
            }
            if let Poll::Ready(mut outcome) = polled {
                items = outcome.as_mut().ok().and_then(|answer| answer.items.take());
                if items.is_none() {
                    drop(running);
                    return self.stage(id, outcome, limits);
                }
            }
            self.router.enter_begun();
        } else if let Err(refusal) = self.router.enter() {
            return self.stage(id, Err(refusal), limits);
        }
        self.spawned.push(HandlerTask {
            id,
            running,
            request,
            waited: false,
            items,
            pump: None,
            connection: Some(Arc::clone(connection)),
            router: Arc::clone(&self.router),
            at,
        });
    }

    /// Turns the outcome of a call that ended inline into frames.
    #[inline]
    fn stage(&mut self, id: CallId, outcome: Outcome, limits: ReplyLimits) {
        match ReplyFrames::of(outcome, limits) {
            ReplyFrames::Small(answer) => {
                let length = frame::DATA_HEADER_BYTES + answer.body.len();
                self.staged.reserve(PREFIX_BYTES + length);
                frame::encode_prefix(&mut self.staged, id.lane(), length, true);
                frame::encode_reply_header(&mut self.staged, answer.app_error, false);
                self.staged.extend_from_slice(&answer.body);
                self.spent.push(answer.body);
                self.ended.push(id);
            }
            large_or_error => {
                self.large_bytes += large_or_error.bytes();
                self.others.push((id, large_or_error));
            }
        }
    }

    /// Queues what was staged, under the lock, and starts tasks for the rest.
    fn queue(&mut self, connection: &Arc<Connection>) {
        let waiting = self.spawned.iter().filter_map(|task| task.request.as_ref());
        let waiting_bytes: usize = waiting.map(Request::bytes).sum();
        if !self.ended.is_empty() || !self.others.is_empty() || waiting_bytes > 0 {
            connection.with(|mux| {
                #[expect(clippy::cast_possible_truncation, reason = "at most the limit on calls")]
                let terminals = self.ended.len() as u32;
                // Nobody else ends them: they have no task, and cancels are this task's business.
                for id in self.ended.drain(..) {
                    mux.finish(id);
                }
                mux.append_staged(&self.staged, terminals);
                mux.recycle(&mut self.spent);
                for (id, frames) in self.others.drain(..) {
                    frames.queue(mux, id);
                }
                mux.hold(waiting_bytes);
            });
            self.staged.clear();
            self.large_bytes = 0;
        }
        for task in self.spawned.drain(..) {
            let id = task.id;
            let handle = spawn(task).abort_handle();
            connection.remember_task(id, handle);
        }
    }

    /// Gives back the memory that an idle connection doesn't need.
    pub(super) fn shrink(&mut self) {
        self.spent = Vec::new();
        self.wakers = Vec::new();
        self.accepted = Vec::new();
        self.staged = Vec::new();
        self.ended = Vec::new();
        self.others = Vec::new();
        self.spawned = Vec::new();
    }
}

/// How the end of a call goes over the wire.
pub(super) enum ReplyFrames {
    Small(Answer),
    /// What was encoded, and large bytes behind it.
    Bulk(bool, Bytes, Bytes),
    Error(ErrorKind, Ran, String),
}

impl ReplyFrames {
    /// Queues them as the end of a call, unless that has ended.
    pub(super) fn queue(self, mux: &mut Mux, id: CallId) {
        if !mux.finish(id) {
            return;
        }
        match self {
            Self::Small(answer) => mux.queue_reply(id, answer.app_error, &answer.body),
            Self::Bulk(app_error, body, tail) => mux.queue_bulk_reply(id, app_error, body, tail),
            Self::Error(kind, ran, text) => mux.queue_error(id, kind, ran, &text),
        }
    }

    /// Bytes that aren't staged.
    fn bytes(&self) -> usize {
        match self {
            Self::Bulk(_, body, tail) => body.len() + tail.len(),
            Self::Small(_) | Self::Error(..) => 0,
        }
    }

    #[inline]
    pub(super) fn of(outcome: Outcome, limits: ReplyLimits) -> Self {
        match outcome {
            // r[impl reply.too-large]
            Ok(answer) if answer.bytes() > limits.message_bytes => {
                let (bytes, limit) = (answer.bytes(), limits.message_bytes);
                let text = format!(
                    "a reply of {bytes} bytes, both sides accept {limit} (Limits::message_bytes)"
                );
                Self::Error(ErrorKind::TooLarge, Ran::Ended, text)
            }
            Ok(answer) if answer.bytes() >= limits.bulk_bytes() => {
                Self::Bulk(answer.app_error, answer.body.into(), answer.tail)
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
