//! Short exchanges of which every datagram meets its fate: lost, repeated, late, damaged. The cases'
//! numbers are those of `spec/cases.md`.

use std::{collections::BTreeSet, time::Duration};

use super::{
    craft::{Victim, Writer},
    world::{Config, Faults, Habits, Outcome, PARAMS, World},
};
use crate::proto::{
    packet::{Epoch, Init, Nonce, Reset, ResetReason, Versions},
    session::{Side, Worth},
    table::Decision,
};

const SECOND: Duration = Duration::from_secs(1);

/// A client that makes a few calls, one of which is larger than a datagram, at the same time.
fn exchange() -> World {
    let config = Config { frames_max: 3, bytes_max: 3000, ..Config::DEFAULT };
    let mut world = World::new(5, config);
    let habits = Habits { calls: 4, width: 4, pause: Duration::ZERO };
    world.add_client(Faults::NONE, Faults::NONE, habits);
    world
}

/// Runs the exchange to its end: every call ran once and was answered.
#[track_caller]
fn complete(world: &mut World) {
    assert!(world.run_until(SECOND * 300, |world| world.clients[0].is_finished()));
    world.finish();
    world.check_calls();
    let calls = &world.clients[0].calls;
    assert!(calls.iter().all(|call| call.outcome == Some(Outcome::Done)), "{calls:?}");
    assert_eq!(world.executed.len(), calls.len());
}

/// How many datagrams the exchange has in each direction, when nothing happens to them.
fn lengths() -> (u64, u64) {
    let mut world = exchange();
    complete(&mut world);
    (world.clients[0].up.sent, world.clients[0].down.sent)
}

#[test]
fn an_exchange_may_lose_any_two_of_its_datagrams() {
    // r[verify loss.again] r[verify setup.retry]
    // r[verify cookie.echo] r[verify cookie.opaque]
    let (up, down) = lengths();
    assert!(up >= 8 && down >= 8, "{up} and {down} datagrams");
    // One beyond: with a loss there are more.
    for first in 0..=up {
        for second in 0..=down {
            let mut world = exchange();
            world.clients[0].up.doomed = BTreeSet::from([first]);
            world.clients[0].down.doomed = BTreeSet::from([second]);
            complete(&mut world);
        }
    }
}

#[test]
fn an_exchange_may_lose_any_row_of_datagrams() {
    let (up, down) = lengths();
    for first in 0..up.max(down) {
        for row in 2..10 {
            let mut world = exchange();
            world.clients[0].up.doomed = (first..first + row).collect();
            world.clients[0].down.doomed = (first..first + row).collect();
            complete(&mut world);
        }
    }
}

#[test]
fn datagrams_that_come_several_times_change_nothing() {
    // r[verify datagram.once] r[verify lane-frame.once] r[verify setup.accept]
    let mut world = exchange();
    for faults in [Faults { repeat: 1000, ..Faults::NONE }, Faults { repeat: 500, ..Faults::NONE }]
    {
        world.clients[0].up.faults = faults;
        world.clients[0].down.faults = faults;
    }
    complete(&mut world);
    assert_eq!(world.server.begun_sessions, 1);
}

#[test]
fn datagrams_may_come_in_any_order() {
    // r[verify lane-frame.order] r[verify loss.detect]
    for seed in 0..10 {
        let config = Config { frames_max: 20, bytes_max: 3000, ..Config::DEFAULT };
        let mut world = World::new(seed, config);
        let faults = Faults { reorder: 1000, late: SECOND * 2, ..Faults::NONE };
        let habits = Habits { calls: 60, width: 60, pause: Duration::ZERO };
        world.add_client(faults, faults, habits);
        complete(&mut world);
    }
}

#[test]
fn thousands_of_calls_over_a_path_that_does_it_all_run_once_each() {
    let faults = Faults {
        lose: 300,
        burst: 3,
        repeat: 300,
        reorder: 300,
        late: Duration::from_millis(50),
        ..Faults::NONE
    };
    let mut world = World::new(4, Config::DEFAULT);
    let calls = if cfg!(debug_assertions) { 1500 } else { 10_000 };
    world.add_client(faults, faults, Habits { calls, width: 64, pause: Duration::ZERO });
    let finished = world.run_until(SECOND * 3000, |world| world.clients[0].is_finished());
    assert!(finished, "{world:?}");
    world.clients[0].up.faults = Faults::NONE;
    world.clients[0].down.faults = Faults::NONE;
    world.finish();
    world.check_calls();
}

/// Datagrams of every kind: those of an exchange, and those that it has none of.
fn datagrams() -> Vec<Vec<u8>> {
    let mut world = exchange();
    world.clients[0].up.record = Some(Vec::new());
    world.clients[0].down.record = Some(Vec::new());
    complete(&mut world);
    let client = &mut world.clients[0];
    let mut all: Vec<_> = client.up.record.take().into_iter().flatten().take(4).collect();
    all.extend(client.down.record.take().into_iter().flatten().take(4));
    for side in [Side::Client, Side::Server] {
        let victim = Victim::new(side);
        let frames = Writer::new().ping().ack(0, 0, &[]).challenge([1; 8]).answer([2; 8]);
        all.push(victim.packet(0, &frames.lane(0, 0, 0, b"hello").fin(1)));
        all.push(victim.packet(0, &Writer::new().close(1)));
    }
    let mut reset = Vec::new();
    let reason = ResetReason::Unknown;
    let (id, pn32) = (super::craft::ID.0, 0);
    Reset { id, epoch: Epoch(9), uptime_ms: 99_999, pn32, reason }.encode(&mut reset);
    let mut versions = Vec::new();
    Versions { nonce: Nonce(3), versions: vec![2, 3] }.encode(&mut versions);
    let mut init = Vec::new();
    Init { nonce: Nonce(3), params: PARAMS }.encode(&mut init);
    all.extend([reset, versions, init]);
    all
}

/// Gives a datagram to a server, to sessions of both sides, and to whoever reads resets.
#[track_caller]
fn is_dropped(world: &mut World, victims: &mut [Victim], bytes: &[u8]) {
    let from = super::craft::peer();
    let decision = world.server.table.handle_datagram(1, from, bytes);
    assert!(matches!(decision, Decision::Drop), "{decision:?}");
    assert_eq!((Reset::decode(bytes), Versions::decode(bytes)), (None, None));
    for victim in victims {
        let before = victim.session.inspect();
        assert_eq!(victim.take_bytes(from, bytes), Ok(Worth::Nothing));
        assert_eq!(victim.session.inspect(), before);
    }
}

#[test]
fn a_bit_that_flips_anywhere_makes_any_datagram_worthless() {
    let mut world = exchange();
    let mut victims = [Victim::new(Side::Client), Victim::new(Side::Server)];
    for datagram in datagrams() {
        for at in 0..datagram.len() {
            // All bits of what has a meaning, one of the rest.
            let bits = if at < 130 { 0..8 } else { at % 8..at % 8 + 1 };
            for bit in bits {
                let mut damaged = datagram.clone();
                damaged[at] ^= 1 << bit;
                is_dropped(&mut world, &mut victims, &damaged);
            }
        }
    }
}

#[test]
fn datagrams_that_are_cut_or_longer_are_worthless() {
    let mut world = exchange();
    let mut victims = [Victim::new(Side::Client), Victim::new(Side::Server)];
    for datagram in datagrams() {
        for length in 0..datagram.len() {
            is_dropped(&mut world, &mut victims, &datagram[..length]);
        }
        // The last is the longest there is: 65,507 bytes.
        for more in (1..=1600 - datagram.len()).chain([65_507 - datagram.len()]) {
            let mut longer = datagram.clone();
            longer.resize(datagram.len() + more, 0);
            is_dropped(&mut world, &mut victims, &longer);
        }
    }
}
