//! What goes into the state machine and comes out of it, beside frames: no behaviour.

use std::{
    io,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{Accepted, Keepalive, Ticket};
use crate::{
    error::{Delivery, ErrorKind},
    frame::{CallId, Metadata},
    limits::Limits,
    service::MethodId,
};

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
    pub(crate) cause: Cause,
}

impl Closed {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), cause: Cause(None) }
    }
}

/// How far requests have come when the connection ends, in positions of the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Up to here frames have left this process.
    left: u64,
    /// Up to here requests may have run.
    ran: u64,
}

impl Reach {
    /// Whatever has left may have run.
    pub(crate) fn left(left: u64) -> Self {
        Self { left, ran: left }
    }

    /// The transport knows that no request ran that ends behind `position`, if it knows any.
    pub(crate) fn never_ran_from(self, position: Option<u64>) -> Self {
        let ran = position.map_or(self.ran, |position| position.min(self.ran));
        Self { ran, ..self }
    }

    /// What that says about a request that ends at `position`.
    // r[impl delivery.table] r[impl delivery.reset]
    pub(crate) fn delivery(self, position: u64) -> Delivery {
        match position {
            _ if position > self.left => Delivery::NotSent,
            _ if position > self.ran => Delivery::Rejected,
            _ => Delivery::Unknown,
        }
    }
}

/// The error of the layer below, if there was one. Causes aren't compared.
#[derive(Debug, Clone)]
pub(crate) struct Cause(pub(crate) Option<Arc<io::Error>>);

impl PartialEq for Cause {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Cause {}

/// What is to be done outside of the state machine, and outside of its lock.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Tasks to wake.
    pub(crate) wakers: Vec<Waker>,
    /// Requests to run.
    pub(crate) accepted: Vec<Accepted>,
    /// Handlers to stop; each then finishes with this error.
    pub(crate) stopped: Vec<(CallId, ErrorKind)>,
    /// Wakers to drop. Dropping one can drop a task, and with it anything.
    pub(crate) discarded: Vec<Waker>,
}

impl Output {
    /// Gives back the memory that an idle connection doesn't need.
    pub(super) fn shrink(&mut self) {
        self.wakers.shrink_to_fit();
        self.accepted.shrink_to_fit();
        self.stopped.shrink_to_fit();
        self.discarded.shrink_to_fit();
    }
}

/// What a state machine is made with, beside its role.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    /// How a peer that has gone silent is found, if at all.
    pub(crate) keepalive: Option<Keepalive>,
    /// The frame size that suits the transport.
    pub(crate) frame_bytes: usize,
    /// A random number for this process.
    pub(crate) instance: u128,
    /// Whether the connection replaces one that broke.
    pub(crate) cautious: bool,
}

/// What a caller wants of the peer.
#[derive(Debug)]
pub(crate) struct NewCall<'a> {
    /// When it wants that.
    pub(crate) now: Instant,
    pub(crate) method: MethodId,
    pub(crate) idempotent: bool,
    /// Whether the call ends when its request has left this process.
    pub(crate) oneway: bool,
    /// What is left of the time that the caller gives the call: what the peer is told.
    pub(crate) timeout: Option<Duration>,
    /// The same as an instant of this side's clock.
    pub(crate) deadline: Option<Instant>,
    pub(crate) metadata: &'a Metadata,
    /// Whether items follow the arguments.
    pub(crate) stream: bool,
    /// Large bytes behind the rest of the arguments.
    pub(crate) tail: Option<&'a Bytes>,
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
