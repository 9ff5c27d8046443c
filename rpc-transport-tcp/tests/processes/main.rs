//! What calls promise when processes are restarted, killed, stopped, run out of files, and meet peers
//! that take their time: real processes over loopback sockets. For one process see `it`.
//!
//! The other processes are this binary, started again with a role (`process`). Needs Linux: `/proc`,
//! signals, and a loopback address for each test.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]
#![allow(clippy::print_stdout, reason = "processes tell by lines, and tests what they measured")]

mod abuse;
mod breaks;
mod crowd;
mod files;
mod kills;
mod lab;
mod load;
mod memory;
mod process;
mod raw;
mod record;
mod restarts;
mod stops;

/// No test: what the other processes run. Does nothing unless a test has started it with a role.
#[test]
fn the_other_process() {
    match process::role().as_deref() {
        Some("server") => lab::serve(),
        Some("crowd") => crowd::stand(),
        Some("client") => load::hold_calls(),
        Some(role) => panic!("no such role: {role}"),
        None => {}
    }
}
