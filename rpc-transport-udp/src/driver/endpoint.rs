//! The task that reads a server's socket: every datagram goes to its session, or is answered here.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    clock,
    inbound::{Inbound, Received},
    socket::{Datagrams, Piece},
};
use crate::{
    planted::planted,
    proto::{
        packet::{self, Peek, SessionId},
        session::{Agreed, Budget, Side, Transmit},
        table::{Beginning, Decision, Table},
    },
    spares::Spares,
    sync::{Mutex, MutexGuard, has_one_thread, spawn},
};

/// Sessions that wait to be accepted. What comes for others meanwhile is lost, and comes again.
const BACKLOG: usize = 1024;

/// Receive calls in a row before other tasks get their turn.
const READS_PER_POLL: usize = 16;

/// What the sessions of a server, its listener and the task have in common.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) budget: Budget,
    /// Buffers for what comes.
    pub(super) spares: Arc<Mutex<Spares>>,
    begun: Instant,
    state: Mutex<State>,
    /// Held by the task for as long as it has the socket in hand. Taken before the state, never while
    /// that is held.
    reading: Mutex<()>,
}

#[derive(Debug)]
struct State {
    table: Table<Arc<Inbound>>,
    spares: Arc<Mutex<Spares>>,
    /// The socket, until nobody needs it: then its address is free at once, whenever the task gets
    /// to run again.
    socket: Option<Arc<dyn Datagrams>>,
    /// Sessions that wait to be accepted, and who accepts them.
    waiting: VecDeque<Begun>,
    acceptor: Option<Waker>,
    /// Whether anybody accepts sessions.
    is_open: bool,
    /// Sessions that were accepted, or wait for it.
    live: usize,
    /// The task, when it waits.
    reader: Option<Waker>,
    /// Why the socket broke.
    broken: Option<io::ErrorKind>,
}

/// A session that has begun, and waits to be accepted.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) socket: Arc<dyn Datagrams>,
    pub(super) agreed: Agreed,
    pub(super) inbound: Arc<Inbound>,
}

impl Endpoint {
    /// Starts the task. It ends when nobody accepts sessions any more, and the last has ended.
    pub(super) fn start(
        socket: Arc<dyn Datagrams>,
        table: Table<Arc<Inbound>>,
        budget: Budget,
    ) -> Arc<Self> {
        let spares = Arc::<Mutex<Spares>>::default();
        let state = State {
            table,
            spares: Arc::clone(&spares),
            socket: Some(socket),
            waiting: VecDeque::new(),
            acceptor: None,
            is_open: true,
            live: 0,
            reader: None,
            broken: None,
        };
        let endpoint = Arc::new(Self {
            budget,
            spares,
            begun: clock::now(),
            state: Mutex::new(state),
            reading: Mutex::default(),
        });
        let (steps_freely, out) = (has_one_thread(), Outcome::default());
        spawn(Reader { endpoint: Arc::clone(&endpoint), steps_freely, out });
        endpoint
    }

    /// The next session.
    pub(super) fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<Begun>> {
        let mut state = self.lock();
        if let Some(begun) = state.waiting.pop_front() {
            return Poll::Ready(Ok(begun));
        }
        if let Some(kind) = state.broken {
            return Poll::Ready(Err(io::Error::new(kind, "the socket is broken")));
        }
        if planted("session-unheard") {
            drop(state);
            state = self.lock();
        }
        state.acceptor = Some(cx.waker().clone());
        Poll::Pending
    }

    /// From now on no session is offered. Returns until when to wait for those that were offered and
    /// haven't begun, if there are any.
    pub(super) fn offer_no_more(&self) -> Option<Instant> {
        let uptime_ms = self.uptime_ms();
        let mut state = self.lock();
        state.table.offer_no_more();
        let until_ms = state.table.awaited_until_ms(uptime_ms)?;
        // Of a socket that is broken nothing comes.
        let is_broken = state.broken.is_some();
        drop(state);
        if is_broken { None } else { self.begun.checked_add(Duration::from_millis(until_ms)) }
    }

    /// From now on new sessions are refused. Those that wait are still to be accepted.
    pub(super) fn leave(&self) {
        self.lock().table.leave();
    }

    /// Nobody accepts sessions any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_open = false;
        state.table.leave();
        let waiting = std::mem::take(&mut state.waiting);
        state.live = state.live.saturating_sub(waiting.len());
        let uptime_ms = self.uptime_ms();
        for begun in &waiting {
            state.table.end(uptime_ms, begun.agreed.id);
        }
        let unneeded = state.release();
        drop(state);
        drop(waiting);
        self.give_up(unneeded);
    }

    /// A session has ended.
    pub(super) fn end(&self, session: SessionId) {
        let uptime_ms = self.uptime_ms();
        let mut state = self.lock();
        state.table.end(uptime_ms, session);
        state.live = state.live.saturating_sub(1);
        let unneeded = state.release();
        drop(state);
        self.give_up(unneeded);
    }

    /// Closes the socket, if that is what isn't needed: its address is free afterwards. The task may be
    /// in the middle of receiving, which takes no longer than one call.
    fn give_up(&self, unneeded: Unneeded) {
        let is_closed = unneeded.socket.is_some();
        drop(unneeded.socket);
        if is_closed {
            drop(self.reading.lock());
        }
        unneeded.reader.into_iter().for_each(Waker::wake);
    }

    /// Milliseconds since this server began. It stands still while the machine sleeps, on some
    /// systems, which keeps sessions in memory for longer.
    fn uptime_ms(&self) -> u64 {
        let uptime = clock::now().saturating_duration_since(self.begun);
        u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is given up when nobody needs it any more.
#[derive(Debug, Default)]
struct Unneeded {
    socket: Option<Arc<dyn Datagrams>>,
    reader: Option<Waker>,
}

impl State {
    /// The socket and the task that reads it, if nobody needs them any more. They go outside of the
    /// lock.
    fn release(&mut self) -> Unneeded {
        if self.live > 0 || self.is_open {
            return Unneeded::default();
        }
        Unneeded { socket: self.socket.take(), reader: self.reader.take() }
    }

    /// Sorts the datagrams of a piece: a row of them for one session stays together.
    fn handle_piece(&mut self, uptime_ms: impl Fn() -> u64, piece: &Piece<'_>, out: &mut Outcome) {
        let mut rest = piece.bytes;
        while !rest.is_empty() {
            let first = rest.get(..piece.stride).unwrap_or(rest);
            let run = run_bytes(rest, piece.stride, session_of(first));
            let (bytes, after) = rest.split_at_checked(run).unwrap_or((rest, &[]));
            let run = Piece { bytes, ..*piece };
            match self.table.live(first) {
                Some(inbound) => {
                    out.wakers.extend(inbound.push(Received::of(&run, &self.spares)));
                }
                None => self.handle_strangers(uptime_ms(), run, out),
            }
            rest = after;
        }
    }

    /// Datagrams that belong together. There is no session for them.
    fn handle_strangers(&mut self, uptime_ms: u64, run: Piece<'_>, out: &mut Outcome) {
        let run = &run.told_apart();
        let first = run.bytes.get(..run.stride).unwrap_or(run.bytes);
        let waiting = self.waiting.len();
        let begin = match self.table.handle_datagram(uptime_ms, run.from, first) {
            Decision::Begin(begins) => Some(begins),
            Decision::Answer(answer) => {
                out.answers.push((run.from, run.to, answer));
                None
            }
            Decision::Deliver(_) | Decision::Drop => None,
        };
        if let Some(begins) = begin.filter(|_| self.is_open && waiting < BACKLOG) {
            self.begin(uptime_ms, begins, run, out);
            return;
        }
        // Whoever sends a row of datagrams that begins no session has none; from others that share its
        // socket, what comes in that row is lost, and sent again.
        for datagram in run.bytes.chunks(run.stride).skip(1) {
            match self.table.handle_datagram(uptime_ms, run.from, datagram) {
                Decision::Answer(answer) => out.answers.push((run.from, run.to, answer)),
                Decision::Deliver(_) | Decision::Begin(..) | Decision::Drop => {}
            }
        }
    }

    fn begin(&mut self, uptime_ms: u64, begins: Beginning, run: &Piece<'_>, out: &mut Outcome) {
        let Beginning { session, theirs, .. } = begins;
        let agreed = Agreed {
            side: Side::Server,
            id: session,
            epoch: self.table.epoch(),
            remote: run.from,
            ours: self.table.params(),
            theirs,
            cookie: None,
        };
        let Some(socket) = self.socket.clone() else { return };
        let inbound = Arc::new(Inbound::default());
        inbound.push(Received::of(run, &self.spares));
        self.table.insert(uptime_ms, begins, Arc::clone(&inbound));
        self.live += 1;
        self.waiting.push_back(Begun { socket, agreed, inbound });
        out.wakers.extend(self.acceptor.take());
    }
}

/// What the datagrams of one receive call led to.
#[derive(Debug, Default)]
struct Outcome {
    wakers: Vec<Waker>,
    answers: Vec<Answer>,
}

/// Where to, from which address, what.
type Answer = (SocketAddr, Option<IpAddr>, Vec<u8>);

/// Which session a datagram says that it is of.
fn session_of(datagram: &[u8]) -> Option<SessionId> {
    match packet::peek(datagram) {
        Some(Peek::Data { session, .. }) => Some(session),
        _ => None,
    }
}

/// How many bytes at the beginning are of the same session.
fn run_bytes(bytes: &[u8], stride: usize, session: Option<SessionId>) -> usize {
    let same = bytes.chunks(stride).take_while(|datagram| session_of(datagram) == session);
    same.map(<[u8]>::len).sum::<usize>().max(1)
}

/// The task.
#[derive(Debug)]
struct Reader {
    endpoint: Arc<Endpoint>,
    /// Whether the runtime wakes no other thread when this steps behind other tasks: it has none.
    steps_freely: bool,
    /// Empty between receive calls.
    out: Outcome,
}

impl Reader {
    /// Receives once. Returns how many tasks that woke. `None` when nobody needs this any more; if
    /// somebody does, it is woken when that ends.
    fn receive(&mut self, cx: &mut Context<'_>) -> Option<Poll<io::Result<usize>>> {
        let Self { endpoint, out, .. } = self;
        let reading = endpoint.reading.lock();
        let socket = {
            let mut state = endpoint.lock();
            match &mut state.reader {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            state.socket.clone()?
        };
        let mut locked = None;
        let received = socket.poll_recv(cx, &mut |piece| {
            let state = locked.get_or_insert_with(|| endpoint.lock());
            state.handle_piece(|| endpoint.uptime_ms(), &piece, out);
        });
        drop(locked);
        for (to, source, answer) in out.answers.drain(..) {
            let bytes = Bytes::from(answer);
            let transmit = Transmit { to, segment_bytes: bytes.len(), bytes };
            // An answer that can't leave is lost like any datagram: it is asked for again.
            let _ = socket.try_send(&transmit, source);
        }
        drop((socket, reading));
        let woken = out.wakers.len();
        out.wakers.drain(..).for_each(Waker::wake);
        Some(received.map_ok(|()| woken))
    }

    /// The socket is broken: nothing comes any more.
    fn break_off(&self, kind: io::ErrorKind) {
        let mut state = self.endpoint.lock();
        state.broken = Some(kind);
        let socket = state.socket.take();
        let acceptor = state.acceptor.take();
        let wakers: Vec<Waker> = state.table.handles().filter_map(|it| it.break_off()).collect();
        drop(state);
        drop(socket);
        acceptor.into_iter().chain(wakers).for_each(Waker::wake);
    }
}

impl Future for Reader {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        for _ in 0..READS_PER_POLL {
            let Some(received) = this.receive(cx) else { return Poll::Ready(()) };
            match ready!(received) {
                // That one may answer before this looks whether there is more, which takes a system call.
                Ok(1) if this.steps_freely => break,
                Ok(_) => {}
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    this.break_off(error.kind());
                    return Poll::Ready(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Reader {
    /// The runtime is going away, or the task is done.
    fn drop(&mut self) {
        self.break_off(io::ErrorKind::NotConnected);
    }
}

/// Whether a receive error says something about a datagram, not about the socket.
///
/// What the system says is what others have told it, with ICMP, of datagrams that were sent from
/// here: that nothing listens there, that the way is closed, that they were too large. Anybody can
/// tell it so. It has many numbers for that, and none for a socket that broke.
pub(super) fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, WouldBlock};
    error.raw_os_error().is_some() || matches!(error.kind(), ConnectionRefused | WouldBlock)
}
