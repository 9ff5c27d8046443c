//! The frames that a session receives, of an honest peer and of another.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rpc_transport_udp::fuzz::receiving(bytes));
