//! What a server makes of strangers, replays and forgeries, and what its clients make of its
//! restarts. The cases' numbers are those of `spec/cases.md`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    craft::{self, Victim, Writer},
    world::{Config, Faults, Habits, Outcome, PARAMS, Parcel, Phase, Server, World},
};
use crate::proto::{
    packet::{self, DataHeader, Epoch, Init, InitAck, Nonce, Reset, ResetReason, Versions},
    session::Side,
    setup::{Judgement, Refused, SetUpClient},
    table::{Decision, RETENTION, Table},
};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn world(calls: usize) -> World {
    let mut world = World::new(3, Config::DEFAULT);
    world.add_client(Faults::NONE, Faults::NONE, Habits { calls, width: 1, pause: MS });
    world
}

/// Waits until so many calls are done, and everything is at rest.
#[track_caller]
fn settle(world: &mut World) {
    assert!(world.run_until(SECOND * 60, |world| world.clients[0].is_finished()));
    world.pass(SECOND * 2);
}

#[test]
fn calls_during_a_restart_ran_once_never_or_nobody_knows() {
    let mut seen = Vec::new();
    for at in (0..600).step_by(7) {
        for down in [0, 30, 900, 4000] {
            let mut world = World::new(at, Config::DEFAULT);
            let habits = Habits { calls: 30, width: 4, pause: MS * 40 };
            world.add_client(Faults::NONE, Faults::NONE, habits);
            world.pass(MS * u32::try_from(at).unwrap());
            world.restart_server(MS * down);
            assert!(world.run_until(SECOND * 300, |world| world.clients[0].is_finished()));
            world.finish();
            world.check_calls();
            seen.extend(world.clients[0].calls.iter().map(|call| call.outcome));
        }
    }
    for outcome in [Outcome::Done, Outcome::Unknown] {
        assert!(seen.contains(&Some(outcome)), "{outcome:?} never happens");
    }
}

#[test]
fn a_call_that_is_younger_than_the_servers_process_never_ran() {
    // r[verify reset.judge]
    for (pause, expected) in [(4000, Outcome::NeverRan), (500, Outcome::Unknown)] {
        let mut world = world(1);
        settle(&mut world);
        world.restart_server(Duration::ZERO);
        world.pass(MS * pause);
        world.clients[0].habits.calls += 1;
        settle(&mut world);
        let calls = &world.clients[0].calls;
        assert_eq!(calls[1].outcome, Some(expected));
        world.check_calls();
    }
}

#[test]
fn packets_of_an_earlier_process_run_nothing() {
    // r[verify reset.when]
    let mut world = world(5);
    world.clients[0].up.record = Some(Vec::new());
    settle(&mut world);
    let executed = world.executed.clone();
    let from = world.clients[0].outer;
    let recorded = world.clients[0].up.record.take().unwrap();
    world.clients[0].phase = Phase::Done;
    world.restart_server(Duration::ZERO);
    world.pass(MS);
    for bytes in recorded {
        let parcel = Parcel { from, bytes: bytes.clone(), marked: false };
        let answer = world.server.handle_datagram(world.now, parcel).unwrap();
        assert!(answer.len() <= bytes.len());
        // An INIT is answered as every INIT; a packet of a session is told that there is none.
        assert!(InitAck::decode(&answer).is_some() || Reset::decode(&answer).is_some());
    }
    world.pass(SECOND);
    assert_eq!((world.server.begun_sessions, world.executed), (0, executed));
}

#[test]
fn packets_that_come_again_after_their_session_run_nothing() {
    // r[verify session.remember] r[verify session.lookup]
    let mut world = world(5);
    world.clients[0].up.record = Some(Vec::new());
    assert!(world.run_until(SECOND * 60, |world| world.clients[0].is_finished()));
    world.finish();
    let executed = world.executed.clone();
    let from = world.clients[0].outer;
    let recorded = world.clients[0].up.record.take().unwrap();
    // While the session is remembered, and when it no longer is.
    for wait in [Duration::ZERO, Server::MEMORY, SECOND * 3600] {
        world.pass(wait);
        for bytes in &recorded {
            let parcel = Parcel { from, bytes: bytes.clone(), marked: false };
            let answer = world.server.handle_datagram(world.now, parcel).unwrap();
            assert!(InitAck::decode(&answer).is_some() || Reset::decode(&answer).is_some());
        }
        world.pass(SECOND);
        assert_eq!((world.server.begun_sessions, &world.executed), (1, &executed));
    }
    assert_eq!(world.server.table.len(), 0);
}

/// A server, and a first packet with a cookie that it made for an address, one second after its start.
fn offered(from: SocketAddr) -> (Server, InitAck) {
    let now = std::time::Instant::now();
    let mut server = Server::new(now, Config::DEFAULT, fastrand::Rng::with_seed(1));
    let mut init = Vec::new();
    Init { nonce: Nonce(77), params: PARAMS }.encode(&mut init);
    let Decision::Answer(answer) = server.table.handle_datagram(1000, from, &init) else {
        panic!("an INIT without an answer")
    };
    (server, InitAck::decode(&answer).unwrap())
}

/// The packet of a client with this cookie.
fn first_packet(ack: &InitAck) -> Vec<u8> {
    let header = DataHeader { from_server: false, epoch: ack.epoch, session: ack.session, pn: 0 };
    let mut out = Vec::new();
    packet::begin_data(&mut out, header, Some(&ack.cookie));
    out.extend_from_slice(&Writer::new().ping().0);
    packet::finish(&mut out, 0, 0);
    out
}

#[test]
fn a_first_packet_that_comes_a_thousand_times_begins_one_session() {
    let mut world = world(0);
    let (server, ack) = offered(craft::peer());
    world.server = server;
    for _ in 0..1000 {
        let parcel = Parcel { from: craft::peer(), bytes: first_packet(&ack), marked: false };
        assert_eq!(world.server.handle_datagram(world.now + SECOND * 2, parcel), None);
    }
    assert_eq!((world.server.begun_sessions, world.server.table.len()), (1, 1));
}

#[test]
fn a_cookie_of_anything_else_begins_no_session() {
    let (mut server, ack) = offered(craft::peer());
    let mut judge = |at: u64, from: SocketAddr, ack: &InitAck| {
        let packet = first_packet(ack);
        match server.table.handle_datagram(at, from, &packet) {
            Decision::Begin(..) => None,
            Decision::Answer(answer) => Some(Reset::decode(&answer).unwrap().reason),
            other => panic!("{other:?}"),
        }
    };
    let mut other_port = craft::peer();
    other_port.set_port(4001);
    let cookie = Some(ResetReason::Cookie);
    assert_eq!(judge(1001, other_port, &ack), cookie);
    assert_eq!(judge(1001, craft::elsewhere(4000), &ack), cookie);
    assert_eq!(judge(16_001, craft::peer(), &ack), cookie, "too late");
    assert_eq!(judge(999, craft::peer(), &ack), cookie, "too early");
    let session = packet::SessionId(ack.session.0 ^ 1);
    assert_eq!(judge(1001, craft::peer(), &InitAck { session, ..ack }), cookie);
    let epoch = Epoch(ack.epoch.0 ^ 1);
    let unknown = Some(ResetReason::Unknown);
    assert_eq!(judge(1001, craft::peer(), &InitAck { epoch, ..ack }), unknown);
    for at in 0..40 {
        for bit in 0..8 {
            let mut forged = ack;
            forged.cookie[at] ^= 1 << bit;
            assert_eq!(judge(1001, craft::peer(), &forged), cookie, "byte {at}");
        }
    }
    assert_eq!(judge(1001, craft::peer(), &ack), None);
    assert_eq!(judge(16_000, craft::peer(), &ack), None, "just in time");
}

#[test]
fn the_same_nonce_makes_another_session_each_time() {
    // r[verify setup.nonce]
    let (mut server, first) = offered(craft::peer());
    let mut init = Vec::new();
    Init { nonce: Nonce(77), params: PARAMS }.encode(&mut init);
    let Decision::Answer(answer) = server.table.handle_datagram(1001, craft::peer(), &init) else {
        panic!("no answer")
    };
    assert_ne!(InitAck::decode(&answer).unwrap().session, first.session);
}

#[test]
fn a_client_that_was_stopped_for_long_is_not_told_that_its_call_never_ran() {
    let mut world = world(1);
    settle(&mut world);
    // The call is sent and gets lost; then the client stands still for ten minutes.
    world.clients[0].up.is_down = true;
    world.clients[0].habits.calls += 1;
    world.pass(MS * 100);
    world.clients[0].frozen_until = Some(world.now + SECOND * 600);
    world.clients[0].up.is_down = false;
    settle_after(&mut world, SECOND * 700);
    assert_eq!(world.clients[0].calls[1].outcome, Some(Outcome::Unknown));
    // Told by a server that knows nothing of the session: too old to be judged.
    let reset = Reset {
        id: 1,
        epoch: Epoch(1),
        uptime_ms: 1_000_000,
        pn32: 0,
        reason: ResetReason::Unknown,
    };
    let judged = Judgement::of(&reset, Epoch(1), RETENTION);
    assert!(judged.never_ran_since < RETENTION);
    let absurd = Reset { uptime_ms: u64::MAX, ..reset };
    let _ = Judgement::of(&absurd, Epoch(2), Duration::MAX);
    let _ = Judgement::of(&absurd, Epoch(1), Duration::ZERO);
}

fn settle_after(world: &mut World, limit: Duration) {
    assert!(world.run_until(limit, |world| world.clients[0].is_finished()), "{world:?}");
}

#[test]
fn a_full_table_refuses_new_sessions_and_keeps_the_old_ones() {
    let mut world = World::new(9, Config { sessions: 2, ..Config::DEFAULT });
    let habits = Habits { calls: 20, width: 2, pause: MS * 100 };
    for _ in 0..4 {
        world.add_client(Faults::NONE, Faults::NONE, habits);
    }
    world.pass(SECOND * 20);
    let finished = world.clients.iter().filter(|client| client.is_finished()).count();
    assert_eq!((finished, world.server.begun_sessions), (2, 2));
    assert!(world.server.table.counts().refused > 0);
    // The two end. They are remembered for a minute, and only then there is room.
    for client in &mut world.clients {
        client.is_leaving = true;
    }
    world.pass(SECOND * 30);
    assert_eq!(world.server.begun_sessions, 2);
    world.pass(SECOND * 60);
    assert!(world.clients.iter().all(|client| matches!(client.phase, Phase::Done)), "{world:?}");
    world.check_calls();
}

/// As many as cases ask for, in tests that are built for speed.
const FLOOD: u64 = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };

/// An address that a host may have.
fn anywhere(random: &mut fastrand::Rng) -> SocketAddr {
    let ip = [random.u8(1..224), random.u8(..), random.u8(..), random.u8(..)];
    SocketAddr::from((ip, random.u16(1..)))
}

#[test]
fn a_flood_of_inits_from_anywhere_leaves_nothing() {
    // r[verify setup.stateless]
    let (mut server, _) = offered(craft::peer());
    let mut random = fastrand::Rng::with_seed(1);
    let mut init = Vec::new();
    for n in 0..FLOOD {
        init.clear();
        Init { nonce: Nonce(random.u64(..)), params: PARAMS }.encode(&mut init);
        let from = anywhere(&mut random);
        match server.table.handle_datagram(1000 + n / 100, from, &init) {
            Decision::Answer(answer) => assert!(answer.len() * 13 < init.len()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(server.table.len(), 0);
}

#[test]
fn a_flood_of_packets_of_no_session_is_answered_a_thousand_times_a_second() {
    let (mut server, ack) = offered(craft::peer());
    let mut random = fastrand::Rng::with_seed(1);
    let mut answers = 0;
    for n in 0..FLOOD {
        let session = packet::SessionId(random.u64(..));
        let mut cookie = ack.cookie;
        random.fill(&mut cookie);
        let packet = first_packet(&InitAck { session, cookie, ..ack });
        let from = anywhere(&mut random);
        match server.table.handle_datagram(1000 + n * 1000 / FLOOD, from, &packet) {
            Decision::Answer(answer) => {
                assert!(answer.len() <= packet.len());
                answers += 1;
            }
            Decision::Drop => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((answers, server.table.len()), (1000, 0));
    assert_eq!(server.table.counts().resets_withheld, FLOOD - 1000);
}

#[test]
fn resets_that_answer_nothing_are_ignored() {
    // r[verify reset.accept]
    let mut victim = Victim::new(Side::Client);
    victim.push(0, 40);
    assert_eq!(victim.sends().len(), 1);
    let reset = Reset {
        id: craft::ID.0,
        epoch: craft::EPOCH,
        uptime_ms: 99_999,
        pn32: 0,
        reason: ResetReason::Unknown,
    };
    assert!(victim.session.accepts_reset(&reset));
    assert!(!victim.session.accepts_reset(&Reset { id: reset.id ^ 1, ..reset }));
    for pn32 in [1, 2, 1 << 31, u32::MAX] {
        assert!(!victim.session.accepts_reset(&Reset { pn32, ..reset }));
    }
    // What is acknowledged was known to somebody.
    victim.take(&Writer::new().ack(0, 0, &[])).unwrap();
    assert!(!victim.session.accepts_reset(&reset));
}

#[test]
fn nothing_is_reflected_between_servers_or_between_clients() {
    let (mut server, ack) = offered(craft::peer());
    let mut answers = vec![];
    let reasons = [ResetReason::Unknown, ResetReason::Closed, ResetReason::Full];
    for reason in reasons {
        let mut reset = Vec::new();
        let (epoch, uptime_ms) = (ack.epoch, 5);
        Reset { id: ack.session.0, epoch, uptime_ms, pn32: 0, reason }.encode(&mut reset);
        answers.push(reset);
    }
    let mut other = Vec::new();
    ack.encode(&mut other);
    answers.push(other);
    let mut other = Vec::new();
    Versions { nonce: Nonce(1), versions: vec![1] }.encode(&mut other);
    answers.push(other);
    // A packet of a server, of a session that both know.
    answers.push(Victim::new(Side::Client).packet(0, &Writer::new().ping()));
    for datagram in answers {
        let decision = server.table.handle_datagram(1001, craft::peer(), &datagram);
        assert!(matches!(decision, Decision::Drop), "{decision:?}");
    }
    // A client's own packet comes back to it, and a server's to the server.
    for (side, other) in [(Side::Client, Side::Server), (Side::Server, Side::Client)] {
        let mut victim = Victim::new(side);
        let own = Victim::new(other).packet(0, &Writer::new().close(1));
        let worth = victim.take_bytes(craft::peer(), &own);
        assert_eq!(worth, Ok(crate::proto::session::Worth::Nothing));
    }
}

#[test]
fn a_client_of_another_version_is_told_ours() {
    let (mut server, _) = offered(craft::peer());
    let mut init = Vec::new();
    Init { nonce: Nonce(77), params: PARAMS }.encode(&mut init);
    init[0] = init[0] & !7 | 2;
    packet::seal(&mut init);
    let Decision::Answer(answer) = server.table.handle_datagram(1, craft::peer(), &init) else {
        panic!("no answer")
    };
    assert!(answer.len() <= 40);
    let now = std::time::Instant::now();
    let setup = SetUpClient::new(now, craft::peer(), PARAMS, Nonce(77));
    let refused = setup.handle_datagram(&answer).unwrap().unwrap_err();
    assert_eq!(refused, Refused::Version { theirs: vec![1], ours: 1 });
    // An answer to somebody else says nothing.
    let other = SetUpClient::new(now, craft::peer(), PARAMS, Nonce(78));
    assert!(other.handle_datagram(&answer).is_none());
}

#[test]
fn forged_answers_to_an_init_set_nothing_up() {
    let now = std::time::Instant::now();
    let mut setup = SetUpClient::new(now, craft::peer(), PARAMS, Nonce(1));
    assert!(setup.poll_transmit(now).is_some());
    let (_, ack) = offered(craft::peer());
    let mut bytes = Vec::new();
    ack.encode(&mut bytes);
    assert!(setup.handle_datagram(&bytes).is_none(), "another nonce");
    for (id, reason) in
        [(2, ResetReason::Full), (1, ResetReason::Unknown), (1, ResetReason::Other(9))]
    {
        let mut bytes = Vec::new();
        Reset { id, epoch: Epoch(1), uptime_ms: 1, pn32: 0, reason }.encode(&mut bytes);
        assert!(setup.handle_datagram(&bytes).is_none());
    }
}

#[test]
fn sessions_that_have_ended_are_small_and_silent_and_then_forgotten() {
    assert!(Table::<Arc<()>>::ended_bytes() <= 32);
    let mut world = World::new(2, Config { sessions: 100_000, ..Config::DEFAULT });
    let from = craft::peer();
    for n in 0..10_000 {
        let mut init = Vec::new();
        Init { nonce: Nonce(n), params: PARAMS }.encode(&mut init);
        let uptime_ms = world.server.uptime_ms(world.now);
        let Decision::Answer(answer) = world.server.table.handle_datagram(uptime_ms, from, &init)
        else {
            panic!("no answer")
        };
        let ack = InitAck::decode(&answer).unwrap();
        world.meter.note_arrival(from, &init);
        world.meter.note_sent(from, &answer);
        world.arrive(Parcel { from, bytes: first_packet(&ack), marked: false });
        world.server.close(world.now, ack.session.0);
    }
    assert_eq!((world.server.table.len(), world.server.sessions.len()), (10_000, 0));
    let before = world.datagrams;
    world.pass(Server::MEMORY);
    assert_eq!(world.datagrams, before);
    let uptime_ms = world.server.uptime_ms(world.now);
    world.server.table.handle_datagram(uptime_ms, from, &[]);
    assert_eq!(world.server.table.len(), 0);
}
