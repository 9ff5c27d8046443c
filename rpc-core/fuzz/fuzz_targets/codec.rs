//! Message bodies, with bincode 1.3.3 as a second opinion.

#![no_main]

use bincode1::Options;
use serde::{Deserialize, Serialize};

/// It reads our layout, and as strictly as we do.
struct Bincode1;

impl rpc_core::fuzz::SecondOpinion for Bincode1 {
    fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
        let layout = bincode1::DefaultOptions::new().with_fixint_encoding().reject_trailing_bytes();
        layout.deserialize(bytes).ok()
    }

    fn encode<T: Serialize>(value: &T) -> Vec<u8> {
        bincode1::serialize(value).expect("it was decoded")
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rpc_core::fuzz::codec::<Bincode1>(bytes));
