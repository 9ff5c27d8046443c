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
    body::Body,
    codec::{Bincode, Codec},
    error::{CloseReason, Delivery, ErrorKind, Ran, code},
    frame::{
        self, CallId, Extensions, Features, Frame, Hello, Metadata, PREFIX_BYTES, RequestHeader,
        Role, WIRE_VERSION,
    },
    limits::{Limits, PeerLimits},
    mux::{
        calls::{Calls, Stray},
        requests::{Requests, Stop},
        waiters::{Turn, Waiters},
    },
    outbox::{BULK_BYTES, Batch, Outbox},
    service::MethodId,
    transport::{InFrame, Payload},
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
    pub(crate) deadline: Option<Instant>,
    pub(crate) metadata: &'a Metadata,
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
        // The timeout goes over the wire when the request does, not when the caller chose it; the
        // difference is the time it waits in the outbox, which is what `draw` is called for.
        let header = RequestHeader {
            method: call.method,
            idempotent: call.idempotent,
            timeout_ms: self.timeout_ms(call.deadline),
            extensions: &extensions,
        };
        let size = RequestHeader::BYTES + extensions.len() + body.len();
        if body.len() >= BULK_BYTES || size > self.peer_limits.frame_bytes {
            let id = self.calls.insert(waker, Vec::new(), call.deadline);
            let mut head = Vec::with_capacity(RequestHeader::BYTES + extensions.len());
            frame::encode_request_header(&mut head, &header, false);
            self.outbox.push_bulk(id, head, Bytes::from(body), false);
            return id;
        }
        // Slot and frame are made in this order so that the buffer can go into the slot.
        let id = self.calls.next_id();
        let position = self.outbox.append(|out| {
            out.reserve(PREFIX_BYTES + size);
            frame::encode_prefix(out, id.lane(), size, true);
            frame::encode_request_header(out, &header, false);
            out.extend_from_slice(&body);
        });
        let id = self.calls.insert(waker, body, call.deadline);
        self.calls.set_leaves_at(id, position);
        id
    }
}
