//! The two ends of a pair, each driven as by a task of its own; what they prove is for `verdict`.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker, ready},
};

use bytes::{Buf, Bytes};

use super::{
    super::random::Random,
    Promise,
    script::Script,
    verdict::{Account, Broken, Ended},
};
use crate::transport::{Batch, InFrame, Inbox, OutFrame, Payload, Received, Transport};

/// Reads in a row before the other end gets its turn.
const READS_PER_POLL: usize = 64;

/// What checks are made with: fresh pairs, and a seed.
pub(super) struct Lab<'a, F> {
    connect: &'a F,
    seed: u64,
}

impl<'a, F, Fut, A, B> Lab<'a, F>
where
    F: Fn() -> Fut,
    Fut: Future<Output = (A, B)>,
    A: Transport,
    B: Transport,
{
    pub(super) fn new(connect: &'a F, seed: u64) -> Self {
        Self { connect, seed }
    }

    /// A new pair: the connecting end, the accepting end.
    pub(super) async fn pair(&self) -> (End<A>, End<B>) {
        let (a, b) = (self.connect)().await;
        (End::new("connecting", a, self.seed), End::new("accepting", b, !self.seed))
    }

    pub(super) fn random(&self) -> Random {
        Random::new(self.seed)
    }
}

/// One end: the transport, what it has to send, and what it received.
pub(super) struct End<T> {
    pub(super) transport: T,
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
}

/// What an end sends, and how far that got.
pub(super) struct Outgoing {
    /// Which end it is: `connecting` or `accepting`.
    side: &'static str,
    pub(super) script: Script,
    batch: Batch,
    /// Whether the transport is busy with the batch: it may be when it has taken all of it.
    busy: bool,
    /// Whether the transport was told that nothing more comes.
    pub(super) closed: bool,
}

/// What an end received.
pub(super) struct Incoming {
    pub(super) frames: Vec<OutFrame>,
    pub(super) ended: Option<Ended>,
    pub(super) limit: usize,
}

/// What an end is to have done before a check goes on. Whatever that is, it receives meanwhile: that is
/// what a connection's task does, and a transport may need to be polled for what it sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    sending: Sending,
    /// How many frames have to be there, unless the end is.
    frames: usize,
}

#[derive(Debug, Clone, Copy)]
enum Sending {
    Nothing,
    /// The rest of the script.
    Rest,
    /// The rest of the script, and that this was all.
    Finish,
}

impl Goal {
    /// All of the script is sent.
    pub(super) const SENT: Self = Self { sending: Sending::Rest, frames: 0 };
    /// All of the script is sent, and this direction ended.
    pub(super) const FINISHED: Self = Self { sending: Sending::Finish, frames: 0 };
    /// The connection has ended in the other direction, however it did.
    pub(super) const TOLD: Self = Self::received(usize::MAX);
    /// Both.
    const BOTH: Self = Self { sending: Sending::Finish, frames: usize::MAX };

    /// So many frames are there, or the end is.
    pub(super) const fn received(frames: usize) -> Self {
        Self { sending: Sending::Nothing, frames }
    }
}

/// How sending a script went.
pub(super) enum Sent {
    /// The transport took all of it.
    All,
    /// The connection broke.
    Lost(io::Error),
}

impl<T: Transport> End<T> {
    fn new(side: &'static str, transport: T, seed: u64) -> Self {
        let script = Script::new(transport.frame_bytes(), seed);
        let limit = script.frame_bytes;
        let batch = Batch::default();
        let outgoing = Outgoing { side, script, batch, busy: false, closed: false };
        let incoming = Incoming { frames: Vec::new(), ended: None, limit };
        Self { transport, outgoing, incoming }
    }

    /// Sends the rest of the script.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Sent, Broken>> {
        let Outgoing { script, batch, busy, .. } = &mut self.outgoing;
        loop {
            if batch.is_empty() && !*busy {
                let Some(next) = script.next_batch() else { return Poll::Ready(Ok(Sent::All)) };
                *batch = next;
            }
            let before = batch.remaining();
            let sent = self.transport.poll_send(cx, batch);
            *busy = sent.is_pending();
            if batch.remaining() > before {
                let found = "poll_send put bytes into the batch";
                return Poll::Ready(Err(Promise::KnowsWhatLeft.broken(found)));
            }
            match ready!(sent) {
                Ok(()) if batch.is_empty() => {}
                Ok(()) => {
                    let found = "poll_send returned Ready(Ok) with bytes left in the batch";
                    return Poll::Ready(Err(Promise::KnowsWhatLeft.broken(found)));
                }
                Err(error) => return Poll::Ready(Ok(Sent::Lost(error))),
            }
        }
    }

    /// Sends the rest of the script over a connection that nobody has ended.
    pub(super) fn poll_send_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(match ready!(self.poll_send(cx))? {
            Sent::All => Ok(()),
            Sent::Lost(error) => Err(self.outgoing.failed("poll_send", &error)),
        })
    }

    /// Sends the rest of the script, then says that this was all.
    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.outgoing.closed {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send_all(cx))?;
        let closed = ready!(self.transport.poll_close(cx));
        self.outgoing.closed = true;
        Poll::Ready(closed.map_err(|error| self.outgoing.failed("poll_close", &error)))
    }

    /// Like [`poll_send`](Self::poll_send), and receives meanwhile.
    pub(super) fn poll_send_and_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Sent, Broken>> {
        let sent = self.poll_send(cx)?;
        let _received = self.poll_recv(cx, usize::MAX)?;
        sent.map(Ok)
    }

    /// Receives what there is. Ready when `enough` frames are there, or the end is.
    pub(super) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        enough: usize,
    ) -> Poll<Result<(), Broken>> {
        for _ in 0..READS_PER_POLL {
            if let Some(ended) = &self.incoming.ended {
                let in_order = *ended == Ended::End;
                return Poll::Ready(if in_order { self.poll_ended(cx) } else { Ok(()) });
            }
            match self.transport.poll_recv(cx, &mut self.incoming) {
                Poll::Ready(Ok(Received::Some | Received::Part)) => {}
                Poll::Ready(Ok(Received::End)) => self.incoming.ended = Some(Ended::End),
                Poll::Ready(Err(error)) => {
                    self.incoming.ended = Some(Ended::Error(error.to_string()));
                }
                Poll::Pending => return self.incoming.poll_enough(enough),
            }
        }
        cx.waker().wake_by_ref();
        self.incoming.poll_enough(enough)
    }

    /// Goes on after the end, when nothing may come: what this end sends may need it.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        let before = self.incoming.frames.len();
        let _again = self.transport.poll_recv(cx, &mut self.incoming);
        if self.incoming.frames.len() > before {
            return Err(Promise::OrItEnds.broken("a frame arrived after the end was reported"));
        }
        Ok(())
    }

    /// What the task of this end does when it is woken, until it has done what is wanted of it.
    fn poll_goal(&mut self, cx: &mut Context<'_>, goal: Goal) -> Poll<Result<(), Broken>> {
        let sent = match goal.sending {
            Sending::Nothing => Poll::Ready(()),
            Sending::Rest => self.poll_send_all(cx)?,
            Sending::Finish => self.poll_finish(cx)?,
        };
        ready!(self.poll_recv(cx, goal.frames)?);
        sent.map(Ok)
    }

    /// Whether both directions have ended.
    pub(super) fn is_done(&self) -> bool {
        self.outgoing.closed && self.incoming.ended.is_some()
    }

    /// Until the goal is reached; the other end does what it does.
    pub(super) async fn reach(&mut self, goal: Goal) -> Result<(), Broken> {
        drive(|cx| self.poll_goal(cx, goal)).await
    }

    /// Drops the transport. What was sent and received stays.
    pub(super) fn vanish(self) -> (Outgoing, Incoming) {
        (self.outgoing, self.incoming)
    }
}

impl Outgoing {
    fn failed(&self, what: &str, error: &io::Error) -> Broken {
        let side = self.side;
        Promise::OrItEnds.broken(format!(
            "{what} failed at the {side} end, although nobody had ended the connection: {error}"
        ))
    }

    /// How many frames the transport took, entirely.
    pub(super) fn consumed(&self) -> usize {
        self.script.consumed(self.batch.remaining())
    }

    /// Whether what was received is what this end sent.
    pub(super) fn judge(&self, incoming: &Incoming) -> Result<(), Broken> {
        let account = Account {
            from: self.side,
            sent: self.script.frames(),
            consumed: self.consumed(),
            received: &incoming.frames,
            ended: incoming.ended.as_ref(),
        };
        account.judge()
    }

    /// Like [`judge`](Self::judge), after an end in order.
    pub(super) fn judge_finished(&self, incoming: &Incoming) -> Result<(), Broken> {
        self.judge(incoming)?;
        match &incoming.ended {
            Some(Ended::End) => Ok(()),
            Some(Ended::Error(error)) => Err(Promise::OrItEnds.broken(format!(
                "the {} end closed in order, the other one received an error: {error}",
                self.side
            ))),
            None => Err(Promise::OrItEnds.broken("the end was not received")),
        }
    }
}

impl Incoming {
    fn poll_enough(&self, enough: usize) -> Poll<Result<(), Broken>> {
        if self.frames.len() >= enough { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl Inbox for Incoming {
    fn push(&mut self, frame: InFrame<'_>) {
        let payload = match frame.payload {
            Payload::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Payload::Owned(bytes) => bytes,
            Payload::Filled(bytes) => bytes.freeze(),
        };
        self.frames.push(OutFrame::new(frame.lane, frame.end, payload));
    }

    fn frame_bytes_max(&self) -> usize {
        self.limit
    }
}

/// Both ends send their scripts at the same time, close, and receive what the other one sent.
pub(super) async fn exchange<A: Transport, B: Transport>(
    a: &mut End<A>,
    b: &mut End<B>,
) -> Result<(), Broken> {
    together((a, Goal::BOTH), (b, Goal::BOTH)).await?;
    judge_both(a, b)
}

/// Until both ends have reached their goals. The one that has goes on as a task would: the other may
/// need it. The first is polled first.
pub(super) async fn together<A: Transport, B: Transport>(
    (a, a_goal): (&mut End<A>, Goal),
    (b, b_goal): (&mut End<B>, Goal),
) -> Result<(), Broken> {
    let (mut a_task, mut b_task) = (Task::default(), Task::default());
    let (mut a_done, mut b_done) = (false, false);
    poll_fn(|cx| {
        a_done |= a_task.poll(cx, |cx| a.poll_goal(cx, a_goal))?.is_ready();
        b_done |= b_task.poll(cx, |cx| b.poll_goal(cx, b_goal))?.is_ready();
        if a_done && b_done { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// Whether both directions were finished in order and hold what was sent.
pub(super) fn judge_both<A, B>(a: &End<A>, b: &End<B>) -> Result<(), Broken> {
    a.outgoing.judge_finished(&b.incoming)?;
    b.outgoing.judge_finished(&a.incoming)
}

/// Both futures, until both are done or one fails. The first is polled first.
pub(super) async fn both(
    a: impl Future<Output = Result<(), Broken>>,
    b: impl Future<Output = Result<(), Broken>>,
) -> Result<(), Broken> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut a_done, mut b_done) = (false, false);
    poll_fn(|cx| {
        a_done = a_done || a.as_mut().poll(cx)?.is_ready();
        b_done = b_done || b.as_mut().poll(cx)?.is_ready();
        if a_done && b_done { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// The first future, while the second runs beside it and doesn't fail. The second is polled first.
pub(super) async fn beside<R>(
    main: impl Future<Output = Result<R, Broken>>,
    background: impl Future<Output = Result<(), Broken>>,
) -> Result<R, Broken> {
    let (mut main, mut background) = (pin!(main), pin!(background));
    let mut over = false;
    poll_fn(|cx| {
        over = over || background.as_mut().poll(cx)?.is_ready();
        main.as_mut().poll(cx)
    })
    .await
}

/// Polls as a task would that has nothing else to do.
pub(super) async fn drive<R>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> R {
    let mut task = Task::default();
    poll_fn(|cx| task.poll(cx, &mut poll)).await
}

/// Polls only after a wake-up, and each time with a new waker, so that only the one that was given
/// last counts.
#[derive(Default)]
struct Task {
    last: Option<Arc<Bell>>,
}

impl Task {
    fn poll<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        if self.last.as_ref().is_some_and(|bell| !bell.listen(cx.waker())) {
            return Poll::Pending;
        }
        let bell = Arc::new(Bell::new(cx.waker().clone()));
        self.last = Some(Arc::clone(&bell));
        poll(&mut Context::from_waker(&Waker::from(bell)))
    }
}

/// A waker that remembers whether it was woken.
struct Bell {
    /// Whether it rang, and who listens.
    state: Mutex<(bool, Waker)>,
}

impl Bell {
    fn new(listener: Waker) -> Self {
        Self { state: Mutex::new((false, listener)) }
    }

    /// Whether it has rung. If not, it will wake `listener`.
    fn listen(&self, listener: &Waker) -> bool {
        let mut state = self.lock();
        state.1.clone_from(listener);
        state.0
    }

    fn lock(&self) -> MutexGuard<'_, (bool, Waker)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let mut state = self.lock();
        state.0 = true;
        let listener = state.1.clone();
        drop(state);
        listener.wake();
    }
}
