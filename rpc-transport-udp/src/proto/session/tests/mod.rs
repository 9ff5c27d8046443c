//! Tests of sessions: two of them over a link that misbehaves, in virtual time.

// Clippy takes a module for tests that is there for nothing else. This one is there for fuzzing, too.
#![allow(clippy::unwrap_used, reason = "these are tests")]

pub(crate) mod fuzz;
mod inspect;
mod link;
mod pair;
mod receiving;

pub(crate) use inspect::Numbers;
use pair::{Faults, Pair};

#[test]
fn frames_arrive_over_a_perfect_link() {
    let mut pair = Pair::new(1, Faults::NONE);
    pair.client.queue(3, 500, 4);
    pair.server.queue(5, 700, 1);
    pair.run();
    pair.check_complete();
}

#[test]
fn frames_arrive_whatever_happens_to_packets() {
    for seed in 0..300 {
        let mut pair = Pair::new(seed, Faults::ALL);
        pair.client.queue(7, 300, 30);
        pair.server.queue(5, 300, 30);
        pair.run();
        pair.check_complete();
    }
}

#[test]
fn a_large_transfer_fills_the_window() {
    let mut pair = Pair::new(2, Faults::NONE);
    pair.client.queue(1, 1120, 20_000);
    pair.run();
    pair.check_complete();
    let stats = pair.stats();
    assert_eq!(stats.lost, 0);
}
