//! A session, against a peer that keeps to no rule.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rpc_transport_udp::fuzz::session(bytes));
