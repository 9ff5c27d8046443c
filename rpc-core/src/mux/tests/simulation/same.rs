//! A seed does the same each time: the same frames both ways, the same ends. Else no failure could be seen
//! again by its seed.

use std::collections::HashSet;

use super::{Simulation, number, streams};
use crate::testing::checkout;

/// How many, unless `RPC_SEEDS` says otherwise.
const SEEDS: u64 = 100;

#[test]
fn the_same_seed_sends_the_same_frames() {
    let seeds = match number("RPC_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RPC_SEEDS").unwrap_or(SEEDS),
    };
    let mut different = HashSet::new();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let calls = || Simulation::new(seed).traced();
        let (first, second) = (calls(), calls());
        let replay = || {
            let commit = checkout();
            format!("to see it again: RPC_SEED={seed} cargo test -p rpc-core --lib same{commit}")
        };
        assert_eq!(first, second, "calls: {}", replay());
        different.insert(first);
        // A run with streams takes many times as long.
        if seed % 10 == 0 {
            assert_eq!(streams::trace(seed), streams::trace(seed), "streams: {}", replay());
        }
    }
    // Some end before anything is sent.
    assert!(different.len() as u64 * 10 > count * 9, "most seeds do something of their own");
    eprintln!("FIGURE determinism.mux={count}");
}
