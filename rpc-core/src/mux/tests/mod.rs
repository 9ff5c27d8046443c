//! Two state machines, the frames between them, and a clock that only the test moves.
//!
//! `alive` is about silent peers, `calls` follows single calls, `places` the queue in front of them,
//! `backlog` that in front of the handlers, `deadlines` what time does, `bulk` large messages, `shelf`
//! their buffers, `oneway` calls that end when they have left, `drain` go-away and the end, `streams`
//! items and credit, `attacks` streams whose sides change their minds, `gone` one that is given up at every step, `paths`
//! how much goes over a long path, `hostile` what a peer must not do, and `simulation` everything at
//! once, from seeds, over a `link` that does what links may do.

// Clippy takes a module for tests that is there for nothing else. This one is there for fuzzing, too.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod alive;
mod attacks;
mod backlog;
mod bulk;
mod calls;
mod deadlines;
mod drain;
pub(crate) mod fuzz;
mod gone;
mod hostile;
mod link;
mod oneway;
mod paths;
mod places;
mod shelf;
mod simulation;
mod streams;
mod table;

use std::{
    hash::{DefaultHasher, Hash},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::{Accepted, Ending, Keepalive, Mux, NewCall, Opened, Phase, Settings, Ticket, hello};
use crate::{
    error::{CloseReason, Delivery, ErrorKind, Ran},
    frame::{self, CallId, Frame, Lane, Metadata, PREFIX_BYTES, Role},
    limits::Limits,
    outbox::{BULK_BYTES, Batch, OutFrame},
    service::MethodId,
    transport::{InFrame, Payload},
};

/// What the transport between the two wants.
const FRAME_BYTES: usize = 64 * 1024;

const METHOD: MethodId = MethodId::from_wire(7);

/// Two sides of one connection. `a` made it.
struct Pair {
    a: Side,
    b: Side,
    now: Instant,
}

impl Pair {
    /// Both have each other's hello.
    fn new() -> Self {
        Self::with(Limits::default(), Limits::default())
    }

    fn with(a: Limits, b: Limits) -> Self {
        let mut pair = Self::strangers(a, b);
        pair.drive();
        assert!(pair.a.mux.hello_arrived() && pair.b.mux.hello_arrived());
        pair
    }

    /// No frame has gone between them yet.
    fn strangers(a: Limits, b: Limits) -> Self {
        let now = Instant::now();
        let a = Side::new(Role::Connector, a, now);
        Self { a, b: Side::new(Role::Acceptor, b, now), now }
    }

    /// Moves what each side has to send at present. Returns whether anything moved.
    fn step(&mut self) -> bool {
        let (to_b, to_a) = (self.a.draw(), self.b.draw());
        to_b.iter().for_each(|frame| self.b.take(frame));
        to_a.iter().for_each(|frame| self.a.take(frame));
        !(to_b.is_empty() && to_a.is_empty())
    }

    /// Moves frames until nobody has anything to say.
    #[track_caller]
    fn drive(&mut self) {
        for _ in 0..1000 {
            if !self.step() {
                return;
            }
        }
        panic!("the two never come to rest");
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.a.set_time(self.now);
        self.b.set_time(self.now);
    }
}

/// How much of a frame can't be cut: the header of a request, with its metadata, and a byte.
fn uncut_bytes(frame: &OutFrame) -> usize {
    match *frame.payload {
        [kind, _, low, high, ..] if kind == frame::Kind::Request as u8 => {
            frame::RequestHeader::BYTES + usize::from(u16::from_le_bytes([low, high])) + 1
        }
        _ => 0,
    }
}

/// One state machine, and what its driver would know.
struct Side {
    mux: Mux,
    batch: Batch,
    now: Instant,
    /// Requests that came and weren't answered.
    accepted: Vec<Accepted>,
    /// Handlers to stop.
    stopped: Vec<(CallId, ErrorKind)>,
    wakes: Arc<Wakes>,
    /// Of every frame that it was given.
    trace: DefaultHasher,
}

/// What a test's caller wants.
#[derive(Clone, Default)]
struct Want {
    body: Vec<u8>,
    timeout: Option<Duration>,
    idempotent: bool,
    oneway: bool,
    metadata: Metadata,
    stream: bool,
    tail: Option<Bytes>,
}

/// How a call ended, for comparisons.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Reply(Vec<u8>),
    AppError(Vec<u8>),
    /// A stream has begun.
    Stream,
    Failed(ErrorKind, Delivery),
    Lost(Delivery),
    Left,
}

/// Counts how often it was woken.
#[derive(Debug, Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Settings with these limits, and without keepalive: time passes in leaps here.
fn settings(limits: Limits) -> Settings {
    Settings { limits, keepalive: None, frame_bytes: FRAME_BYTES, instance: 1, cautious: false }
}

impl Side {
    fn new(role: Role, limits: Limits, now: Instant) -> Self {
        Self::of(Mux::new(role, settings(limits)), now)
    }

    fn of(mux: Mux, now: Instant) -> Self {
        let (batch, wakes) = (Batch::default(), Arc::default());
        let trace = DefaultHasher::new();
        Self { mux, batch, now, accepted: Vec::new(), stopped: Vec::new(), wakes, trace }
    }

    // ---- as a driver

    /// Everything that the side has to send at present.
    fn draw(&mut self) -> Vec<OutFrame> {
        let mut frames = Vec::new();
        while self.mux.has_frames() {
            frames.extend(self.draw_batch());
        }
        frames
    }

    /// One batch of it.
    fn draw_batch(&mut self) -> Vec<OutFrame> {
        self.mux.draw(&mut self.batch);
        self.settle();
        let frames: Vec<_> = std::iter::from_fn(|| self.batch.next_frame()).collect();
        let limit = self.mux.frame_bytes();
        let fits = |frame: &OutFrame| frame.payload.len() <= limit.max(uncut_bytes(frame));
        assert!(frames.iter().all(fits), "a frame over {limit} that could be cut");
        self.sent();
        frames
    }

    /// The transport has taken what is missing in the batch.
    fn sent(&mut self) {
        self.mux.handle_sent(self.batch.position());
        self.settle();
    }

    /// Receives a frame, in one of the ways in which transports hand them over.
    fn take(&mut self, frame: &OutFrame) {
        (frame.lane, frame.end, &frame.payload).hash(&mut self.trace);
        let bytes = frame.payload.len();
        let payload = match bytes % 3 {
            _ if bytes < BULK_BYTES => Payload::Borrowed(&frame.payload),
            0 => Payload::Borrowed(&frame.payload),
            1 => Payload::Owned(frame.payload.clone()),
            _ => Payload::Filled(self.receive(frame)),
        };
        self.mux.handle_frame(self.now, InFrame { lane: frame.lane, end: frame.end, payload });
        self.settle();
    }

    /// Receives a large frame into the buffer that the mux gives for it.
    fn receive(&mut self, frame: &OutFrame) -> BytesMut {
        let begun = frame.payload.len() % 1000;
        let (beginning, rest) = frame.payload.split_at(begun);
        let mut buffer = self.mux.room(frame.lane, frame.payload.len(), beginning);
        buffer.extend_from_slice(rest);
        buffer
    }

    /// Takes frames that come in one read: nobody looks at what the first of them led to before the
    /// last was taken.
    fn take_at_once(&mut self, frames: &[OutFrame]) {
        for OutFrame { lane, end, payload } in frames {
            let payload = Payload::Borrowed(payload);
            self.mux.handle_frame(self.now, InFrame { lane: *lane, end: *end, payload });
        }
        self.settle();
    }

    fn take_all(&mut self, frames: &[OutFrame]) {
        frames.iter().for_each(|frame| self.take(frame));
    }

    fn set_time(&mut self, now: Instant) {
        self.now = now;
        if self.mux.next_timeout().is_some_and(|at| at <= now) {
            self.mux.handle_timeout(now);
            self.settle();
        }
    }

    /// Takes the outputs, and checks the books.
    fn settle(&mut self) {
        let output = self.mux.output();
        output.wakers.drain(..).for_each(Waker::wake);
        output.discarded.clear();
        self.accepted.append(&mut output.accepted);
        self.stopped.append(&mut output.stopped);
        self.mux.check_invariants();
    }

    /// The connection is gone; what the last batch still holds never left.
    fn lose(&mut self) {
        let closed = super::Closed::new(ErrorKind::ConnectionLost, "it was cut");
        self.mux.handle_lost(closed, self.batch.position(), None);
        self.settle();
    }

    // ---- as a caller

    fn waker(&self) -> Waker {
        Arc::clone(&self.wakes).into()
    }

    fn open(&mut self, want: &Want, ticket: Option<Ticket>) -> Opened {
        let call = NewCall {
            now: self.now,
            method: METHOD,
            idempotent: want.idempotent,
            oneway: want.oneway,
            timeout: want.timeout,
            deadline: want.timeout.map(|timeout| self.now + timeout),
            metadata: &want.metadata,
            stream: want.stream,
            tail: want.tail.as_ref(),
        };
        let waker = self.waker();
        let opened = self.mux.open_call(&call, ticket, &mut want.body.clone(), waker);
        self.settle();
        opened
    }

    #[track_caller]
    fn call(&mut self, body: impl Into<Vec<u8>>) -> CallId {
        self.call_with(&Want { body: body.into(), ..Want::default() })
    }

    #[track_caller]
    fn call_with(&mut self, want: &Want) -> CallId {
        match self.open(want, None) {
            Opened::Call(id) => id,
            other => panic!("no place for the call: {other:?}"),
        }
    }

    #[track_caller]
    fn wait(&mut self, want: &Want) -> Ticket {
        match self.open(want, None) {
            Opened::Wait(ticket) => ticket,
            other => panic!("the call doesn't wait: {other:?}"),
        }
    }

    /// How a call ended, if it has.
    fn end_of(&mut self, id: CallId) -> Option<End> {
        let ending = self.mux.take_ending(id);
        self.settle();
        Some(match ending? {
            Ending::Reply { body, app_error: false } => End::Reply(body.as_slice().to_vec()),
            Ending::Reply { body, app_error: true } => End::AppError(body.as_slice().to_vec()),
            Ending::Stream => End::Stream,
            Ending::Failed { kind, delivery, .. } => End::Failed(kind, delivery),
            Ending::Lost(delivery) => End::Lost(delivery),
            Ending::Left => End::Left,
        })
    }

    fn drop_call(&mut self, id: CallId) {
        self.mux.drop_call(id);
        self.settle();
    }

    // ---- as a handler

    /// The bodies of the requests that wait for an answer.
    fn bodies(&self) -> Vec<&[u8]> {
        self.accepted.iter().map(|accepted| accepted.body.as_slice()).collect()
    }

    /// Answers a request, the way the dispatcher does.
    fn reply(&mut self, id: CallId, body: impl Into<Vec<u8>>) {
        let body = body.into();
        self.accepted.retain(|accepted| accepted.id != id);
        if self.mux.finish(id) {
            if body.len() >= self.mux.reply_limits().bulk_bytes() {
                self.mux.queue_bulk_reply(id, false, Bytes::from(body), Bytes::new());
            } else {
                self.mux.queue_reply(id, false, &body);
            }
        }
        self.settle();
    }

    /// Answers every request with its own body.
    fn echo_all(&mut self) {
        for accepted in std::mem::take(&mut self.accepted) {
            self.reply(accepted.id, accepted.body.as_slice());
        }
    }

    /// Ends the handlers that were stopped.
    fn end_stopped(&mut self) {
        for (id, why) in std::mem::take(&mut self.stopped) {
            self.accepted.retain(|accepted| accepted.id != id);
            self.mux.note_stop(id, why);
            self.mux.end_stopped(id, Ran::Maybe);
        }
        self.settle();
    }

    /// Why this side closed the connection, as the peer will read it.
    fn close_reason(&mut self) -> Option<CloseReason> {
        let frames = self.draw();
        frames.iter().find_map(|frame| match decode(frame) {
            Frame::Close { reason, .. } => Some(reason),
            _ => None,
        })
    }
}

fn decode(frame: &OutFrame) -> Frame<'_> {
    Frame::decode(frame.lane, &frame.payload).unwrap()
}

/// What kinds of frames these are, in a word each.
fn kinds(frames: &[OutFrame]) -> String {
    let words = frames.iter().map(|frame| match decode(frame) {
        Frame::Request { more: false, .. } => "request",
        Frame::Request { more: true, .. } => "request…",
        Frame::Reply { more: false, .. } => "reply",
        Frame::Reply { more: true, .. } => "reply…",
        Frame::Error { .. } => "error",
        Frame::Data { abort: true, .. } => "abort",
        Frame::Data { more: false, .. } => "data",
        Frame::Data { more: true, .. } => "data…",
        Frame::Item { more: false, .. } => "item",
        Frame::Item { more: true, .. } => "item…",
        Frame::End => "end",
        Frame::Stop(_) => "stop",
        Frame::Credit { .. } => "credit",
        Frame::Hello(_) => "hello",
        Frame::Cancel(_) => "cancel",
        Frame::Ping(_) => "ping",
        Frame::Pong(_) => "pong",
        Frame::GoAway { answer: false, .. } => "go-away",
        Frame::GoAway { answer: true, .. } => "go-away-answer",
        Frame::Close { .. } => "close",
        Frame::Skipped => "void",
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A frame as a peer might make it by hand.
fn made(encode: impl FnOnce(&mut Vec<u8>)) -> OutFrame {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    let (_, end, lane) = frame::decode_prefix(&bytes).unwrap();
    OutFrame { lane, end, payload: Bytes::from(bytes.split_off(PREFIX_BYTES)) }
}

/// A frame of which only the common bytes are given a meaning.
fn raw(lane: Lane, kind: u8, flags: u8, rest: &[u8]) -> OutFrame {
    let payload = Bytes::from([&[kind, flags, 0, 0], rest].concat());
    OutFrame { lane, end: false, payload }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
