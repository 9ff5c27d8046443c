//! The state machine of one connection: calls both ways, cancels, deadlines, drain. It has no
//! clock, no randomness, no sockets, no tasks and no tokio; time comes in as an argument.
//!
//! Methods come in four classes, and after any of the first three the last is to be drained:
//!
//! 1. getters;
//! 2. *mutators* that callers and handlers use: [`open_call`](Mux::open_call),
//!    [`poll_call`](Mux::poll_call), [`drop_call`](Mux::drop_call), [`finish`](Mux::finish), …;
//! 3. *inputs*, named `handle_*`: a frame came, a deadline passed, the connection ended;
//! 4. *outputs*: [`draw`](Mux::draw) for frames, [`Output`] for everything else.
//!
//! `calls` is the table of calls this side opened, `requests` that of the peer's calls, `waiters`
//! the queue in front of the first.

mod calls;
mod input;
mod requests;
#[cfg(test)]
mod tests;
mod waiters;

use std::{
    mem,
    task::Waker,
    time::{Duration, Instant},
};

use bytes::Bytes;

pub(crate) use calls::Ending;
pub(crate) use requests::Accepted;
pub(crate) use waiters::Ticket;

use crate::{
    codec::{Bincode, Codec},
    error::{CloseReason, ErrorKind, Ran},
    frame::{
        self, CallId, Extensions, Features, Hello, Metadata, PREFIX_BYTES, RequestHeader, Role,
        WIRE_VERSION,
    },
    limits::{Limits, PeerLimits},
    mux::{
        calls::Calls,
        requests::Requests,
        waiters::{Turn, Waiters},
    },
    outbox::{BULK_BYTES, Batch, Outbox},
    service::MethodId,
};

/// Deadlines further away than this are brought down to it: a peer's number must not overflow a
/// clock. Spec: `r[request.timeout]`.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Frames without any use that a peer may send before the connection is closed.
const STRAYS_MAX: u32 = 1000;

/// One connection's state.
#[derive(Debug)]
pub(crate) struct Mux {
    role: Role,
    limits: Limits,
    hello: Hello,
    hello_sent: bool,
    peer_limits: PeerLimits,
    peer_hello: Option<Hello>,
    /// Whether calls that may not run twice wait for the peer's hello.
    cautious: bool,
    outbox: Outbox,
    calls: Calls,
    waiters: Waiters,
    requests: Requests,
    phase: Phase,
    /// No deadline is earlier than this.
    deadline_hint: Option<Instant>,
    strays: u32,
    output: Output,
}

/// How far the connection is from its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Calls go both ways.
    Open,
    /// One side has said go-away: what is under way is finished, nothing new begins.
    Draining {
        /// How many requests the peer says it has sent, once it has answered.
        expected: Option<u64>,
    },
    /// The connection is over.
    Closed(Closed),
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
}

/// What is to be done outside of the state machine, and outside of its lock.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Tasks to wake.
    pub(crate) wakers: Vec<Waker>,
    /// Requests to run.
    pub(crate) accepted: Vec<Accepted>,
    /// Handlers to stop; each then finishes with this error.
    pub(crate) stopped: Vec<(CallId, ErrorKind)>,
}

/// What a caller wants of the peer.
#[derive(Debug)]
pub(crate) struct NewCall<'a> {
    pub(crate) method: MethodId,
    pub(crate) idempotent: bool,
    /// What is left of the time that the caller gives the call: what the peer is told.
    pub(crate) timeout: Option<Duration>,
    /// The same as an instant of this side's clock.
    pub(crate) deadline: Option<Instant>,
    pub(crate) metadata: &'a Metadata,
}

/// How much of a request had left when it was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Withdrawn {
    /// Nothing: the peer will never hear of it.
    Unheard,
    /// Not all of it, so it can't have run; the peer answers with an error.
    Aborted,
    /// All of it, perhaps: the peer is told to stop, and answers.
    Sent,
}

/// What became of a wish to call.
#[derive(Debug)]
pub(crate) enum Opened {
    /// The request is queued.
    Call(CallId),
    /// There is no place at present.
    Wait(Ticket),
    /// Not on this connection: it is closing or closed.
    Gone,
    /// Not at all.
    Refused { kind: ErrorKind, detail: String },
}

impl Mux {
    /// `instance` is a random number for this process; `cautious` is set on connections that
    /// replace one that broke.
    pub(crate) fn new(role: Role, limits: Limits, instance: u128, cautious: bool) -> Self {
        let hello = Hello {
            version: WIRE_VERSION,
            codec: Bincode::ID,
            // r[impl hello.features]
            features: Features::default(),
            instance,
            frame_bytes: limits.frame_bytes,
            message_bytes: limits.message_bytes,
            calls: limits.calls,
            metadata_bytes: limits.metadata_bytes,
            window_bytes: 0,
        };
        let mut mux = Self {
            role,
            hello,
            hello_sent: false,
            peer_limits: PeerLimits::BASE,
            peer_hello: None,
            cautious,
            outbox: Outbox::default(),
            calls: Calls::new(role),
            waiters: Waiters::default(),
            requests: Requests::new(role, limits.calls),
            limits,
            phase: Phase::Open,
            deadline_hint: None,
            strays: 0,
            output: Output::default(),
        };
        // r[impl hello.order]
        if role == Role::Connector {
            mux.send_hello();
        }
        mux
    }

    // ---- getters

    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether new calls can still be opened on this connection.
    pub(crate) fn accepts_calls(&self) -> bool {
        // r[impl drain.refrain]
        self.phase == Phase::Open && !self.calls.exhausted()
    }

    pub(crate) fn hello_arrived(&self) -> bool {
        self.peer_hello.is_some()
    }

    /// Whether frames wait to be drawn.
    pub(crate) fn has_frames(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Whether any call is open or waiting, in either direction.
    pub(crate) fn is_busy(&self) -> bool {
        self.calls.open() > 0 || self.requests.open() > 0 || self.waiters.waiting() > 0
    }

    /// Whether a drain has nothing left to wait for: every request the peer has sent is answered.
    pub(crate) fn is_drained(&self) -> bool {
        match self.phase {
            Phase::Draining { expected: Some(expected) } => {
                // r[impl drain.finish]
                self.requests.received >= expected && !self.is_busy()
            }
            _ => false,
        }
    }

    /// The earliest time at which a deadline may pass.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.deadline_hint
    }

    // ---- mutators: calls of this side

    /// Opens a call: queues its request, or gives a place in the queue. `buffer` is the encoded
    /// arguments, and is kept for the reply when the call is opened.
    pub(crate) fn open_call(
        &mut self,
        call: &NewCall<'_>,
        ticket: Option<Ticket>,
        buffer: &mut Vec<u8>,
        waker: &Waker,
    ) -> Opened {
        if !self.accepts_calls() {
            return Opened::Gone;
        }
        match self.place(call, ticket, buffer.len(), waker) {
            Ok(()) => Opened::Call(self.queue_request(call, mem::take(buffer), waker)),
            Err(instead) => instead,
        }
    }

    /// Takes a place on the connection, or says what to do instead.
    #[inline]
    fn place(
        &mut self,
        call: &NewCall<'_>,
        ticket: Option<Ticket>,
        bytes: usize,
        waker: &Waker,
    ) -> Result<(), Opened> {
        self.check_size(call, bytes)?;
        if let Some(ticket) = ticket {
            return match self.waiters.poll(ticket, waker) {
                Turn::Granted => Ok(()),
                Turn::Waiting => Err(Opened::Wait(ticket)),
                Turn::Expired => Err(Opened::Refused {
                    kind: ErrorKind::DeadlineExceeded,
                    detail: "it waited for a free place on the connection".into(),
                }),
            };
        }
        let needs_hello = self.needs_hello(call, bytes);
        if self.waiters.waiting() == 0 && self.has_room() && !needs_hello {
            return Ok(());
        }
        if self.waiters.waiting() >= self.limits.waiting_calls {
            let limit = self.limits.waiting_calls;
            return Err(Opened::Refused {
                kind: ErrorKind::Overloaded,
                detail: format!("{limit} calls wait for this connection already (Limits::waiting_calls)"),
            });
        }
        self.note_deadline(call.deadline);
        Err(Opened::Wait(self.waiters.push(waker.clone(), needs_hello, call.deadline)))
    }

    fn needs_hello(&self, call: &NewCall<'_>, bytes: usize) -> bool {
        self.peer_hello.is_none()
            && (self.cautious && !call.idempotent || bytes > PeerLimits::BASE.message_bytes)
    }

    fn has_room(&self) -> bool {
        self.calls.open() + self.waiters.granted() < self.peer_limits.calls
            && self.outbox.len() < self.limits.outbox_bytes
    }

    /// Refuses what the peer would refuse, before it is sent.
    #[inline]
    fn check_size(&self, call: &NewCall<'_>, bytes: usize) -> Result<(), Opened> {
        let too_large = |what, bytes, limit, whose| {
            let detail = format!("{what} of {bytes} bytes, {whose} accepts {limit}");
            Err(Opened::Refused { kind: ErrorKind::TooLarge, detail })
        };
        // r[impl message.size]
        let ours = self.limits.message_bytes as usize;
        if bytes > ours {
            return too_large("arguments", bytes, ours, "this side");
        }
        let metadata = call.metadata.encoded_bytes();
        if metadata > self.peer_limits.metadata_bytes {
            return too_large("metadata", metadata, self.peer_limits.metadata_bytes, "the peer");
        }
        if self.peer_hello.is_some() && bytes > self.peer_limits.message_bytes {
            return too_large("arguments", bytes, self.peer_limits.message_bytes, "the peer");
        }
        Ok(())
    }

    #[inline]
    fn queue_request(&mut self, call: &NewCall<'_>, body: Vec<u8>, waker: &Waker) -> CallId {
        self.note_deadline(call.deadline);
        let mut extensions = Vec::new();
        Extensions::encode_metadata(&mut extensions, call.metadata);
        let header = RequestHeader {
            method: call.method,
            idempotent: call.idempotent,
            timeout_ms: timeout_ms(call.timeout),
            extensions: &extensions,
        };
        let size = RequestHeader::BYTES + extensions.len() + body.len();
        let id = self.calls.insert(waker, call.deadline);
        if body.len() >= BULK_BYTES || size > self.peer_limits.frame_bytes {
            let mut head = Vec::with_capacity(size - body.len());
            frame::encode_request_header(&mut head, &header, false);
            self.outbox.push_bulk(id, head, Bytes::from(body), false);
            return id;
        }
        let position = self.outbox.append(|out| {
            out.reserve(PREFIX_BYTES + size);
            frame::encode_prefix(out, id.lane(), size, true);
            frame::encode_request_header(out, &header, false);
            out.extend_from_slice(&body);
        });
        self.calls.queued(id, position, PREFIX_BYTES + size, body);
        id
    }

    /// Takes a call's ending, which frees its slot.
    #[inline]
    pub(crate) fn poll_call(&mut self, id: CallId, waker: &Waker) -> Option<Ending> {
        let ending = self.calls.poll(id, waker)?;
        self.admit();
        Some(ending)
    }

    /// The caller has gone before its call ended: the peer is told to stop.
    pub(crate) fn drop_call(&mut self, id: CallId) {
        let withdrawn = self.withdraw(id);
        self.calls.abandon(id);
        match withdrawn {
            Some(Withdrawn::Unheard) => self.calls.forget(id),
            Some(Withdrawn::Sent) => self.send_cancel(id),
            Some(Withdrawn::Aborted) | None => {}
        }
        self.admit();
    }

    /// A caller has gone while it waited for a place.
    pub(crate) fn leave_queue(&mut self, ticket: Ticket) {
        if self.waiters.leave(ticket) {
            self.admit();
        }
    }

    /// Takes a pending request back, as far as it hasn't left this process. `None` when the call
    /// isn't pending.
    fn withdraw(&mut self, id: CallId) -> Option<Withdrawn> {
        let (leaves_at, bytes) = self.calls.queued_at(id)?;
        Some(match self.outbox.drop_bulk_of(id) {
            Some(true) => {
                self.calls.unsend();
                Withdrawn::Unheard
            }
            Some(false) => {
                self.outbox.append(|out| frame::encode_abort(out, id.lane()));
                Withdrawn::Aborted
            }
            None if self.outbox.void(leaves_at, bytes) => {
                self.calls.unsend();
                Withdrawn::Unheard
            }
            None => Withdrawn::Sent,
        })
    }

    // ---- mutators: calls of the peer

    /// Whether the handler of this call is still wanted, and its terminal frame not queued yet.
    /// Afterwards it counts as queued: the caller appends it at once.
    #[inline]
    pub(crate) fn finish(&mut self, id: CallId) -> bool {
        self.requests.finish(id)
    }

    /// Queues replies that were staged outside of the lock. Each ends a call for which
    /// [`finish`](Mux::finish) returned `true`.
    #[inline]
    pub(crate) fn append_staged(&mut self, staged: &[u8], terminals: u32) {
        self.outbox.append_staged(staged, terminals);
    }

    /// Queues a reply whose body is sent without being copied.
    pub(crate) fn queue_bulk_reply(&mut self, id: CallId, app_error: bool, body: Bytes) {
        let mut header = Vec::with_capacity(frame::DATA_HEADER_BYTES);
        frame::encode_reply_header(&mut header, app_error, false);
        self.outbox.push_bulk(id, header, body, true);
    }

    /// Queues a small reply as the terminal frame of one of the peer's calls.
    pub(crate) fn queue_reply(&mut self, id: CallId, app_error: bool, body: &[u8]) {
        self.outbox.append(|out| {
            frame::framed(out, id.lane(), true, |out| {
                frame::encode_reply_header(out, app_error, false);
                out.extend_from_slice(body);
            });
        });
        self.outbox.count_terminal();
    }

    /// The largest reply that both sides accept, in bytes.
    pub(crate) fn reply_bytes_max(&self) -> usize {
        self.peer_limits.message_bytes.min(self.limits.message_bytes as usize)
    }

    /// Whether the handler of one of the peer's calls is still wanted.
    pub(crate) fn is_running(&self, id: CallId) -> bool {
        self.requests.is_running(id)
    }

    /// Notes why the handler of a call is being stopped, for its terminal frame.
    pub(crate) fn note_stop(&mut self, id: CallId, why: ErrorKind) {
        self.requests.note_stop(id, why);
    }

    /// The handler of a call is gone before it ended.
    pub(crate) fn end_stopped(&mut self, id: CallId) {
        let why = self.requests.stop_reason(id).unwrap_or(ErrorKind::ShuttingDown);
        if self.finish(id) && !matches!(self.phase, Phase::Closed(_)) {
            self.queue_error(id, why, Ran::Maybe, "");
        }
    }

    /// Queues an error as the terminal frame of one of the peer's calls.
    pub(crate) fn queue_error(&mut self, id: CallId, kind: ErrorKind, ran: Ran, text: &str) {
        self.outbox.append(|out| frame::encode_error(out, id, kind, ran, text));
        self.outbox.count_terminal();
    }

    // ---- mutators: the connection

    /// Says that nothing new will be begun on this connection. What is under way goes on.
    pub(crate) fn go_away(&mut self) {
        if self.phase == Phase::Open {
            self.send_go_away(false);
            self.phase = Phase::Draining { expected: None };
            self.waiters.wake_all(&mut self.output.wakers);
        }
    }

    /// Closes the connection because of something the peer did, or because nobody needs it.
    pub(crate) fn close(&mut self, reason: CloseReason, text: &str) {
        if matches!(self.phase, Phase::Closed(_)) {
            return;
        }
        let text = if text.is_empty() { reason.text() } else { text };
        self.send_hello();
        // r[impl close.hello]
        self.outbox.append(|out| frame::encode_close(out, reason, text));
        let text = format!("this side closed the connection: {text}");
        self.phase = Phase::Closed(Closed { kind: reason.kind(), text });
    }

    // ---- outputs

    /// Moves the frames to be sent next into an empty batch. `frame_bytes` is what the transport
    /// wants.
    pub(crate) fn draw(&mut self, batch: &mut Batch, frame_bytes: usize) {
        let frame_bytes = frame_bytes.min(self.peer_limits.frame_bytes);
        let calls = &mut self.calls;
        self.outbox.draw(batch, frame_bytes, |id, position| calls.sent_to(id, position));
        self.admit();
    }

    /// What is to be done outside of the lock.
    pub(crate) fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Gives back the memory that an idle connection doesn't need.
    pub(crate) fn shrink(&mut self) {
        self.outbox.shrink();
    }

    // ---- the connection's own frames

    fn send_hello(&mut self) {
        if !mem::replace(&mut self.hello_sent, true) {
            let hello = self.hello;
            self.outbox.append(|out| frame::encode_hello(out, &hello));
        }
    }

    fn send_cancel(&mut self, id: CallId) {
        if !matches!(self.phase, Phase::Closed(_)) {
            self.outbox.append(|out| frame::encode_cancel(out, id));
        }
    }

    /// Tells the peer how many requests this side has sent. Spec: `r[drain.count]`.
    fn send_go_away(&mut self, answer: bool) {
        // r[impl drain.count]
        let sent = self.calls.sent;
        self.outbox.append(|out| frame::encode_go_away(out, sent, answer));
    }

    /// Gives free places to the calls that wait for one.
    fn admit(&mut self) {
        while self.waiters.waiting() > 0 && self.has_room() {
            let Some(waker) = self.waiters.grant(self.peer_hello.is_some()) else { break };
            self.output.wakers.push(waker);
        }
    }

    #[inline]
    fn note_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline_hint = earlier(self.deadline_hint, deadline);
    }
}

/// The earlier of two instants, where `None` means never.
#[inline]
fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// A timeout as the wire has it: milliseconds, rounded up. Spec: `r[request.timeout]`.
#[inline]
fn timeout_ms(timeout: Option<Duration>) -> u32 {
    let Some(timeout) = timeout else { return RequestHeader::NO_TIMEOUT };
    let ms = timeout.min(TIMEOUT_MAX).as_nanos().div_ceil(1_000_000);
    u32::try_from(ms).unwrap_or(RequestHeader::NO_TIMEOUT - 1)
}
