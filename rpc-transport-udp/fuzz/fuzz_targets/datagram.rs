//! Layouts of datagrams and frames, cookies, and the table of sessions.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rpc_transport_udp::fuzz::datagram(bytes));
