//! The server of the model: the real table decides, real datagrams go in and come out; what a session
//! does with frames is a set of numbers.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{
    Bounds, Mutant, TICK,
    net::{Frame, Names, Offer, Offered, Packet, Place},
};
use crate::proto::{
    cookie::CookieKey,
    packet::{
        self, DataHeader, Epoch, Init, InitAck, Kind, Nonce, Params, Peek, Reset, ResetReason,
        SessionId,
    },
    setup::Judgement,
    table::{Beginning, Decision, Table, TableConfig, Welcome, snapshot::Snapshot},
};

/// The epochs of the first and the second process. Their low halves are the same, so that the check
/// of those in data packets helps nothing.
const EPOCHS: [Epoch; 2] = [Epoch(0x0001_0007), Epoch(0x0002_0007)];

const PARAMS: Params = Params { datagram_bytes: 1452, ack_delay_ms: 5, window: 4096, features: 0 };

/// One process of the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Process {
    /// Whether it is the first or the second.
    pub(super) run: usize,
    /// When it began, in ticks.
    pub(super) begun: u8,
    /// What its table knows. A session is the set of frame numbers that it has executed.
    pub(super) table: Snapshot<u8>,
}

/// What a packet led to.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) process: Process,
    /// The request that it executed.
    pub(super) executed: Option<u8>,
    pub(super) answers: Vec<Packet>,
}

/// What all processes have in common.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) bounds: Bounds,
    pub(super) mutant: Option<Mutant>,
}

impl Process {
    pub(super) fn new(run: usize, begun: u8) -> Self {
        Self {
            run,
            begun,
            table: Snapshot { live: vec![], ended: vec![], welcome: Welcome::Everybody },
        }
    }
}

impl Server {
    pub(super) fn is(&self, mutant: Mutant) -> bool {
        use Mutant::{CookieOfAnySession, CookieRefreshed, CookieRefreshedAndOfAnySession};
        self.mutant == Some(mutant)
            || self.mutant == Some(CookieRefreshedAndOfAnySession)
                && matches!(mutant, CookieRefreshed | CookieOfAnySession)
    }

    /// What a process' clock says.
    pub(super) fn uptime_ms(&self, process: &Process, now: u8) -> u64 {
        let true_ms = u64::from(now - process.begun) * millis(TICK);
        if self.bounds.is_clock_fast { true_ms + true_ms / 2 } else { true_ms }
    }

    fn epoch(&self, run: usize) -> Epoch {
        EPOCHS[if self.is(Mutant::EpochKept) { 0 } else { run }]
    }

    fn table(&self, process: &Process, is_full: bool, snapshot: &Snapshot<u8>) -> Table<u8> {
        // Without the epoch, a cookie is that of any process with the same key.
        let run = if self.is(Mutant::CookieOfAnyEpoch) { 0 } else { process.run };
        let config = TableConfig {
            epoch: self.epoch(run),
            params: PARAMS,
            sessions: if is_full { 0 } else { 8 },
            cookie_lifetime: TICK * self.bounds.cookie_lifetime.into(),
            retention: TICK * self.bounds.retention.into(),
        };
        let is_key_kept = self.is(Mutant::KeyKept) || self.is(Mutant::CookieOfAnyEpoch);
        let material = if is_key_kept || process.run == 0 { 1 } else { 2 };
        Table::restore(config, CookieKey::new(&[material; CookieKey::BYTES]), snapshot)
    }

    /// A session ends, for whatever reason.
    pub(super) fn end(&self, process: &Process, now: u8, session: SessionId) -> Process {
        let uptime_ms = self.uptime_ms(process, now);
        let mut table = self.table(process, false, &process.table);
        table.end(uptime_ms, session);
        let mut table = table.snapshot();
        let forgotten = |it: &mut Snapshot<u8>| it.ended.retain(|(_, id)| *id != session);
        if self.is(Mutant::EndedForgotten) {
            forgotten(&mut table);
        }
        if self.is(Mutant::EndedForgottenBeforeCookie) {
            forgotten(&mut table);
            let ticks = self.bounds.cookie_lifetime - 1;
            table.ended.push((uptime_ms + millis(TICK * ticks.into()), session));
        }
        Process { table, ..process.clone() }
    }

    /// A packet arrives.
    pub(super) fn handle(
        &self,
        process: &Process,
        now: u8,
        packet: &Packet,
        is_full: bool,
        offers: &Names<Offered>,
    ) -> Outcome {
        let known = &process.table;
        if let (true, Packet::Data { cookie: Some(_), session, .. }) =
            (self.is(Mutant::CookieFirst), packet)
        {
            let none = Snapshot { live: vec![], ended: vec![], welcome: known.welcome };
            let begun = self.decide(process, now, packet, is_full, offers, &none);
            if begun.executed.is_some() {
                let id = SessionId(offers.value(*session).id);
                return Outcome { process: forced(process, id, &begun.process), ..begun };
            }
        }
        self.decide(process, now, packet, is_full, offers, known)
    }

    fn decide(
        &self,
        process: &Process,
        now: u8,
        packet: &Packet,
        is_full: bool,
        offers: &Names<Offered>,
        known: &Snapshot<u8>,
    ) -> Outcome {
        let uptime_ms = self.uptime_ms(process, now);
        let mut table = self.table(process, is_full, known);
        let (from, datagram) = encode(packet, offers);
        let mut answers = Vec::new();
        let mut begins = None;
        match table.handle_datagram(uptime_ms, from, &datagram) {
            Decision::Deliver(_) => {}
            Decision::Begin(beginning) => begins = Some(beginning),
            Decision::Answer(answer) => {
                begins = self.begins_all_the_same(process, now, packet, &answer, offers);
                if begins.is_none() {
                    answers.extend(self.answer(process, packet, &answer, offers));
                }
            }
            Decision::Drop => {}
        }
        if let Some(beginning) = begins {
            table.insert(uptime_ms, beginning, 0);
        }
        let mut process = Process { table: table.snapshot(), ..process.clone() };
        let mut executed = None;
        if let Packet::Data { session, frame, .. } = packet {
            let id = SessionId(offers.value(*session).id);
            if let Some((_, seen)) = process.table.live.iter_mut().find(|(it, _)| *it == id) {
                executed = self.run(seen, *frame);
                answers.push(Packet::Reply { session: *session, number: None });
                let number = frame.map(|it| it.number);
                answers.extend(number.map(|_| Packet::Reply { session: *session, number }));
            }
        }
        Outcome { process, executed, answers }
    }

    /// What a live session does with a frame: executes it, unless it has done so.
    fn run(&self, seen: &mut u8, frame: Option<Frame>) -> Option<u8> {
        let Frame { number, request } = frame?;
        let is_new = *seen & (1 << number) == 0 || self.is(Mutant::FramesNotCounted);
        *seen |= 1 << number;
        is_new.then_some(request)
    }

    /// Mutants that take a session where the table has none.
    fn begins_all_the_same(
        &self,
        process: &Process,
        now: u8,
        packet: &Packet,
        answer: &[u8],
        offers: &Names<Offered>,
    ) -> Option<Beginning> {
        let &Packet::Data { session, cookie, frame, from } = packet else { return None };
        let id = SessionId(offers.value(session).id);
        let begins = Beginning { session: id, theirs: PARAMS, issued_ms: 0 };
        let reason = Reset::decode(answer)?.reason;
        if self.is(Mutant::CookieNotNeeded) && cookie.is_none() && reason == ResetReason::Unknown {
            return Some(begins);
        }
        if self.is(Mutant::CookieOfAnySession) && reason == ResetReason::Cookie {
            // As if its id were the one of its cookie.
            let other = Packet::Data { session: cookie?, cookie, frame, from };
            let (from, datagram) = encode(&other, offers);
            let mut table = self.table(process, false, &Process::new(0, 0).table);
            let uptime_ms = self.uptime_ms(process, now);
            let decision = table.handle_datagram(uptime_ms, from, &datagram);
            return matches!(decision, Decision::Begin(_)).then_some(begins);
        }
        None
    }

    /// What the client gets to read of an answer of the table.
    fn answer(
        &self,
        process: &Process,
        packet: &Packet,
        answer: &[u8],
        offers: &Names<Offered>,
    ) -> Option<Packet> {
        let epoch = self.epoch(process.run);
        match *packet {
            Packet::Init { nonce, .. } => {
                let mut bytes = answer.to_vec();
                if let Some(ack) = InitAck::decode(answer) {
                    bytes.clear();
                    InitAck { epoch, ..ack }.encode(&mut bytes);
                }
                Some(Packet::Answer { nonce, bytes })
            }
            Packet::Data { session, .. } => {
                let reset = Reset { epoch, ..Reset::decode(answer).expect("a reset") };
                let offered = offers.value(session);
                assert_eq!(reset.id, offered.id);
                let never_ran_since = self.judge(&reset, offered);
                Some(Packet::Reset { session, never_ran_since })
            }
            _ => None,
        }
    }

    /// What the client makes of a reset, apart from what it has sent when.
    fn judge(&self, reset: &Reset, offered: &Offered) -> Duration {
        let Offered { epoch, retention, .. } = *offered;
        let judged = Judgement::of(reset, epoch, retention).never_ran_since;
        let uptime = Duration::from_millis(reset.uptime_ms);
        if reset.epoch != epoch {
            return match self.mutant {
                Some(Mutant::OtherEpochNeverRan) => Duration::MAX,
                Some(Mutant::OtherEpochByRetention) => retention - TICK,
                Some(Mutant::UptimeWithoutSlack) => uptime,
                Some(Mutant::UptimeWithoutLimit) => uptime.saturating_sub(TICK),
                _ => judged,
            };
        }
        match (self.mutant, reset.reason) {
            (Some(Mutant::ClosedNeverRan), ResetReason::Closed)
            | (Some(Mutant::CookieNeverRan), ResetReason::Cookie)
            | (Some(Mutant::FullNeverRan), ResetReason::Full)
            | (Some(Mutant::UnknownNeverRan), ResetReason::Unknown) => Duration::MAX,
            (Some(Mutant::CookieByRetention), ResetReason::Cookie) => retention - TICK,
            (Some(Mutant::RetentionTooLong), ResetReason::Unknown) => retention + 2 * TICK,
            (Some(Mutant::RetentionWithoutSlack), ResetReason::Unknown) => retention,
            _ => judged,
        }
    }
}

/// The process with a session that it took from a cookie, whatever it knew of it.
fn forced(process: &Process, id: SessionId, begun: &Process) -> Process {
    let mut table = process.table.clone();
    table.ended.retain(|(_, it)| *it != id);
    table.live.retain(|(it, _)| *it != id);
    table.live.extend(begun.table.live.iter().filter(|(it, _)| *it == id));
    table.live.sort_unstable();
    Process { table, ..process.clone() }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("short")
}

/// The client's address.
pub(super) fn address(place: Place) -> SocketAddr {
    let port = match place {
        Place::First => 1001,
        Place::Second => 1002,
    };
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A packet of the client, as the table sees it. What is behind header and cookie is the session's
/// business, and so is the packet number: any reset is taken for an answer to a packet under way.
fn encode(packet: &Packet, offers: &Names<Offered>) -> (SocketAddr, Vec<u8>) {
    let mut out = Vec::new();
    match *packet {
        Packet::Init { nonce, from } => {
            Init { nonce: Nonce(nonce), params: PARAMS }.encode(&mut out);
            (address(from), out)
        }
        Packet::Data { session, cookie, from, .. } => {
            let Offered { id, epoch, .. } = *offers.value(session);
            let cookie = cookie.map(|it: Offer| offers.value(it).cookie);
            let session = SessionId(id);
            let header = DataHeader { from_server: false, epoch, session, pn: 0 };
            packet::begin_data(&mut out, header, cookie.as_ref());
            packet::finish(&mut out, 0, 0);
            (address(from), out)
        }
        _ => unreachable!("no packet of a client"),
    }
}

/// Whether an answer to an INIT refuses a session.
pub(super) fn is_refusal(bytes: &[u8]) -> bool {
    matches!(packet::peek(bytes), Some(Peek::Setup { kind: Kind::Reset, .. }))
}
