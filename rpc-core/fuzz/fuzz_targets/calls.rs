//! Two state machines that call each other over a link whose lanes overtake.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rpc_core::fuzz::calls(bytes));
