//! What calls over UDP promise over the real kernel: networks that lose, repeat, damage and block
//! datagrams, and processes that die. For networks in memory see `it`.
//!
//! Every test has network namespaces of its own, and is this binary started again inside of one
//! (`lab`); other processes are this binary with a role (`process`). Needs Linux, root, `ip`, `nft`
//! and `tc`: where namespaces or rules can't be made, each test says `SKIPPED` on stderr, and why.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]
#![allow(clippy::print_stdout, reason = "processes tell by lines, and tests what they measured")]

mod addresses;
mod bottleneck;
mod errors;
mod faults;
mod flood;
mod holes;
mod idle;
mod lab;
mod lives;
mod load;
mod memory;
mod mtu;
// Processes and their records are the same for every transport.
#[allow(dead_code, reason = "the tests of TCP use the rest")]
#[path = "../../../rpc-transport-tcp/tests/processes/process.rs"]
mod process;
mod rebinding;
#[allow(dead_code, reason = "the tests of TCP use the rest")]
#[path = "../../../rpc-transport-tcp/tests/processes/record.rs"]
mod record;
mod relay;
mod service;

/// No test: what the other processes run. Does nothing unless a test has started it with a role.
#[test]
fn the_other_process() {
    match process::role().as_deref() {
        Some("server") => service::serve(),
        Some("client") => load::hold_calls(),
        Some("crowd") => memory::stand(),
        Some("sink") => bottleneck::take(),
        Some(role) => panic!("no such role: {role}"),
        None => {}
    }
}
