//! Tries seeds, and says how to see a failure again.

use std::{collections::BTreeMap, env, ops::Range, thread};

use rpc_core::testing::checkout;

use crate::{network::NAME, plan::Plan, world};

/// How many seeds are tried, unless `RPC_SEEDS` says otherwise: `.ci/seeds` does.
const SEEDS: u64 = 20;

/// How many seeds are run twice, unless it says otherwise.
const TWICE: u64 = 5;

/// So many make every end of a call happen.
const MANY: u64 = 100;

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
    eprintln!("turmoil, {NAME}: {ends:?}");
    let missing: Vec<_> = ENDS.iter().filter(|end| !ends.contains_key(**end)).collect();
    assert!(seeds.end - seeds.start < MANY || missing.is_empty(), "no call ended so: {missing:?}");
    eprintln!("FIGURE turmoil.{NAME}_seeds={}", seeds.end - seeds.start);
    eprintln!("FIGURE turmoil.{NAME}_calls={}", ends.values().sum::<u64>());
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
    eprintln!("FIGURE determinism.turmoil_{NAME}={}", seeds.end - seeds.start);
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
            let target = concat!("-p ", env!("CARGO_PKG_NAME"), " --test turmoil");
            let commit = checkout();
            eprintln!("to see it again: RPC_SEED={seed} cargo test {target} {test}{commit}");
        }
    }
}
