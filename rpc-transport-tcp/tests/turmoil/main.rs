//! What calls promise over TCP when the network is cut, holds segments back and delays them, and the
//! server dies and starts again: rpc-core's client and server in turmoil's simulated network, from
//! seeds. Real sockets are the business of `it`, real processes that of `processes`.
//!
//! A seed makes 500 calls, in a debug build 200: each is another plan, so a seed is replayed by the
//! build that it failed in.
//!
//! ```console
//! RPC_SEEDS=5000 cargo test --release -p rpc-transport-tcp --test turmoil -- --nocapture
//! RPC_SEED=7 cargo test -p rpc-transport-tcp --test turmoil calls
//! ```
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod books;
mod hosts;
mod network;
mod plan;
mod world;

use std::{collections::BTreeMap, env, ops::Range, thread};

use plan::Plan;
use rpc_core::testing::checkout;

/// How many seeds are tried, unless `RPC_SEEDS` says otherwise.
const SEEDS: u64 = 100;

/// How many seeds are run twice, unless it says otherwise.
const TWICE: u64 = 5;

/// What never happened proves nothing.
const ENDS: &[&str] = &[
    "value",
    "left",
    "dropped",
    "stream broke, connection lost",
    "deadline exceeded, NotSent",
    "deadline exceeded, Unknown",
    "connection lost, NotSent",
    "connection lost, Unknown",
    "shutting down, Unknown",
];

#[test]
fn calls_keep_their_promises_whatever_the_network_does() {
    let seeds = seeds(SEEDS);
    let mut ends = BTreeMap::<_, u64>::new();
    for seed in seeds.clone() {
        let _replay = Replay { seed, test: "calls" };
        let plan = Plan::random(seed);
        if number("RPC_SEED").is_some() {
            eprintln!("seed {seed}: {plan:#?}");
        }
        let peaceful = plan.peaceful;
        let books = world::run(seed, plan);
        let violations = books.violations(peaceful);
        assert!(violations.is_empty(), "found: {}", violations.join("\n"));
        for (end, count) in books.ends() {
            *ends.entry(end).or_default() += count;
        }
    }
    eprintln!("turmoil: {ends:?}");
    let missing: Vec<_> = ENDS.iter().filter(|end| !ends.contains_key(**end)).collect();
    assert!(seeds.end - seeds.start < SEEDS || missing.is_empty(), "no call ended so: {missing:?}");
    eprintln!("FIGURE turmoil.seeds={}", seeds.end - seeds.start);
    eprintln!("FIGURE turmoil.calls={}", ends.values().sum::<u64>());
}

#[test]
fn the_same_seed_does_the_same() {
    let seeds = seeds(TWICE);
    for seed in seeds.clone() {
        let _replay = Replay { seed, test: "same" };
        let run = || world::run(seed, Plan::random(seed)).to_text();
        let (first, second) = (run(), run());
        let differs = first.lines().zip(second.lines()).find(|(first, second)| first != second);
        assert_eq!(differs, None, "the second run did something else");
        assert!(first == second, "one of them made more calls");
    }
    eprintln!("FIGURE determinism.turmoil={}", seeds.end - seeds.start);
}

/// The seeds to try.
fn seeds(usual: u64) -> Range<u64> {
    match number("RPC_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RPC_SEEDS").unwrap_or(usual),
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// Says how to see a failure again, whatever panics.
struct Replay {
    seed: u64,
    test: &'static str,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if thread::panicking() {
            let Self { seed, test } = self;
            // A release build makes more calls, so its seeds are others.
            let release = if cfg!(debug_assertions) { "" } else { "--release " };
            let target = "-p rpc-transport-tcp --test turmoil";
            let commit = checkout();
            eprintln!(
                "to see it again: RPC_SEED={seed} cargo test {release}{target} {test}{commit}"
            );
        }
    }
}
