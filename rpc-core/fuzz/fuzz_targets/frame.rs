//! Frames: any bytes, decoded and written again.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rpc_core::fuzz::frame(bytes));
