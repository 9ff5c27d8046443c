//! The task of one connection: moves frames between transport and state machine, keeps time.
//!
//! It writes whatever is queued in one go, and never waits in order to batch. When callers were
//! woken, or a frame was queued while it slept, it first lets every runnable task run once (it
//! steps behind them in the scheduler's queue): they are the ones whose frames belong into the same
//! write. Not for a call that is alone, if the runtime would wake another thread for that.

use std::{
    fmt,
    future::Future,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::{
    Connection, Origin, Router, StateGuard,
    dispatch::{Dispatcher, Woke},
    watch::{Look, Watch},
};
use crate::{
    clock,
    error::{CloseReason, ErrorKind},
    mux::{Cause, Closed, Phase},
    outbox::Batch,
    planted::planted,
    sync::{Sleep, has_one_thread, sleep_until},
    transport::{InFrame, Inbox, Lane, Received, Transport, TransportError},
};

/// Reads in a row before other tasks get their turn.
const READS_PER_POLL: usize = 16;

/// Rounds of receiving and sending in a row before other tasks get their turn.
const STEPS_PER_POLL: usize = 16;

/// Steps in a row without a look at the time. One that is followed by another at once leaves it to that.
const STEPS_PER_LOOK: u8 = 16;

/// How long a side that has closed waits for the other to read what was sent and close too.
const LINGER: Duration = Duration::from_secs(1);

/// What a driver needs to know beside its connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DriverConfig {
    /// How long the peer's hello may take.
    pub(crate) hello_timeout: Duration,
    /// How long the connection may be of no use to anybody, if that matters.
    pub(crate) idle_timeout: Option<Duration>,
}

/// The task.
pub(crate) struct Driver<T> {
    connection: Arc<Connection>,
    transport: T,
    batch: Batch,
    dispatcher: Dispatcher,
    origin: Arc<Origin>,
    /// What has to be done by when, calls apart.
    watch: Watch,
    /// The timer, made when it is first needed, and what it is set to.
    timer: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
    /// Whether the transport hasn't finished with what it was given.
    flushing: bool,
    /// The position in what is being sent at which a one-way call has left, if one waits for that.
    leaves_at: Option<u64>,
    /// Whether the runtime wakes no other thread when it steps behind other tasks: it has none.
    pub(super) steps_freely: bool,
    /// Whether it has stepped behind the other tasks since it last wrote.
    behind: bool,
    /// Steps since it last looked at the time.
    unlooked: u8,
    ending: Ending,
    incoming: Incoming,
    /// Behind which position no request ran, if the transport knows that of a connection that is lost.
    never_ran_from: Option<u64>,
}

/// How far the connection is from its end, as the driver sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It isn't ending.
    No,
    /// What is queued is sent, then nothing more.
    Flush,
    /// Everything is sent; the peer's end is awaited.
    Linger,
}

/// Whether anything can still come from the peer. Looked at only when the connection is ending: before
/// that it ends with what comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Incoming {
    /// As far as is known.
    Open,
    /// The peer has finished sending.
    Ended,
    /// Receiving has failed, so it isn't tried again.
    Failed,
}

/// Why a loop of the driver stops.
enum Step {
    /// It did something: go on.
    Again,
    /// It waits for something that will wake it.
    Wait,
    /// The connection is over.
    Over(Closed),
}

impl<T: Transport> Driver<T> {
    pub(crate) fn new(
        connection: Arc<Connection>,
        transport: T,
        router: Arc<Router>,
        config: DriverConfig,
    ) -> Self {
        let origin = Arc::new(Origin::new(transport.peer(), &connection));
        Self {
            connection,
            transport,
            batch: Batch::default(),
            dispatcher: Dispatcher::new(router, Arc::clone(&origin)),
            origin,
            watch: Watch::new(clock::now(), config),
            timer: None,
            armed: None,
            flushing: false,
            leaves_at: None,
            steps_freely: has_one_thread(),
            behind: false,
            unlooked: 0,
            ending: Ending::No,
            incoming: Incoming::Open,
            never_ran_from: None,
        }
    }

    #[cfg(all(test, rpc_shuttle))]
    pub(crate) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Receives until there is nothing more. Returns what that led to.
    fn receive(&mut self, cx: &mut Context<'_>) -> (Step, Woke) {
        let mut woke = Woke::default();
        for _ in 0..READS_PER_POLL {
            let Poll::Ready((received, now_woke)) = self.receive_once(cx) else {
                return (Step::Wait, woke);
            };
            woke.add(now_woke);
            match received {
                Ok(Received::Some) => {}
                Ok(Received::Part) => return (Step::Again, woke),
                Ok(Received::End) => return (self.peer_finished(), woke),
                Err(TransportError::Io(error)) => return (Step::Over(broken(error)), woke),
                Err(error) => return (self.refuse_peer(&error), woke),
            }
        }
        cx.waker().wake_by_ref();
        (Step::Wait, woke)
    }

    /// Receives one read's worth of frames, and does what they ask for.
    #[inline]
    fn receive_once(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(Result<Received, TransportError>, Woke)> {
        let mut inbox = MuxInbox { connection: &self.connection, locked: None };
        let received = ready!(self.transport.poll_recv(cx, &mut inbox));
        let Some((mut state, now)) = inbox.locked else {
            if matches!(received, Ok(Received::Some | Received::Part)) {
                // A part of a frame: over a slow link a whole one takes its time.
                self.connection.lock().mux.hear(clock::now());
            }
            return Poll::Ready((received, Woke::default()));
        };
        self.watch.note_use();
        // What this leads to is sent before it sleeps.
        state.awake = true;
        Poll::Ready((received, self.dispatcher.act(&self.connection, state, now)))
    }

    /// The peer has finished sending. It may still read, but it can't answer.
    fn peer_finished(&mut self) -> Step {
        if self.connection.with(|mux| matches!(mux.phase(), Phase::Closed(_))) {
            // It has said why, so both sides end in order.
            self.incoming = Incoming::Ended;
            self.begin_ending();
            return Step::Again;
        }
        // r[impl stream.end]
        Step::Over(Closed::new(ErrorKind::ConnectionLost, "the peer ended the connection"))
    }

    /// The peer broke the rules below the frames.
    fn refuse_peer(&mut self, error: &TransportError) -> Step {
        let text = error.to_string();
        let reason = match error {
            TransportError::FrameTooLarge { .. } => CloseReason::FrameTooLarge,
            TransportError::Version { .. } => CloseReason::Version,
            // r[impl stream.not-ours]
            TransportError::NotOurs { .. } => {
                return Step::Over(Closed::new(ErrorKind::IncompatiblePeer, text));
            }
            TransportError::Reset { never_ran_from, .. } => {
                self.never_ran_from = *never_ran_from;
                return Step::Over(Closed::new(ErrorKind::ConnectionLost, text));
            }
            TransportError::Io(_) | TransportError::Truncated => {
                return Step::Over(Closed::new(ErrorKind::ConnectionLost, text));
            }
        };
        self.connection.with(|mux| mux.close(reason, &text));
        self.begin_ending();
        Step::Again
    }

    /// Sends what is queued, perhaps after other tasks have run.
    fn send(&mut self, cx: &mut Context<'_>, mut woke: Woke) -> Step {
        loop {
            if self.batch.is_empty() && !self.flushing {
                let mut state = self.connection.lock();
                state.stalled = false;
                let frames = state.mux.has_frames();
                // Replies that were made just now are a batch already. To anything else, and when
                // callers were woken, other tasks may add; but not to a call that is alone, which waits
                // only where that costs nothing: there it leaves with those of other connections.
                let is_lone = !self.steps_freely && woke.callers <= 1 && state.mux.is_lone();
                let more_to_come = !is_lone && (woke.callers > 0 || frames && !woke.requests);
                if more_to_come && !mem::replace(&mut self.behind, true) {
                    drop(state);
                    cx.waker().wake_by_ref();
                    return Step::Wait;
                }
                // A call that came up meanwhile, and is too late already, isn't sent.
                if frames && self.ending == Ending::No && self.is_late(&state) {
                    drop(state);
                    self.keep_time(cx);
                    continue;
                }
                self.behind = false;
                if !frames {
                    if let Some(position) = state.mux.stalled_at() {
                        self.watch.note_stall(position, clock::now);
                    }
                    return Step::Wait;
                }
                self.watch.note_use();
                state.mux.draw(&mut self.batch);
                self.leaves_at = state.mux.next_leaves_at();
                state.release();
            }
            let sent = self.transport.poll_send(cx, &mut self.batch);
            woke.callers += usize::from(self.note_left());
            match sent {
                Poll::Ready(Ok(())) => {
                    self.flushing = false;
                    self.watch.note_sent();
                }
                Poll::Ready(Err(error)) => return Step::Over(broken(error)),
                Poll::Pending => {
                    self.flushing = true;
                    self.connection.lock().stalled = true;
                    self.watch.note_stall(self.batch.position(), clock::now);
                    return Step::Wait;
                }
            }
        }
    }

    /// Tells one-way calls that they have left. Returns whether one has. When none waits for that,
    /// this takes no lock.
    #[inline]
    fn note_left(&mut self) -> bool {
        let position = self.batch.position();
        if self.leaves_at.is_none_or(|at| at > position) {
            return false;
        }
        let mut state = self.connection.lock();
        state.mux.handle_sent(position);
        self.leaves_at = state.mux.next_leaves_at();
        state.release();
        true
    }

    /// Looks at the clock if a deadline may have passed, and sets the timer.
    fn keep_time(&mut self, cx: &mut Context<'_>) {
        self.unlooked = 0;
        self.watch.restart(clock::now);
        loop {
            let next = {
                let mut state = self.connection.lock();
                if state.mux.next_timeout().is_none() {
                    state.armed = None;
                }
                self.watch.next(&state.mux)
            };
            let Some(next) = next else {
                self.armed = None;
                return;
            };
            // A timer that is set too early costs one look; setting it anew costs more.
            if self.armed.is_none_or(|armed| next < armed) {
                self.arm(next);
            }
            let Some(timer) = &mut self.timer else { return };
            if timer.as_mut().poll(cx).is_pending() {
                return;
            }
            self.armed = None;
            self.pass_deadlines();
        }
    }

    /// Whether there is an earlier deadline than the timer knows.
    fn is_late(&self, state: &StateGuard<'_>) -> bool {
        let next = state.mux.next_timeout();
        next.is_some_and(|next| self.armed.is_none_or(|armed| next < armed))
    }

    fn arm(&mut self, at: Instant) {
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(at.into()),
            None => self.timer = Some(Box::pin(sleep_until(at.into()))),
        }
        self.armed = Some(at);
        self.connection.lock().armed = Some(at);
    }

    /// Ends what has run out of time.
    fn pass_deadlines(&mut self) {
        let now = clock::now();
        let mut state = self.connection.lock();
        state.armed = None;
        state.mux.handle_timeout(now);
        let look = self.watch.pass(now, &mut state.mux, self.batch.is_empty());
        if look == Look::Idle {
            state.mux.shrink();
            self.batch.shrink();
            self.dispatcher.shrink();
        }
        self.dispatcher.act(&self.connection, state, now);
        if look != Look::NotYet {
            let unused = self.connection.with(|mux| mux.shelf().unused(look == Look::Idle));
            drop(unused);
        }
    }

    /// Goes to sleep, unless something came up meanwhile.
    fn sleep(&mut self, cx: &mut Context<'_>) -> Step {
        let mut state = self.connection.lock();
        // A reply that waits to be sent isn't sent yet, however far the books are.
        let sent = self.batch.is_empty() && !self.flushing && !state.mux.has_frames();
        if sent && state.mux.is_drained() {
            state.mux.close(CloseReason::Done, "");
            return Step::Again;
        }
        if self.ending == Ending::No && matches!(state.mux.phase(), Phase::Closed(_)) {
            drop(state);
            self.begin_ending();
            return Step::Again;
        }
        if state.mux.has_frames() && !state.stalled && !planted("sleeps-over-frames") {
            return Step::Again;
        }
        // A call that waits for a place queues no frame, but has a deadline.
        if self.is_late(&state) {
            return Step::Again;
        }
        state.awake = false;
        match &mut state.driver {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Step::Wait
    }

    /// One side has closed. Callers learn it now; what is queued for the peer is still sent.
    fn begin_ending(&mut self) {
        self.ending = Ending::Flush;
        // The timer is the linger's from now on.
        self.armed = None;
        let mut state = self.connection.lock();
        state.awake = false;
        state.mux.handle_closing();
        self.dispatcher.act(&self.connection, state, clock::now());
        self.connection.stop_all();
        self.origin.note_end();
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        if self.ending != Ending::No {
            return self.finish(cx);
        }
        // It has stepped behind the others: what they have queued goes first.
        if self.behind {
            let sent = self.send(cx, Woke::default());
            return if let Step::Over(_) = sent { sent } else { Step::Again };
        }
        let (received, woke) = self.receive(cx);
        if let Step::Over(_) = received {
            return received;
        }
        let sent = self.send(cx, woke);
        if let Step::Over(_) = sent {
            return sent;
        }
        let is_more = matches!(received, Step::Again);
        self.unlooked += 1;
        if self.unlooked >= STEPS_PER_LOOK || !is_more && !self.behind {
            self.keep_time(cx);
        }
        if self.behind {
            // It is polled again when the others have run.
            return Step::Wait;
        }
        if is_more { Step::Again } else { self.sleep(cx) }
    }

    /// Sends what is left, half-closes, and waits for the peer to do the same: a socket that is
    /// dropped with unread input is reset, and takes replies with it that the peer hasn't read.
    fn finish(&mut self, cx: &mut Context<'_>) -> Step {
        if self.ending == Ending::Flush
            && let Step::Over(closed) = self.flush(cx)
        {
            return Step::Over(closed);
        }
        // Before reading: a peer that goes on sending must not keep the connection for ever.
        if self.timer.as_mut().is_none_or(|timer| timer.as_mut().poll(cx).is_ready()) {
            return finished();
        }
        self.drain(cx);
        // r[impl close.linger]
        if self.ending == Ending::Linger && self.incoming != Incoming::Open {
            return finished();
        }
        Step::Wait
    }

    /// Sends what is left, then says that this was all.
    fn flush(&mut self, cx: &mut Context<'_>) -> Step {
        if self.armed.is_none() {
            self.arm(clock::now() + LINGER);
        }
        let now = Woke { callers: 0, requests: true };
        if let Step::Over(closed) = self.send(cx, now) {
            return Step::Over(closed);
        }
        if self.batch.is_empty() && !self.flushing {
            match self.transport.poll_close(cx) {
                Poll::Ready(Ok(())) => {
                    self.arm(clock::now() + LINGER);
                    self.ending = Ending::Linger;
                }
                Poll::Ready(Err(_)) => return finished(),
                Poll::Pending => {}
            }
        }
        Step::Wait
    }

    /// Receives, and looks at nothing of it. Until everything is sent, that is for the transport: it
    /// may have to hear from its peer before it can send more. However receiving ends, the peer may
    /// still read (it has half-closed, say), so whether anything can be sent is up to sending.
    fn drain(&mut self, cx: &mut Context<'_>) {
        for _ in 0..READS_PER_POLL {
            if self.incoming == Incoming::Failed {
                return;
            }
            let mut inbox = MuxInbox { connection: &self.connection, locked: None };
            match self.transport.poll_recv(cx, &mut inbox) {
                // It isn't looked at any more, so it need not be frames.
                Poll::Ready(
                    Ok(Received::Some | Received::Part)
                    | Err(
                        TransportError::FrameTooLarge { .. }
                        | TransportError::Version { .. }
                        | TransportError::NotOurs { .. },
                    ),
                ) => {}
                Poll::Ready(Ok(Received::End)) => {
                    self.incoming = Incoming::Ended;
                    return;
                }
                Poll::Ready(Err(_)) => self.incoming = Incoming::Failed,
                Poll::Pending => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Tells everybody that the connection is over.
    fn end(&mut self, closed: Closed) {
        let mut state = self.connection.lock();
        state.driver = None;
        let left = if planted("lost-called-not-sent") { 0 } else { self.batch.position() };
        state.mux.handle_lost(closed, left, self.never_ran_from);
        self.dispatcher.act(&self.connection, state, clock::now());
        self.connection.stop_all();
    }
}

/// The transport is never pinned: its methods take `&mut self`.
impl<T> Unpin for Driver<T> {}

impl<T: Transport> Future for Driver<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        for _ in 0..STEPS_PER_POLL {
            match this.step(cx) {
                Step::Again => {}
                Step::Wait => return Poll::Pending,
                Step::Over(closed) => {
                    this.end(closed);
                    return Poll::Ready(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T> Drop for Driver<T> {
    /// The runtime is going away, or the connection is over already.
    fn drop(&mut self) {
        let text = "the task that drives the connection was stopped";
        let closed = Closed::new(ErrorKind::ConnectionLost, text);
        let wakers = {
            let mut state = self.connection.lock();
            state.driver = None;
            state.mux.handle_lost(closed, self.batch.position(), None);
            mem::take(&mut state.mux.output().wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
        drop(self.connection.with(|mux| mux.shelf().unused(true)));
        self.connection.stop_all();
        self.origin.note_gone(&self.connection);
    }
}

impl<T> fmt::Debug for Driver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("ending", &self.ending).finish_non_exhaustive()
    }
}

/// The connection is over, as was settled before.
fn finished() -> Step {
    Step::Over(Closed::new(ErrorKind::ConnectionLost, ""))
}

fn broken(error: io::Error) -> Closed {
    let cause = Cause(Some(Arc::new(error)));
    Closed { cause, ..Closed::new(ErrorKind::ConnectionLost, "the connection broke") }
}

/// Hands received frames to the state machine. Locks at the first frame, once for all of them.
struct MuxInbox<'a> {
    connection: &'a Connection,
    locked: Option<(StateGuard<'a>, Instant)>,
}

impl<'a> MuxInbox<'a> {
    #[inline]
    fn lock(&mut self) -> &mut (StateGuard<'a>, Instant) {
        self.locked.get_or_insert_with(|| (self.connection.lock(), clock::now()))
    }
}

impl Inbox for MuxInbox<'_> {
    #[inline]
    fn push(&mut self, frame: InFrame<'_>) {
        let (state, now) = self.lock();
        state.mux.handle_frame(*now, frame);
    }

    fn buffer(&mut self, lane: Lane, bytes: usize, beginning: &[u8]) -> BytesMut {
        let (state, now) = self.lock();
        state.mux.hear(*now);
        state.mux.room(lane, bytes, beginning)
    }

    fn frame_bytes_max(&self) -> usize {
        match &self.locked {
            Some((state, _)) => state.mux.limits().frame_bytes as usize,
            None => self.connection.lock().mux.limits().frame_bytes as usize,
        }
    }
}
