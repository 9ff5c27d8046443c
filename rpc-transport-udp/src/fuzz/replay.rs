//! Runs every fuzz target in `cargo test`: the inputs that are committed, and some made from seeds.
//!
//! `RPC_INPUT=path` runs that file alone, `RPC_SEED=x` the input of that seed.

use std::{env, fs, panic, path::Path};

use crate::fuzz;

/// Seeds of an ordinary run. A fuzzer does more in a second.
const SEEDS: u64 = 1000;

#[test]
fn datagram() {
    replay("datagram", fuzz::datagram);
}

#[test]
fn receiving() {
    replay("receiving", fuzz::receiving);
}

#[test]
fn session() {
    replay("session", fuzz::session);
}

#[test]
fn pair() {
    replay("pair", fuzz::pair);
}

fn replay(target: &str, run: fn(&[u8])) {
    if let Ok(path) = env::var("RPC_INPUT") {
        return run(&fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")));
    }
    if let Some(seed) = env::var("RPC_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(&made_of(seed));
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&corpus).expect("the corpus of this target") {
        let path = entry.expect("a directory entry").path();
        let bytes = fs::read(&path).expect("an input");
        attempt(target, &format!("RPC_INPUT={}", path.display()), || run(&bytes));
        count += 1;
    }
    assert!(count > 0, "no inputs in {}", corpus.display());
    for seed in 0..SEEDS {
        attempt(target, &format!("RPC_SEED={seed}"), || run(&made_of(seed)));
    }
}

fn attempt(target: &str, variable: &str, run: impl FnOnce() + panic::UnwindSafe) {
    if let Err(panicked) = panic::catch_unwind(run) {
        eprintln!(
            "to see it again: {variable} cargo test -p rpc-transport-udp --lib fuzz::replay::{target}{}",
            rpc_core::testing::checkout(),
        );
        panic::resume_unwind(panicked);
    }
}

/// Bytes of SplitMix64, of which many are small.
fn made_of(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    };
    let length = next() % 400;
    let small = next() % 4;
    let byte = |number: u64| {
        let [byte, choice, ..] = number.to_le_bytes();
        if u64::from(choice) % 4 < small { byte % 4 } else { byte }
    };
    (0..length).map(|_| byte(next())).collect()
}
