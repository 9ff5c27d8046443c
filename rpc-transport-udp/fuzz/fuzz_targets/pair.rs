//! Two sessions over a network that does its worst.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rpc_transport_udp::fuzz::pair(bytes));
