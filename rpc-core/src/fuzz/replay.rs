//! Runs every fuzz target in `cargo test`: the inputs that are committed, and some made from seeds.
//!
//! `RPC_INPUT=path` runs that file alone, `RPC_SEED=x` the input of that seed.

use std::{env, fs, panic, path::Path};

use bincode1::Options;
use serde::{Deserialize, Serialize};

use super::SecondOpinion;
use crate::fuzz;

/// Seeds of an ordinary run. A fuzzer does more in a second.
const SEEDS: u64 = 1000;

/// bincode 1.3.3 in our layout, as strict as we are.
struct Bincode1;

impl SecondOpinion for Bincode1 {
    fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
        let layout = bincode1::DefaultOptions::new().with_fixint_encoding().reject_trailing_bytes();
        layout.deserialize(bytes).ok()
    }

    fn encode<T: Serialize>(value: &T) -> Vec<u8> {
        bincode1::serialize(value).expect("it was decoded")
    }
}

#[test]
fn frame() {
    replay("frame", fuzz::frame);
}

#[test]
#[cfg(feature = "runtime")]
fn framing() {
    replay("framing", fuzz::framing);
}

#[test]
fn codec() {
    replay("codec", fuzz::codec::<Bincode1>);
}

#[test]
fn mux() {
    replay("mux", fuzz::mux);
}

#[test]
fn calls() {
    replay("calls", fuzz::calls);
}

#[test]
fn streams() {
    replay("streams", fuzz::streams);
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
            "to see it again: {variable} cargo test -p rpc-core --lib fuzz::replay::{target}{}",
            crate::testing::checkout(),
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
