//! A client of a world: it sets sessions up, makes calls, and judges what became of them.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{End, Link, Parcel, server::Config};
use crate::proto::{
    packet::{self, Kind, Nonce, Peek, Reset, SessionId},
    session::{Budget, Lost, Session},
    setup::{Established, Judgement, SetUpClient},
};

/// How long one attempt to set a session up may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A client that waits for replies makes a small call now and then, so that it finds out when its
/// address has changed: the core's keepalive.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// How long a client that has sent everything waits for the other side's end: the driver's.
const LINGER: Duration = Duration::from_secs(1);

/// What a client knows of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// None of it was sent.
    NotSent,
    /// A reset says that it never ran.
    NeverRan,
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) session: SessionId,
    pub(crate) lane: u64,
    pub(crate) first_sent: Option<Instant>,
    pub(crate) outcome: Option<Outcome>,
}

#[derive(Debug)]
pub(crate) enum Phase {
    Waiting { until: Instant },
    SettingUp { setup: SetUpClient, until: Instant },
    Up { end: Box<End>, established: Established },
    Done,
}

/// How a client behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    pub(crate) calls: usize,
    /// Calls at once, at most.
    pub(crate) width: usize,
    /// The longest pause between two calls.
    pub(crate) pause: Duration,
}

pub(crate) struct Client {
    /// The address that the server sees.
    pub(crate) outer: SocketAddr,
    server: SocketAddr,
    config: Config,
    pub(crate) habits: Habits,
    pub(crate) phase: Phase,
    pub(crate) calls: Vec<Call>,
    /// Of the session, those that have no outcome yet.
    open: Vec<usize>,
    next_call_at: Instant,
    next_lane: u64,
    /// Until then it does nothing at all.
    pub(crate) frozen_until: Option<Instant>,
    frozen: Vec<Parcel>,
    /// How long its clock stands still of the time that it is frozen.
    sleep: Duration,
    /// How far its clock is behind the world's, and how far that was when its session began.
    slept: Duration,
    slept_before: Duration,
    pub(crate) up: Link,
    pub(crate) down: Link,
    pub(crate) random: fastrand::Rng,
    /// Whether it is to end its session.
    pub(crate) is_leaving: bool,
    /// Whether it is to end its session, and to go on in another one.
    pub(crate) is_moving: bool,
    /// Until then it waits for the server's end.
    lingers_until: Option<Instant>,
    /// Why sessions were lost.
    pub(crate) losses: Vec<Lost>,
    pub(crate) resets: u64,
    pub(crate) frames: u64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open: Vec<_> = self.open.iter().map(|call| self.calls[*call].lane).collect();
        f.debug_struct("Client")
            .field("outer", &self.outer)
            .field("phase", &self.phase)
            .field("calls", &self.calls.len())
            .field("open", &open)
            .field("losses", &self.losses)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(
        now: Instant,
        addresses: (SocketAddr, SocketAddr),
        config: Config,
        habits: Habits,
        links: (Link, Link),
        random: fastrand::Rng,
    ) -> Self {
        Self {
            outer: addresses.0,
            server: addresses.1,
            config,
            habits,
            phase: Phase::Waiting { until: now },
            calls: Vec::new(),
            open: Vec::new(),
            next_call_at: now,
            next_lane: 1,
            frozen_until: None,
            frozen: Vec::new(),
            sleep: Duration::ZERO,
            slept: Duration::ZERO,
            slept_before: Duration::ZERO,
            up: links.0,
            down: links.1,
            random,
            is_leaving: false,
            is_moving: false,
            lingers_until: None,
            losses: Vec::new(),
            resets: 0,
            frames: 0,
        }
    }

    pub(crate) fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Up { end, .. } => Some(end),
            _ => None,
        }
    }

    pub(crate) fn end_mut(&mut self) -> Option<&mut End> {
        match &mut self.phase {
            Phase::Up { end, .. } => Some(end),
            _ => None,
        }
    }

    /// Whether all calls have been made, and have an outcome.
    pub(crate) fn is_finished(&self) -> bool {
        self.calls.len() >= self.habits.calls && self.open.is_empty()
    }

    /// It does nothing for so long.
    pub(crate) fn freeze(&mut self, now: Instant, lasts: Duration) {
        if self.sleep.is_zero() {
            self.frozen_until = Some(now + lasts);
        }
    }

    /// The same, and its clock stands still meanwhile.
    pub(crate) fn fall_asleep(&mut self, now: Instant, lasts: Duration) {
        if self.frozen_until.is_none() {
            (self.frozen_until, self.sleep) = (Some(now + lasts), lasts);
        }
    }

    /// Its time at the world's.
    pub(crate) fn own(&self, now: Instant) -> Instant {
        now - self.slept
    }

    /// Does all that there is to do now, which is the world's time.
    pub(crate) fn turn(&mut self, now: Instant) {
        while let Some(parcel) = self.down.receive(now) {
            if self.frozen.len() < 200 {
                self.frozen.push(parcel);
            }
        }
        if self.frozen_until.is_some_and(|until| until > now) {
            return;
        }
        self.frozen_until = None;
        self.slept += std::mem::take(&mut self.sleep);
        let now = self.own(now);
        for parcel in std::mem::take(&mut self.frozen) {
            self.handle_datagram(now, parcel);
        }
        self.connect(now);
        if let Phase::Up { .. } = self.phase {
            self.run_session(now);
        }
    }

    fn handle_datagram(&mut self, now: Instant, parcel: Parcel) {
        match &mut self.phase {
            Phase::SettingUp { setup, .. } => match setup.handle_datagram(&parcel.bytes) {
                Some(Ok(established)) => self.begin(established),
                Some(Err(_)) => self.wait(now),
                None => {}
            },
            Phase::Up { end, .. } => end.deliver(parcel),
            Phase::Waiting { .. } | Phase::Done => {}
        }
    }

    fn wait(&mut self, now: Instant) {
        let pause = Duration::from_millis(self.random.u64(1..1000));
        self.phase = Phase::Waiting { until: now + pause };
    }

    fn connect(&mut self, now: Instant) {
        if let Phase::Waiting { until } = self.phase {
            if self.is_finished() {
                self.phase = Phase::Done;
            } else if until <= now {
                let nonce = Nonce(self.random.u64(..));
                let setup = SetUpClient::new(now, self.server, self.config.params(), nonce);
                self.phase = Phase::SettingUp { setup, until: now + CONNECT };
            }
        }
        if let Phase::SettingUp { setup, until } = &mut self.phase {
            if *until <= now {
                self.wait(now);
            } else if let Some(init) = setup.poll_transmit(now) {
                self.up.send(now + self.slept, self.outer, &init);
            }
        }
    }

    fn begin(&mut self, established: Established) {
        let agreed = established.agreed.clone();
        let (receives, sends) = self.config.scripts(agreed.id);
        let session = Session::new(agreed, Budget::new(64 << 20), self.random.u64(..));
        let mut end = End::new(session, sends, receives);
        end.session.greet();
        self.slept_before = self.slept;
        self.phase = Phase::Up { end: Box::new(end), established };
    }

    fn run_session(&mut self, now: Instant) {
        let Phase::Up { end, established } = &mut self.phase else { return };
        let rest = end.receive(now);
        let reset = rest.iter().find_map(|parcel| reset_of(&end.session, &parcel.bytes));
        if let Some(reset) = reset {
            let judged = Judgement::of(&reset, established.agreed.epoch, established.retention);
            self.resets += 1;
            let slept = self.slept - self.slept_before;
            self.lose(now, judged.never_ran_since.saturating_sub(slept));
            return;
        }
        for lane in std::mem::take(&mut end.books.ended) {
            let at = self.open.iter().position(|call| self.calls[*call].lane == lane);
            if let Some(at) = at {
                let call = self.open.swap_remove(at);
                self.calls[call].outcome = Some(Outcome::Done);
            } else {
                assert_eq!(lane, 0, "a reply to no call");
            }
        }
        self.call(now);
        self.flush(now);
    }

    /// Makes calls, if it is time.
    fn call(&mut self, now: Instant) {
        let Phase::Up { end, established } = &mut self.phase else { return };
        let ends = self.is_leaving || self.is_moving;
        if end.session.is_received() && !ends {
            // The server ended it; nothing of that kind happens here.
            panic!("the server ended a session");
        }
        let is_quiet = now >= self.next_call_at + KEEPALIVE && !self.open.is_empty();
        let may = self.open.len() < self.habits.width && self.calls.len() < self.habits.calls;
        let may = may && !self.is_moving;
        let mut count = usize::from(is_quiet);
        if may && now >= self.next_call_at {
            let room = self.habits.width - self.open.len();
            count = count.max(self.random.usize(1..=room));
        }
        for _ in 0..count {
            let (lane, session) = (self.next_lane, established.agreed.id);
            self.next_lane += 1 + self.random.u64(..3);
            self.open.push(self.calls.len());
            self.calls.push(Call { session, lane, first_sent: None, outcome: None });
            end.queue.push_lane(&end.script, lane);
        }
        if count > 0 {
            self.next_call_at = now + self.habits.pause.mul_f64(self.random.f64());
        }
        if ends && self.open.is_empty() {
            end.end();
        }
    }

    /// Sends, and sees whether the session is over.
    fn flush(&mut self, now: Instant) {
        let Phase::Up { end, .. } = &mut self.phase else { return };
        let (up, outer, at) = (&mut self.up, self.outer, now + self.slept);
        end.send(now, |transmit| {
            for datagram in transmit.bytes.chunks(transmit.segment_bytes) {
                up.send(at, outer, datagram);
            }
        });
        for lane in std::mem::take(&mut end.queue.begun) {
            let call = self.open.iter().find(|call| self.calls[**call].lane == lane);
            if let Some(call) = call {
                self.calls[*call].first_sent = Some(now);
            }
        }
        if self.is_moving && end.session.is_sent() {
            self.lingers_until.get_or_insert(now + LINGER);
        }
        if let Some(lost) = end.lost {
            self.losses.push(lost);
            self.lose(now, Duration::ZERO);
        } else if end.is_complete() && end.session.inspect().is_at_rest() {
            self.frames += end.books.frames;
            self.phase = Phase::Done;
            self.lingers_until = None;
            if std::mem::take(&mut self.is_moving) && !self.is_leaving {
                self.wait(now);
            }
        } else if self.lingers_until.is_some_and(|until| until <= now) {
            // The server may be another one by now, which knows nothing of it.
            self.lose(now, Duration::ZERO);
        }
    }

    /// The session is lost. What was first sent less than `never_ran_since` ago never ran.
    fn lose(&mut self, now: Instant, never_ran_since: Duration) {
        (self.is_moving, self.lingers_until) = (false, None);
        for call in std::mem::take(&mut self.open) {
            let call = &mut self.calls[call];
            call.outcome = Some(match call.first_sent {
                None => Outcome::NotSent,
                Some(at) if now - at < never_ran_since => Outcome::NeverRan,
                Some(_) => Outcome::Unknown,
            });
        }
        if let Phase::Up { end, .. } = &mut self.phase {
            self.frames += end.books.frames;
            end.session.abort();
            let (up, outer, at) = (&mut self.up, self.outer, now + self.slept);
            end.send(now, |transmit| up.send(at, outer, &transmit.bytes));
        }
        self.wait(now);
    }

    /// When there is something to do next.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let arrives = self.down.next_at();
        if let Some(until) = self.frozen_until {
            return Some(arrives.map_or(until, |at| at.min(until)));
        }
        let own = match &self.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::SettingUp { setup, until } => Some(setup.timeout().min(*until)),
            Phase::Up { end, .. } => {
                let own = [end.next_at(), self.next_call(), self.lingers_until];
                own.into_iter().flatten().min()
            }
            Phase::Done => None,
        };
        arrives.into_iter().chain(own.map(|at| at + self.slept)).min()
    }

    fn next_call(&self) -> Option<Instant> {
        let may = self.open.len() < self.habits.width && self.calls.len() < self.habits.calls;
        if may && !self.is_moving {
            return Some(self.next_call_at);
        }
        (!self.open.is_empty()).then(|| self.next_call_at + KEEPALIVE)
    }
}

/// The reset in a datagram, if it is a proper answer to something that the session sent.
fn reset_of(session: &Session, datagram: &[u8]) -> Option<Reset> {
    let Peek::Setup { kind: Kind::Reset, .. } = packet::peek(datagram)? else { return None };
    Reset::decode(datagram).filter(|reset| session.accepts_reset(reset))
}
