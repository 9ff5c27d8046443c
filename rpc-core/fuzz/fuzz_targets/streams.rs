//! The same, with streams.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rpc_core::fuzz::streams(bytes));
