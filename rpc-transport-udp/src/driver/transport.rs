//! One session as core drives it: frames between batches, inboxes and datagrams, and its timer.

use std::{
    collections::VecDeque,
    fmt, io, mem,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Buf;

use super::{
    clock::{self, SleepWatch},
    endpoint::{Begun, Endpoint, is_passing},
    ends::{Frames, Nobody, Nothing},
    failure::{Failure, into_io},
    inbound::{Broken, Inbound, Received},
    intake::{Came, Input},
    positions::Positions,
    socket::{Datagrams, Piece, Writable, is_too_large},
    timer::Timer,
};
use crate::proto::{
    packet::{self, Epoch, FRAME_BYTES, Kind, Peek, Reset},
    session::{Budget, Session, Source, Transmit},
    setup::{Established, Judgement},
};
use rpc_core::transport::{
    Address, Batch, Inbox, Peer, Received as Progress, Transport, TransportError,
};

/// One UDP session, for core to drive.
///
/// Made by [`UdpListener`](crate::UdpListener) and [`UdpConnector`](crate::UdpConnector). Dropping it
/// tells the peer so with one datagram.
pub struct UdpTransport {
    session: Session,
    socket: Arc<dyn Datagrams>,
    feed: Feed,
    /// What has come and wasn't looked at yet.
    rest: VecDeque<Received>,
    /// The address at which the peer reaches this side.
    local_ip: Option<IpAddr>,
    /// What the socket didn't take yet, and the wait until it does.
    blocked: Option<Box<(Transmit, Writable)>>,
    timer: Timer,
    /// Whether nothing has come since whoever receives was told to wait.
    is_settled: bool,
    /// Whether whoever sends waits for more than the socket.
    is_full: bool,
    /// Whether whoever closes waits for the peer to have everything.
    is_closing: bool,
    /// Why it is over, once that is so.
    lost: Option<Box<Failure>>,
}

/// Where datagrams come from.
enum Feed {
    /// The session's own socket. Boxed: servers have it not.
    Socket(Box<Client>),
    /// The task that reads the socket of a server.
    Endpoint { endpoint: Arc<Endpoint>, inbound: Arc<Inbound> },
}

/// What the meaning of a reset depends on, on the client's side.
struct Client {
    epoch: Epoch,
    retention: Duration,
    sleep: SleepWatch,
    /// What was sent by when.
    positions: Positions,
}

impl UdpTransport {
    /// A client's session, on a socket of its own.
    pub(super) fn connected(socket: Arc<dyn Datagrams>, established: Established) -> Self {
        let Established { agreed, retention } = established;
        let sleep = socket.sleep_watch();
        let positions = Positions::default();
        let client = Client { epoch: agreed.epoch, retention, sleep, positions };
        let budget = Budget::new(CLIENT_BUDGET_BYTES);
        let session = Session::new(agreed, budget, socket.seed());
        let mut this = Self::new(session, socket, Feed::Socket(Box::new(client)));
        // The server has a session when its first packet arrives, whoever speaks first.
        this.session.greet();
        let now = clock::now();
        while let Some(transmit) = this.session.poll_transmit(now, &mut Nothing, 1) {
            this.send(now, transmit);
        }
        this
    }

    /// A session that a server has accepted.
    pub(super) fn accepted(endpoint: Arc<Endpoint>, begun: Begun) -> Self {
        let Begun { socket, agreed, inbound } = begun;
        let session = Session::new(agreed, endpoint.budget.share(), socket.seed());
        Self::new(session, socket, Feed::Endpoint { endpoint, inbound })
    }

    fn new(session: Session, socket: Arc<dyn Datagrams>, feed: Feed) -> Self {
        Self {
            session,
            socket,
            feed,
            rest: VecDeque::new(),
            local_ip: None,
            blocked: None,
            timer: Timer::default(),
            is_settled: false,
            is_full: false,
            is_closing: false,
            lost: None,
        }
    }

    /// Takes what has come, or a part of it. `Pending` when that is nothing, and then it will wake.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        inbox: &mut impl Inbox,
    ) -> Poll<Result<Came, Failure>> {
        let Self { session, socket, feed, local_ip, rest, .. } = self;
        let mut input = Input { session, now, inbox, came: Came::Nothing, failed: None };
        match feed {
            Feed::Socket(client) => {
                let Client { epoch, retention, sleep, positions } = &mut **client;
                let mut when_worthless = |session: &Session, bytes: &[u8]| {
                    let reset = reset_of(session, bytes)?;
                    let judged = Judgement::of(&reset, *epoch, *retention);
                    let age = judged.never_ran_since.saturating_sub(sleep.slept());
                    let never_ran_from = positions.sent_since(now.checked_sub(age));
                    Some(Failure::Reset { reset, never_ran_from })
                };
                if let Some(received) = rest.pop_front() {
                    let piece = received.piece();
                    let left = input.take(&piece, &mut when_worthless);
                    if !left.is_empty() {
                        rest.push_front(Received::copy_of(&Piece { bytes: left, ..piece }));
                    }
                } else {
                    let received = ready!(socket.poll_recv(cx, &mut |piece| {
                        let left = input.take(&piece, &mut when_worthless);
                        if !left.is_empty() {
                            rest.push_back(Received::copy_of(&Piece { bytes: left, ..piece }));
                        }
                    }));
                    match received {
                        Ok(()) => {}
                        Err(error) if is_passing(&error) => {}
                        Err(error) => input.failed = Some(Failure::socket(&error)),
                    }
                }
            }
            Feed::Endpoint { endpoint, inbound } => {
                if rest.is_empty() {
                    match inbound.poll_take(cx, rest) {
                        None => return Poll::Pending,
                        Some(Ok(())) => {}
                        Some(Err(Broken)) => return Poll::Ready(Err(Failure::closed())),
                    }
                }
                while input.came != Came::Part {
                    let Some(received) = rest.pop_front() else { break };
                    let piece = received.piece();
                    let left = input.take(&piece, &mut |_, _| None);
                    if !left.is_empty() {
                        rest.push_front(Received::copy_of(&Piece { bytes: left, ..piece }));
                    }
                    if received.from == input.session.remote() {
                        *local_ip = received.to;
                    }
                    received.recycle(&endpoint.spares);
                }
            }
        }
        let Input { came, failed, .. } = input;
        self.is_settled &= came == Came::Nothing;
        Poll::Ready(failed.map_or(Ok(came), Err))
    }

    /// Sends what the session has to send, with new frames from `source`. `Pending` when the socket
    /// takes no more.
    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        source: &mut impl Source,
    ) -> Poll<()> {
        loop {
            if let Some((transmit, writable)) = self.blocked.as_deref_mut() {
                if ready!(writable.as_mut().poll(cx)).is_err() {
                    self.blocked = None;
                    continue;
                }
                match self.socket.try_send(transmit, self.local_ip) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        *writable = Arc::clone(&self.socket).writable();
                        continue;
                    }
                    // Sent, or lost.
                    Ok(()) | Err(_) => self.blocked = None,
                }
            }
            let segments = self.socket.segments_max();
            let Some(transmit) = self.session.poll_transmit(now, source, segments) else {
                return Poll::Ready(());
            };
            self.send(now, transmit);
        }
    }

    /// Hands one transmission to the socket. What it refuses for good is lost, as it might be on its
    /// way, and is sent again.
    fn send(&mut self, now: Instant, transmit: Transmit) {
        match self.socket.try_send(&transmit, self.local_ip) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(transmit),
            // Perhaps the system has told with it what became of an earlier one, as for a receive
            // error. Then it didn't look at this one yet, and a second try tells the truth. Or it
            // can't send several at once, and some only say so when they are to.
            Err(_) => self.send_one_by_one(now, transmit),
        }
    }

    /// The same, datagram by datagram, as far as the socket doesn't refuse one.
    fn send_one_by_one(&mut self, now: Instant, mut rest: Transmit) {
        while !rest.bytes.is_empty() {
            let mut one = Transmit { bytes: rest.bytes.clone(), ..rest };
            one.bytes.truncate(rest.segment_bytes.max(1));
            match self.socket.try_send(&one, self.local_ip) {
                Ok(()) => rest.bytes.advance(one.bytes.len()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.wait(rest),
                Err(error) if is_too_large(&error) => {
                    return self.session.handle_too_large(now, rest.segment_bytes);
                }
                Err(_) => return,
            }
        }
    }

    /// The socket takes no more at present.
    fn wait(&mut self, transmit: Transmit) {
        let writable = Arc::clone(&self.socket).writable();
        self.blocked = Some(Box::new((transmit, writable)));
    }

    /// Does what time asks for, sends what doesn't wait for new frames, and sets the timer.
    fn keep_time(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Failure> {
        let mut now = now;
        loop {
            let mut next = self.session.poll_timeout();
            if next.is_some_and(|at| at <= now) {
                let timed = self.session.handle_timeout(now);
                let _ = self.poll_transmit(cx, now, &mut Nothing);
                timed.map_err(Failure::Lost)?;
                next = self.session.poll_timeout();
            }
            let Some(next) = next else {
                self.shrink();
                return Ok(());
            };
            // What is still due waits for the socket, which wakes this when it takes more.
            let next = if next <= now { now + LOOK_AGAIN } else { next };
            if self.timer.poll(cx, now, next).is_pending() {
                return Ok(());
            }
            now = clock::now();
        }
    }

    /// Gives back the memory that an idle session doesn't need.
    fn shrink(&mut self) {
        // Nobody polls it from here on, so nobody may rely on it.
        self.timer = Timer::default();
        self.session.shrink();
        if self.rest.is_empty() {
            self.rest = VecDeque::new();
        }
        if let Feed::Endpoint { inbound, .. } = &self.feed {
            inbound.shrink();
        }
    }

    /// Like [`keep_time`](Self::keep_time), for who polls [`poll_recv`](Self::poll_recv) too: a timer
    /// that is early enough is left to it.
    fn keep_time_beside_recv(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Failure> {
        match self.session.poll_timeout() {
            Some(next) if !self.timer.is_set_for(now, next) => self.keep_time(cx, now),
            _ => Ok(()),
        }
    }

    /// Whether nothing is to be done before the timer fires.
    fn can_wait(&self, now: Instant) -> bool {
        if self.blocked.is_some() || !self.session.is_quiet() {
            return false;
        }
        let next = self.session.poll_timeout().filter(|&next| next > now);
        next.is_some_and(|next| self.timer.is_set_for(now, next))
    }

    /// The session is over. What is still to be told to the peer is told.
    fn fail(&mut self, cx: &mut Context<'_>, now: Instant, failure: Failure) -> TransportError {
        if matches!(failure, Failure::Reset { .. }) {
            self.session.forget();
        }
        let _ = self.poll_transmit(cx, now, &mut Nothing);
        let error = failure.error();
        self.lost = Some(Box::new(failure));
        // Whoever sends hears of it too, whichever of the two is polled first.
        cx.waker().wake_by_ref();
        error
    }

    /// Everything has come from the peer, which is told so.
    fn end(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Progress, TransportError> {
        if self.receive_after_end(cx, now)? {
            self.wake_others(cx);
        }
        let _ = self.poll_transmit(cx, now, &mut Nothing);
        self.keep_time(cx, now).map_err(|failure| self.fail(cx, now, failure))?;
        Ok(Progress::End)
    }

    /// Something has come. There may be room now, or the peer has everything; and neither sending nor closing
    /// need come after receiving.
    fn wake_others(&mut self, cx: &Context<'_>) {
        let is_closed = self.is_closing && self.session.is_sent();
        if mem::take(&mut self.is_full) || is_closed {
            cx.waker().wake_by_ref();
        }
    }

    /// Once everything has come from the peer, nobody receives any more, but acknowledgements and
    /// questions still have to be. Returns whether there was anything.
    fn receive_after_end(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        let mut has_come = false;
        if !self.session.is_received() {
            return Ok(has_come);
        }
        for _ in 0..READS_PER_POLL {
            match self.poll_receive(cx, now, &mut Nobody) {
                Poll::Ready(Ok(came)) => has_come |= came != Came::Nothing,
                Poll::Ready(Err(failure)) => return Err(into_io(self.fail(cx, now, failure))),
                Poll::Pending => return Ok(has_come),
            }
        }
        cx.waker().wake_by_ref();
        Ok(has_come)
    }

    /// Receives until something is worth it. `Pending`, and a wake-up, when there is nothing, or too
    /// much that is worth nothing: whoever sends that must not keep the thread.
    fn poll_worth(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        inbox: &mut impl Inbox,
    ) -> Poll<Result<(), Failure>> {
        for _ in 0..READS_PER_POLL {
            match ready!(self.poll_receive(cx, now, inbox))? {
                Came::Nothing => {}
                Came::Some | Came::Part => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Reads in a row before other tasks get their turn.
const READS_PER_POLL: usize = 16;

/// When to look again whether a session is to be given up whose socket takes nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a client's session may hold of frames that wait for others. Its window is smaller.
const CLIENT_BUDGET_BYTES: usize = 64 * 1024 * 1024;

/// The reset in a datagram, if it is a proper answer to something that the session sent.
fn reset_of(session: &Session, datagram: &[u8]) -> Option<Reset> {
    let Peek::Setup { kind: Kind::Reset, .. } = packet::peek(datagram)? else { return None };
    Reset::decode(datagram).filter(|reset| session.accepts_reset(reset))
}

impl Transport for UdpTransport {
    fn peer(&self) -> Peer {
        let mut remote = self.session.remote();
        remote.set_ip(remote.ip().to_canonical());
        Peer::new(Address::Socket(remote))
    }

    /// What fits the smallest datagram that every path has to take.
    fn frame_bytes(&self) -> usize {
        FRAME_BYTES
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        if let Some(failure) = &self.lost {
            return Poll::Ready(Err(into_io(failure.error())));
        }
        let now = clock::now();
        self.receive_after_end(cx, now)?;
        if let Feed::Socket(client) = &mut self.feed
            && !batch.is_empty()
        {
            client.positions.note(now, batch.position());
        }
        // r[impl session.not-sent]
        let sent = self.poll_transmit(cx, now, &mut Frames(batch));
        self.is_full = !batch.is_empty() || self.session.is_cutting();
        let done = sent.is_ready() && !self.is_full;
        // Who waits for this alone has no other timer.
        let kept = if done { self.keep_time_beside_recv(cx, now) } else { self.keep_time(cx, now) };
        if let Err(failure) = kept {
            return Poll::Ready(Err(into_io(self.fail(cx, now, failure))));
        }
        if done { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Progress, TransportError>> {
        if let Some(failure) = &self.lost {
            return Poll::Ready(Err(failure.error()));
        }
        let now = clock::now();
        if self.session.is_received() {
            return Poll::Ready(self.end(cx, now));
        }
        match self.poll_worth(cx, now, inbox) {
            Poll::Ready(Ok(())) => {
                self.wake_others(cx);
                // What it leads to goes first: what there is to do otherwise, if nothing more has come,
                // isn't what the peer waits for.
                return Poll::Ready(Ok(Progress::Part));
            }
            Poll::Ready(Err(failure)) => return Poll::Ready(Err(self.fail(cx, now, failure))),
            Poll::Pending => {}
        }
        // Nothing has come, and it isn't the timer: whoever sends looks after the rest. What came before
        // is perhaps answered at once, and what it asks for goes with that.
        if (self.is_settled || self.can_wait(now)) && self.timer.will_wake(cx, now) {
            return Poll::Pending;
        }
        // What is to be acknowledged at once is, unless frames go with it that are sent right away.
        let _ = self.poll_transmit(cx, now, &mut Nothing);
        match self.keep_time(cx, now) {
            Ok(()) => {
                self.is_settled = true;
                Poll::Pending
            }
            Err(failure) => Poll::Ready(Err(self.fail(cx, now, failure))),
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(failure) = &self.lost {
            return Poll::Ready(Err(into_io(failure.error())));
        }
        let now = clock::now();
        self.session.end();
        self.receive_after_end(cx, now)?;
        let _ = self.poll_transmit(cx, now, &mut Nothing);
        if let Err(failure) = self.keep_time(cx, now) {
            return Poll::Ready(Err(into_io(self.fail(cx, now, failure))));
        }
        self.is_closing = !self.session.is_sent();
        if self.is_closing { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl Drop for UdpTransport {
    /// Tells the peer, with one datagram that may be lost.
    fn drop(&mut self) {
        let now = clock::now();
        self.session.abort();
        while let Some(transmit) = self.session.poll_transmit(now, &mut Nothing, 1) {
            let _ = self.socket.try_send(&transmit, self.local_ip);
        }
        if let Feed::Endpoint { endpoint, .. } = &self.feed {
            endpoint.end(self.session.id());
        }
    }
}

impl fmt::Debug for UdpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpTransport")
            .field("peer", &self.peer())
            .field("session", &self.session.id())
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}
