//! The state machine of one connection: calls both ways, cancels, deadlines, drain. It has no
//! clock, no randomness, no sockets, no tasks and no tokio; time comes in as an argument.
//!
//! Methods come in four classes, and after any of the first three the last is to be drained:
//!
//! 1. getters;
//! 2. *mutators* that callers and handlers use: [`open_call`](Mux::open_call),
//!    [`take_ending`](Mux::take_ending), [`drop_call`](Mux::drop_call), [`finish`](Mux::finish), …;
//! 3. *inputs*, named `handle_*`: a frame came, a deadline passed, the connection ended;
//! 4. *outputs*: [`draw`](Mux::draw) for frames, [`Output`] for everything else.
//!
//! `alive` watches the peer, `calls` is the table of calls this side opened, `requests` that of the
//! peer's calls, `waiters` the queue in front of the first, `backlog` that in front of the handlers. `outgoing` is everything that happens to the former, `incoming`
//! to the latter, `input` what comes in and concerns the connection.

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

mod alive;
mod backlog;
mod bulk;
mod calls;
mod gathered;
mod incoming;
mod input;
mod outgoing;
mod part;
mod requests;
mod shelf;
mod streams;
#[cfg(any(fuzzing, test))]
mod tests;
mod types;
mod waiters;

use std::time::{Duration, Instant};

pub(crate) use alive::Keepalive;
pub(crate) use backlog::Start;
pub(crate) use calls::Ending;
pub(crate) use incoming::ReplyLimits;
pub(crate) use requests::Accepted;
pub(crate) use streams::{ITEM_COST, Need, NextItem, Room, StreamEnd};
#[cfg(any(fuzzing, test))]
pub(crate) use tests::fuzz;
pub(crate) use types::{Cause, Closed, NewCall, Opened, Output, Phase, Reach, Settings};
pub(crate) use waiters::Ticket;

use crate::{
    codec::{Bincode, Codec},
    counters::Counters,
    error::CloseReason,
    frame::{self, CallId, Features, Hello, Metadata, Role, TEXT_BYTES_MAX, WIRE_VERSION},
    limits::{Limits, PeerLimits},
    mux::{
        alive::{Alive, AtStake},
        backlog::Backlog,
        bulk::BulkIn,
        calls::Calls,
        requests::Requests,
        shelf::Shelf,
        streams::{Streams, WAKE_MAX},
        waiters::Waiters,
    },
    outbox::{Batch, Outbox},
    planted::planted,
};

/// Deadlines further away than this are brought down to it: a peer's number must not overflow a
/// clock. Spec: `r[request.timeout]`.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Frames without any use that a peer may send before the connection is closed. Spec:
/// `r[flood.strays]`.
const STRAYS_MAX: u32 = 1000;

/// The most calls that a side accepts at a time. A peer that uses its last slot first makes us
/// allocate the whole table, which has 40 bytes a slot.
const CALLS_MAX: u32 = 65_536;

/// Buffers that are kept for the bodies of small requests, and the largest of them: what a batch of
/// a busy connection needs.
const SPARE_MAX: usize = 256;
const SPARE_BYTES: usize = 256;

/// Messages aren't cut into smaller frames than this, which an error with its text is too.
const FRAME_BYTES_MIN: usize = 8 + TEXT_BYTES_MAX;

/// How long a look at all deadlines rests before the next, for each entry it looks at. It takes
/// about a nanosecond an entry, so looking takes some percent of the time at most, and deadlines
/// are late by 50 µs for every thousand calls.
const SCAN_REST: Duration = Duration::from_nanos(50);

/// One connection's state.
#[derive(Debug)]
pub(crate) struct Mux {
    role: Role,
    limits: Limits,
    /// Until it is sent.
    hello: Option<Box<Hello>>,
    peer_limits: PeerLimits,
    hello_arrived: bool,
    /// The largest frame that suits the transport.
    transport_bytes: usize,
    /// Buffers of bodies that nobody needs any more, for those to come.
    spare: Vec<Vec<u8>>,
    /// The same for large messages.
    shelf: Shelf,
    /// Whether calls that may not run twice wait for the peer's hello.
    cautious: bool,
    outbox: Outbox,
    calls: Calls,
    waiters: Waiters,
    requests: Requests,
    backlog: Backlog,
    streams: Streams,
    bulk_in: BulkIn,
    /// Grants of credit that came.
    grants: u64,
    alive: Alive,
    phase: Phase,
    /// Whether nobody on this side needs the connection, but for one-way calls to be answered.
    retired: bool,
    /// How the peer took its leave, while answers of its that it has sent may still come.
    farewell: Option<Box<Closed>>,
    /// How many calls were taken back then. To those that had begun to leave answers may still come.
    taken_back: u32,
    /// The ping to answer with the next frames. Only the newest: a flood isn't amplified.
    pong: Option<u64>,
    /// The go-away to send with the next frames, and whether it is an answer.
    go_away: Option<bool>,
    /// Whether the peer has been told how many requests there are: none is taken back since.
    counted: bool,
    /// Whether the peer has said go-away by itself, and whether it has answered one.
    asked_to_go: bool,
    go_away_answered: bool,
    /// No deadline is earlier than this.
    deadline_hint: Option<Instant>,
    /// Deadlines aren't looked at before.
    scan_after: Option<Instant>,
    strays: u32,
    /// Whether the peer has answered any call.
    answered: bool,
    /// What isn't counted elsewhere.
    counters: Counters,
    output: Output,
}

/// What this side says first.
fn hello(limits: &Limits, instance: u128) -> Hello {
    Hello {
        version: WIRE_VERSION,
        codec: Bincode::ID,
        // r[impl hello.features]
        features: Features::default(),
        instance,
        frame_bytes: limits.frame_bytes,
        message_bytes: limits.message_bytes,
        calls: limits.calls,
        metadata_bytes: limits.metadata_bytes,
        window_bytes: limits.window_bytes,
    }
}

impl Mux {
    pub(crate) fn new(role: Role, settings: Settings) -> Self {
        let Settings { limits, keepalive, frame_bytes, instance, cautious } = settings;
        let limits = in_range(limits);
        // A peer may make this many calls before it can know of a lower limit.
        let calls = limits.calls.max(PeerLimits::BASE.calls);
        let mut mux = Self {
            role,
            hello: Some(Box::new(hello(&limits, instance))),
            peer_limits: PeerLimits::BASE,
            hello_arrived: false,
            transport_bytes: frame_bytes.max(FRAME_BYTES_MIN),
            spare: Vec::new(),
            shelf: Shelf::default(),
            cautious,
            outbox: Outbox::default(),
            calls: Calls::new(role),
            waiters: Waiters::new(),
            requests: Requests::new(role, calls),
            backlog: Backlog::default(),
            streams: Streams::new(limits.stream_bytes),
            bulk_in: BulkIn::new(limits.window_bytes),
            grants: 0,
            alive: Alive::new(keepalive),
            limits,
            phase: Phase::Open,
            retired: false,
            farewell: None,
            taken_back: 0,
            pong: None,
            go_away: None,
            counted: false,
            asked_to_go: false,
            go_away_answered: false,
            deadline_hint: None,
            scan_after: None,
            strays: 0,
            answered: false,
            counters: Counters::default(),
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
        self.hello_arrived
    }

    /// Whether the peer has answered any call.
    pub(crate) fn was_answered(&self) -> bool {
        self.answered
    }

    /// What has happened so far.
    pub(crate) fn counters(&self) -> Counters {
        Counters {
            connections: 1,
            calls: self.calls.sent,
            calls_refused: self.calls.rejected,
            calls_unknown: self.calls.unknown,
            oneways_failed: self.calls.oneways_failed,
            requests: self.requests.received,
            ..self.counters
        }
    }

    /// Whether frames wait to be drawn.
    pub(crate) fn has_frames(&self) -> bool {
        !self.outbox.is_empty()
            || self.pong.is_some()
            || self.go_away.is_some() && self.hello.is_none()
            || self.streams.has_due()
            || self.bulk_in.is_due()
    }

    /// How far sending is, if it waits for the peer to grant credit for the whole connection.
    pub(crate) fn stalled_at(&self) -> Option<u64> {
        self.outbox.is_stalled().then(|| self.outbox.drawn())
    }

    /// Whether at most one call is under way, in either direction, and no stream: then nobody else is
    /// about to add a frame to those that there are.
    #[inline]
    pub(crate) fn is_lone(&self) -> bool {
        self.calls.open().saturating_add(self.requests.open()) <= 1
            && self.waiters.waiting() == 0
            && self.streams.is_empty()
    }

    /// Whether any call is open or waiting, in either direction.
    pub(crate) fn is_busy(&self) -> bool {
        self.calls.open() > 0 || self.requests.open() > 0 || self.waiters.waiting() > 0
    }

    /// Whether anything but the rest of incomplete requests is missing for the end of a call: that
    /// rest is up to the peer, which may never send it.
    pub(crate) fn is_at_work(&self) -> bool {
        self.calls.open() > 0 || self.requests.any_complete() || self.waiters.waiting() > 0
    }

    /// Whether a drain has nothing left to wait for but that what is queued is sent: every request the
    /// peer has sent is answered. Or nobody needs the connection, and one-way calls are answered.
    pub(crate) fn is_drained(&self) -> bool {
        match self.phase {
            Phase::Open => self.retired && !self.calls.has_unanswered_oneways(),
            Phase::Draining { .. } if self.farewell.is_some() => self.calls.open() == 0,
            Phase::Draining { expected: Some(expected) } => {
                // r[impl drain.finish]
                // An answer may wait for credit, which nobody takes after a CLOSE.
                let here = self.requests.received >= expected || planted("drain-ends-early");
                here && !self.is_busy() && !self.outbox.is_held_up()
            }
            _ => false,
        }
    }

    /// Where the buffers of large messages are kept.
    pub(crate) fn shelf(&mut self) -> &mut Shelf {
        &mut self.shelf
    }

    /// The earliest time at which a deadline may pass, or the peer is to be looked after.
    #[inline]
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let hint = self.deadline_hint.map(|hint| self.scan_after.map_or(hint, |a| hint.max(a)));
        earlier(hint, self.at_stake().and_then(|stake| self.alive.next(stake)))
    }

    /// What messages are cut to: what suits both the transport and the peer. What can't be cut may be
    /// larger, a request's header with its metadata above all.
    #[inline]
    pub(crate) fn frame_bytes(&self) -> usize {
        self.transport_bytes.min(self.peer_limits.frame_bytes)
    }

    /// What would be lost if the peer were gone.
    #[inline]
    fn at_stake(&self) -> Option<AtStake> {
        if self.is_closed() {
            return None;
        }
        if self.calls.open() > 0 {
            return Some(AtStake::Calls);
        }
        self.requests.any_complete().then_some(AtStake::Requests)
    }

    #[inline]
    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed(_))
    }

    // ---- mutators: the connection

    /// Says that nothing new will be begun on this connection. What is under way goes on.
    pub(crate) fn go_away(&mut self) {
        if self.phase == Phase::Open {
            self.go_away = Some(false);
            self.begin_drain(None);
        }
    }

    /// Nobody on this side needs the connection any more. It is closed, at once or, if one-way calls
    /// have left, when the peer has answered them: a close stops their handlers.
    pub(crate) fn retire(&mut self) {
        if self.calls.has_unanswered_oneways() {
            self.retired = true;
        } else {
            self.close(CloseReason::Done, "");
        }
    }

    /// Closes the connection because of something the peer did, or because nobody needs it.
    pub(crate) fn close(&mut self, reason: CloseReason, text: &str) {
        if self.is_closed() {
            return;
        }
        if let Some(farewell) = self.farewell.take() {
            // Everything was said already.
            self.phase = Phase::Closed(*farewell);
            return;
        }
        let text = if text.is_empty() { reason.text() } else { text };
        self.send_hello();
        self.append_due();
        // r[impl close.hello]
        self.outbox.append(|out| frame::encode_close(out, reason, text));
        let text = format!("this side closed the connection: {text}");
        self.phase = Phase::Closed(Closed::new(reason.kind(), text));
    }

    // ---- outputs

    /// Moves the frames to be sent next into an empty batch.
    pub(crate) fn draw(&mut self, batch: &mut Batch) {
        self.append_due();
        let frame_bytes = self.frame_bytes();
        let Self { role, calls, requests, streams, outbox, output, .. } = self;
        outbox.draw(batch, frame_bytes, |drawn| {
            streams.drawn_to_the_end(drawn.call, drawn.credit, &mut output.wakers);
            if drawn.is_item {
            } else if drawn.call.opener() == *role {
                calls.sent_to(drawn.call, drawn.position);
            } else {
                requests.answered(drawn.call);
            }
        });
        self.wake_writers(WAKE_MAX);
        self.admit();
        self.start_next();
    }

    /// The outbox position up to which a one-way call waits for what was drawn to leave, if one
    /// does: who sends says when, through [`handle_sent`](Mux::handle_sent).
    pub(crate) fn next_leaves_at(&self) -> Option<u64> {
        self.calls.next_leaves_at().filter(|position| *position <= self.outbox.drawn())
    }

    /// What is to be done outside of the lock.
    pub(crate) fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Gives back the memory that an idle connection doesn't need.
    pub(crate) fn shrink(&mut self) {
        self.outbox.shrink();
        self.output.shrink();
        self.requests.shrink();
        self.spare = Vec::new();
    }

    /// Takes buffers back, to use them again.
    pub(crate) fn recycle(&mut self, buffers: &mut Vec<Vec<u8>>) {
        let room = SPARE_MAX.saturating_sub(self.spare.len());
        self.spare.extend(buffers.drain(..).take(room).filter(|b| b.capacity() <= SPARE_BYTES));
    }

    // ---- the connection's own frames

    fn send_hello(&mut self) {
        if let Some(hello) = self.hello.take() {
            self.outbox.append(|out| frame::encode_hello(out, &hello));
        }
    }

    /// Appends the frames of which only the newest matters. They are made when they are drawn, so
    /// that however often they become due, there is one of each.
    fn append_due(&mut self) {
        if let Some(token) = self.pong.take() {
            // r[impl ping.answer]
            self.outbox.append(|out| frame::encode_pong(out, token));
        }
        self.append_credit();
        if self.hello.is_some() {
            return;
        }
        if let Some(answer) = self.go_away.take() {
            // r[impl drain.count]
            self.counted = true;
            // r[impl drain.count]
            let sent = self.calls.sent;
            self.outbox.append(|out| frame::encode_go_away(out, sent, answer));
        }
    }

    /// Begins nothing new. `expected` is how many requests the peer says it has sent.
    fn begin_drain(&mut self, expected: Option<u64>) {
        self.phase = Phase::Draining { expected };
        self.waiters.dismiss(&mut self.output.wakers);
    }

    #[inline]
    fn note_deadline(&mut self, deadline: Option<Instant>) {
        if planted("earlier-deadline-missed") && self.deadline_hint.is_some() {
            return;
        }
        self.deadline_hint = earlier(self.deadline_hint, deadline);
    }
}

/// The earlier of two instants, where `None` means never.
#[inline]
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// A text of the peer's as errors show it: no longer than a peer may send one, and without effect
/// on a terminal. Every call of a connection keeps a copy. Spec: `r[error.text]`.
fn shown(text: &str) -> String {
    text.chars().take(TEXT_BYTES_MAX).flat_map(char::escape_debug).collect()
}

/// Brings limits into the ranges that their documentation gives.
fn in_range(mut limits: Limits) -> Limits {
    #[expect(clippy::cast_possible_truncation, reason = "they are constants of some KiB")]
    let (frame_min, metadata_max) =
        (PeerLimits::BASE.frame_bytes as u32, Metadata::BYTES_MAX as u32);
    limits.frame_bytes = limits.frame_bytes.clamp(frame_min, i32::MAX.unsigned_abs());
    limits.metadata_bytes = limits.metadata_bytes.min(metadata_max);
    limits.calls = limits.calls.clamp(1, CALLS_MAX);
    limits
}

#[cfg(feature = "testing")]
impl Mux {
    /// What is left of calls on a connection that nobody uses at present, by name. Nothing should
    /// be.
    pub(crate) fn leftovers(&self) -> Vec<(&'static str, usize)> {
        let mut left = vec![
            ("calls that have no terminal frame", self.calls.open() as usize),
            ("callers that wait for a place", self.waiters.held()),
            ("requests that are not answered", self.requests.open() as usize),
            ("places of requests in use", usize::from(!self.requests.at_rest())),
            ("bytes of messages that are not used yet", self.held_bytes()),
            ("streams that are not over", self.streams.open()),
            ("frames that nobody had asked for", self.strays as usize),
            ("frames that wait to be sent", usize::from(self.has_frames())),
        ];
        left.retain(|(_, count)| *count > 0);
        left
    }
}

#[cfg(any(fuzzing, test))]
impl Mux {
    /// Checks that counters equal what the tables say.
    pub(crate) fn check_invariants(&self) {
        self.calls.check_invariants();
        self.waiters.check_invariants();
        self.requests.check_invariants();
        self.outbox.check_invariants(|lane| {
            CallId::from_wire(lane.number()).is_some_and(|id| id.opener() != self.role)
        });
        let limit = self.limits.calls.max(PeerLimits::BASE.calls);
        assert!(self.requests.open() + self.outbox.terminals() <= limit);
        let room = self.peer_limits.calls.max(PeerLimits::BASE.calls);
        assert!(self.calls.open() + self.waiters.granted() <= room);
        assert!(self.requests.partial_bytes + self.calls.partial_bytes <= self.limits.held_bytes);
        self.streams.check_invariants();
        self.bulk_in.check_invariants();
        let earliest = [self.calls.earliest(), self.requests.earliest(), self.waiters.earliest()];
        let earliest = earliest.into_iter().flatten().min();
        let is_noted = |at| self.deadline_hint.is_some_and(|hint| hint <= at);
        assert!(earliest.is_none_or(is_noted), "a deadline would pass unseen");
        let is_kept = self.waiters.waiting() > 0 && self.has_room() && self.hello_arrived();
        assert!(!is_kept, "somebody waits for a place, and one is free");
        assert!(
            self.is_closed() || !self.is_turn_lost(),
            "nobody's turn to send, and there is room"
        );
    }
}
