//! Paths that change: what they take, where they begin, who writes on them. The cases' numbers are
//! those of `spec/cases.md`.

use std::time::Duration;

use super::{
    craft::{Victim, Writer, elsewhere, kinds, peer},
    world::{Client, Config, Faults, Habits, Outcome, Parcel, World},
};
use crate::proto::session::{Side, Worth};

const SECOND: Duration = Duration::from_secs(1);

/// A world with one client that makes calls of up to 40 large frames.
fn busy_world(seed: u64, calls: usize) -> World {
    let config = Config { frames_max: 40, ..Config::DEFAULT };
    let mut world = World::new(seed, config);
    let habits = Habits { calls, width: 64, pause: Duration::ZERO };
    world.add_client(Faults::NONE, Faults::NONE, habits);
    world
}

#[test]
fn a_path_that_takes_smaller_datagrams_than_before_is_found_out() {
    // r[verify mtu.probe] r[verify mtu.black-hole]
    for seed in 0..3 {
        let mut world = busy_world(seed, 1500);
        let is_raised = world.run_until(SECOND * 2, |world| {
            let end = world.clients[0].end();
            end.is_some_and(|end| end.session.inspect().datagram_bytes == 1452)
        });
        assert!(is_raised, "probes find what the path takes");
        world.clients[0].up.faults.bytes_max = 1300;
        world.clients[0].down.faults.bytes_max = 1300;
        let at = world.now;
        assert!(world.run_until(SECOND * 60, |world| world.clients[0].is_finished()));
        assert!(world.now - at < SECOND * 20, "it took {:?}", world.now - at);
        world.finish();
        world.check_calls();
        assert!(world.clients.iter().all(|client: &Client| client.losses.is_empty()));
    }
}

/// Gives the client another address, as its NAT would.
fn rebind(world: &mut World, ip: bool) {
    let outer = &mut world.clients[0].outer;
    outer.set_port(outer.port() + 1);
    if ip {
        outer.set_ip([203, 0, 113, outer.port().to_le_bytes()[0]].into());
    }
}

#[test]
fn a_transfer_goes_on_from_another_address() {
    // r[verify path.switch]
    // The meter sees that nothing much goes to an address before it has answered.
    for (seed, ip) in [(1, false), (2, true), (3, true)] {
        let mut world = busy_world(seed, 1500);
        for _ in 0..5 {
            world.pass(Duration::from_millis(150));
            rebind(&mut world, ip);
        }
        assert!(!world.clients[0].is_finished(), "the transfer is too short");
        assert!(world.run_until(SECOND * 120, |world| world.clients[0].is_finished()));
        world.finish();
        world.check_calls();
        assert_eq!(world.server.begun_sessions, 1);
        assert!(world.clients[0].losses.is_empty());
    }
}

#[test]
fn somebody_who_copies_packets_gets_nothing_but_questions() {
    let mut world = busy_world(7, 300);
    world.clients[0].up.record = Some(Vec::new());
    let mut copied = 0;
    let copier = elsewhere(9);
    // Every packet arrives from another address first: the link takes 10 ms.
    while world.run_until(Duration::from_millis(1), |_| false) || !world.clients[0].is_finished() {
        let record = world.clients[0].up.record.replace(Vec::new()).unwrap();
        for bytes in record {
            copied += 1;
            world.arrive(Parcel { from: copier, bytes, marked: false });
        }
        assert!(world.elapsed() < SECOND * 120, "{world:?}");
    }
    assert!(copied > 500);
    world.clients[0].up.record = None;
    world.finish();
    world.check_calls();
    assert_eq!(world.server.begun_sessions, 1);
    assert!(world.clients[0].losses.is_empty());
}

#[test]
fn an_address_that_never_answers_is_given_up_and_the_old_one_stays() {
    // r[verify path.challenge]
    let mut victim = Victim::new(Side::Server);
    victim.take_from(elsewhere(1), &Writer::new().ping()).unwrap();
    let sent = victim.pass(SECOND * 10).unwrap();
    let asked: Vec<_> = sent.iter().filter(|(to, _)| *to == elsewhere(1)).collect();
    // As many bytes as came from there.
    assert_eq!(asked.iter().map(|(_, datagram)| datagram.len()).sum::<usize>(), 40);
    assert_eq!(kinds(&asked[0].1), ["challenge"]);
    assert_eq!(victim.session.remote(), peer());
    assert_eq!(victim.session.poll_timeout(), None);
    // What it says after that is no proof, and neither is a guess.
    for answer in [[0; 8], [1; 8]] {
        victim.take_from(elsewhere(1), &Writer::new().answer(answer)).unwrap();
        assert_eq!(victim.session.remote(), peer());
    }
}

#[test]
fn a_proof_counts_only_from_the_address_that_was_asked() {
    // r[verify path.switch]
    let mut victim = Victim::new(Side::Server);
    victim.take_from(elsewhere(1), &Writer::new().ping()).unwrap();
    let sent = victim.sends();
    let data = crate::proto::packet::decode_data(&sent[0].1).unwrap();
    let question: [u8; 8] = data.frames[1..9].try_into().unwrap();
    victim.take_from(elsewhere(2), &Writer::new().answer(question)).unwrap();
    assert_eq!(victim.session.remote(), peer());
    // That was the newest packet, so that the question is another one now.
    victim.take_from(elsewhere(1), &Writer::new().answer(question)).unwrap();
    assert_eq!(victim.session.remote(), peer());
    let asked = victim.sends();
    let data = crate::proto::packet::decode_data(&asked.last().unwrap().1).unwrap();
    let question: [u8; 8] = data.frames[1..9].try_into().unwrap();
    victim.take_from(elsewhere(1), &Writer::new().answer(question)).unwrap();
    assert_eq!(victim.session.remote(), elsewhere(1));
}

#[test]
fn clients_dont_follow_their_server_to_another_address() {
    // r[verify path.client]
    let mut victim = Victim::new(Side::Client);
    let taken = victim.take_from(elsewhere(1), &Writer::new().ping());
    assert_eq!(taken, Ok(Worth::Nothing));
    assert!(victim.pass(SECOND).unwrap().is_empty());
}

#[test]
fn packets_from_any_number_of_addresses_cost_one_question_each() {
    let mut victim = Victim::new(Side::Server);
    let mut bytes = 0;
    for port in 1..5000 {
        victim.take_from(elsewhere(port), &Writer::new().ping()).unwrap();
        for (to, datagram) in victim.sends() {
            assert!(to == elsewhere(port) || to == peer());
            bytes += if to == peer() { 0 } else { datagram.len() };
        }
    }
    assert_eq!(bytes, 40 * 4999);
    assert_eq!(victim.session.remote(), peer());
}

#[test]
fn an_application_that_stops_reading_holds_up_its_own_session_only() {
    // Less than the half minute after which a peer is given up, and more.
    for (deaf, outcome) in [(20, Outcome::Done), (60, Outcome::Unknown)] {
        let config = Config { frames_max: 40, ..Config::DEFAULT };
        let mut world = World::new(1, config);
        let habits = Habits { calls: 800, width: 64, pause: Duration::ZERO };
        world.add_client(Faults::NONE, Faults::NONE, habits);
        world.add_client(Faults::NONE, Faults::NONE, habits);
        world.pass(Duration::from_millis(300));
        let first = world.clients[0].calls[0].session.0;
        let end = world.server.sessions.get_mut(&first).unwrap();
        end.deaf_until = Some(world.now + SECOND * deaf);
        assert!(world.run_until(SECOND * 18, |world| world.clients[1].is_finished()));
        assert!(!world.clients[0].is_finished());
        assert!(world.run_until(SECOND * 200, |world| world.clients[0].is_finished()));
        world.finish();
        world.check_calls();
        let calls = &world.clients[0].calls;
        assert!(calls.iter().any(|call| call.outcome == Some(outcome)));
        assert_eq!(world.clients[0].losses.len(), usize::from(outcome == Outcome::Unknown));
    }
}
