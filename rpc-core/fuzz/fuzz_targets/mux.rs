//! The state machine of a connection, against a peer that keeps to no rule.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rpc_core::fuzz::mux(bytes));
