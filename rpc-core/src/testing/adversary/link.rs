//! What happens between the two ends of an adversarial connection. All of it follows from one seed.

use std::{
    collections::{BTreeMap, VecDeque},
    io, mem,
    task::{Context, Poll, Waker},
};

use super::{super::random::Random, Death, Direction, Manner, Moment};
use crate::{
    frame::{Lane, PREFIX_BYTES},
    transport::{Batch, OutFrame, Received, TransportError},
};

/// Frames that one call moves at most.
const FRAMES_PER_CALL: usize = 5;

/// How many polls of its receiver a frame may be held back for.
const DELAY_POLLS: usize = 4;

/// One batch in so many is taken to its end, and then not sent before the next call.
const BATCHES_PER_FLUSH: usize = 4;

/// One call in so many wakes everybody for nothing.
const CALLS_PER_FALSE_ALARM: usize = 8;

/// Both directions of a connection, so that a death can take both at once.
pub(super) struct Link {
    seed: u64,
    random: Random,
    death: Option<Death>,
    /// How many bytes each direction holds before its sender waits.
    capacity: usize,
    to_acceptor: Flow,
    to_connector: Flow,
    /// Who is to be woken.
    alarms: Vec<Waker>,
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// Frames that were taken and not sent, as in the buffer of a TLS stream, and where each ends.
    buffered: Vec<(OutFrame, u64)>,
    /// Frames under way. Lanes overtake each other; a lane keeps its order.
    lanes: BTreeMap<Lane, VecDeque<UnderWay>>,
    bytes: usize,
    sent: u64,
    received: u64,
    /// Nothing behind this position was received.
    received_to: u64,
    /// How often its receiver has polled.
    polls: usize,
    /// Nothing more will be sent.
    finished: bool,
    /// Why sending fails.
    send_error: Option<io::ErrorKind>,
    /// Why receiving fails, once everything under way has arrived.
    recv_error: Option<io::ErrorKind>,
    /// What its sender was known to have reached, when the one that receives here is to hear of a reset.
    reset: Option<u64>,
    sender: Option<Waker>,
    receiver: Option<Waker>,
}

struct UnderWay {
    frame: OutFrame,
    /// Where it ends.
    position: u64,
    /// The poll of the receiver from which on it may arrive.
    due: usize,
}

impl Link {
    pub(super) fn new(seed: u64, death: Option<Death>) -> Self {
        let mut random = Random::new(seed);
        Self {
            seed,
            death,
            capacity: 1 << random.between(8, 16),
            random,
            to_acceptor: Flow::default(),
            to_connector: Flow::default(),
            alarms: Vec::new(),
        }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Takes a few frames, whatever there is room for.
    pub(super) fn poll_send(
        &mut self,
        direction: Direction,
        cx: &mut Context<'_>,
        batch: &mut Batch,
    ) -> Poll<io::Result<()>> {
        let allowance = self.random.below(FRAMES_PER_CALL + 1);
        for taken in 0..=allowance {
            self.die_if_due(direction, Moment::Sent);
            if let Some(kind) = self.flow(direction).send_error {
                return Poll::Ready(Err(kind.into()));
            }
            if self.flow(direction.other()).reset.is_some() {
                // Receiving tells more than sending could.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if taken == allowance || self.is_full(direction) {
                break;
            }
            let Some(frame) = batch.next_frame() else { break };
            self.flow(direction).add(frame, batch.position());
        }
        let unsent = !self.flow(direction).buffered.is_empty();
        if batch.is_empty() && unsent && self.random.one_in(BATCHES_PER_FLUSH) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.flush(direction);
        if batch.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if self.is_full(direction) {
            self.flow(direction).sender = Some(cx.waker().clone());
        } else {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Hands out a few frames, from any lanes.
    pub(super) fn poll_recv(
        &mut self,
        direction: Direction,
        cx: &mut Context<'_>,
        arrived: &mut Vec<OutFrame>,
    ) -> Poll<Result<Received, TransportError>> {
        self.die_if_due(direction, Moment::Received);
        let flow = self.flow(direction);
        flow.polls += 1;
        if !flow.has_frames() {
            if let Some(position) = flow.reset.take() {
                self.flow(direction.other()).send_error = Some(io::ErrorKind::ConnectionReset);
                let reason = "it has started anew".into();
                let never_ran_from = Some(position);
                return Poll::Ready(Err(TransportError::Reset { reason, never_ran_from }));
            }
            return flow.poll_ended(cx).map_err(TransportError::from);
        }
        for _ in 0..self.random.below(FRAMES_PER_CALL + 1) {
            let whim = self.random.next();
            let Some(frame) = self.flow(direction).take(whim) else { break };
            arrived.push(frame);
            self.die_if_due(direction, Moment::Received);
        }
        if !self.is_full(direction) {
            let sender = self.flow(direction).sender.take();
            self.alarms.extend(sender);
        }
        if arrived.is_empty() && self.random.one_in(2) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(Received::Some))
    }

    pub(super) fn poll_close(
        &mut self,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.random.one_in(2) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.flush(direction);
        let flow = self.flow(direction);
        if let Some(kind) = flow.send_error {
            return Poll::Ready(Err(kind.into()));
        }
        flow.finished = true;
        let receiver = flow.receiver.take();
        self.alarms.extend(receiver);
        Poll::Ready(Ok(()))
    }

    /// Sends what was taken, and wakes the receiver.
    fn flush(&mut self, direction: Direction) {
        for (frame, position) in mem::take(&mut self.flow(direction).buffered) {
            let delay = self.random.below(DELAY_POLLS + 1);
            let flow = self.flow(direction);
            flow.send(frame, position, delay);
            let receiver = flow.receiver.take();
            self.alarms.extend(receiver);
        }
    }

    /// The end that sends in this direction is dropped.
    pub(super) fn leave(&mut self, direction: Direction) {
        self.flow(direction).recv_error.get_or_insert(io::ErrorKind::ConnectionReset);
        let incoming = self.flow(direction.other());
        incoming.lose();
        incoming.send_error.get_or_insert(io::ErrorKind::BrokenPipe);
        self.alarm_everybody();
    }

    /// Whoever is to be woken, and now and then everybody.
    pub(super) fn take_alarms(&mut self) -> Vec<Waker> {
        if self.random.one_in(CALLS_PER_FALSE_ALARM) {
            self.alarm_everybody();
        }
        mem::take(&mut self.alarms)
    }

    /// The registered wakers stay: who is woken for nothing needn't come and register again.
    fn alarm_everybody(&mut self) {
        for flow in [&self.to_acceptor, &self.to_connector] {
            self.alarms.extend(flow.sender.iter().chain(&flow.receiver).cloned());
        }
    }

    fn flow(&mut self, direction: Direction) -> &mut Flow {
        match direction {
            Direction::ToAcceptor => &mut self.to_acceptor,
            Direction::ToConnector => &mut self.to_connector,
        }
    }

    fn is_full(&mut self, direction: Direction) -> bool {
        let capacity = self.capacity;
        self.flow(direction).bytes >= capacity
    }

    fn die_if_due(&mut self, direction: Direction, moment: Moment) {
        let flow = self.flow(direction);
        let frames = match moment {
            Moment::Sent => flow.sent,
            Moment::Received => flow.received,
        };
        let due = |death: &mut Death| {
            death.direction == direction && death.moment == moment && death.frames <= frames
        };
        match self.death.take_if(due).map(|death| death.manner) {
            None => {}
            Some(Manner::Error(kind)) => {
                self.flow(direction).fail(kind);
                self.flow(direction.other()).fail(kind);
                self.alarm_everybody();
            }
            Some(Manner::Reset) => {
                let reached = self.flow(direction).received_to;
                let kind = io::ErrorKind::ConnectionReset;
                self.flow(direction).fail(kind);
                let answers = self.flow(direction.other());
                answers.fail(kind);
                answers.reset = Some(reached);
                self.flow(direction).send_error = None;
                self.alarm_everybody();
            }
            Some(Manner::End) => {
                self.flush(direction);
                let flow = self.flow(direction);
                flow.finished = true;
                flow.send_error = Some(io::ErrorKind::ConnectionReset);
                let answers = self.flow(direction.other());
                answers.fail(io::ErrorKind::ConnectionReset);
                self.alarm_everybody();
            }
        }
    }
}

impl Flow {
    /// Takes a frame from its sender.
    fn add(&mut self, frame: OutFrame, position: u64) {
        self.sent += 1;
        self.bytes += PREFIX_BYTES + frame.payload.len();
        self.buffered.push((frame, position));
    }

    fn send(&mut self, frame: OutFrame, position: u64, delay: usize) {
        let due = self.polls + delay;
        self.lanes.entry(frame.lane).or_default().push_back(UnderWay { frame, position, due });
    }

    /// Whether a frame is under way that may arrive, now or later. Before the hello, none may.
    fn has_frames(&self) -> bool {
        if self.received > 0 {
            !self.lanes.is_empty()
        } else {
            self.lanes.contains_key(&Lane::CONTROL)
        }
    }

    /// Takes the next frame of one of the lanes that have one due.
    fn take(&mut self, whim: u64) -> Option<OutFrame> {
        let lanes = self.lanes.iter().filter(|(lane, frames)| {
            let due = frames.front().is_some_and(|frame| frame.due <= self.polls);
            due && (self.received > 0 || **lane == Lane::CONTROL)
        });
        let lanes: Vec<Lane> = lanes.map(|(lane, _)| *lane).collect();
        let choice = usize::try_from(whim % lanes.len().max(1) as u64).ok()?;
        let lane = lanes.get(choice)?;
        let frames = self.lanes.get_mut(lane)?;
        let UnderWay { frame, position, .. } = frames.pop_front()?;
        if frames.is_empty() {
            self.lanes.remove(lane);
        }
        self.received += 1;
        self.received_to = self.received_to.max(position);
        self.bytes -= PREFIX_BYTES + frame.payload.len();
        Some(frame)
    }

    /// Nothing will arrive: the end, an error, or a wait for more.
    fn poll_ended(&mut self, cx: &Context<'_>) -> Poll<io::Result<Received>> {
        if self.finished {
            return Poll::Ready(Ok(Received::End));
        }
        if let Some(kind) = self.recv_error {
            return Poll::Ready(Err(kind.into()));
        }
        self.receiver = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Everything under way is lost, and both ends will hear of it.
    fn fail(&mut self, kind: io::ErrorKind) {
        self.lose();
        self.finished = false;
        self.send_error = Some(kind);
        self.recv_error = Some(kind);
    }

    fn lose(&mut self) {
        self.buffered.clear();
        self.lanes.clear();
        self.bytes = 0;
    }
}
