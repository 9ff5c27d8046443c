//! What figures depend on beside the contenders: the machine, its load, its settings.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use crate::driver::{Machine, Plan};

/// Two lines.
pub(crate) fn describe(machine: &Machine) -> String {
    let pinning = match machine.cores {
        Some([server, client]) => format!("server on core {server}, client on core {client}"),
        None => "\n*** NOT PINNED: no two cores to pin to; the figures mean little ***".to_owned(),
    };
    format!(
        "{}; Linux {}; {pinning}; {}\n\
         load average {}; TCP congestion control {}",
        kernel_line("/proc/cpuinfo", "model name\t: "),
        kernel_line("/proc/sys/kernel/osrelease", ""),
        machine.awake.describe(),
        kernel_line("/proc/loadavg", ""),
        kernel_line("/proc/sys/net/ipv4/tcp_congestion_control", ""),
    )
}

/// For a document: the same, with versions and what was measured how often.
pub(crate) fn describe_at_length(machine: &Machine, plan: &Plan) -> String {
    let Plan { rounds, time, .. } = plan;
    let mut out = describe(machine).replace('\n', "  \n");
    let rustc = first_line_of("rustc", &["--version"]);
    let commit = first_line_of("git", &["describe", "--always", "--dirty", "--exclude=*"]);
    write!(out, "  \n{rustc}; commit {commit}").expect("a String takes all that is written");
    let peers: &[_] =
        if cfg!(feature = "peers") { &["tarpc", "tonic", "prost", "capnp-rpc"] } else { &[] };
    for name in ["tokio"].iter().chain(peers) {
        if let Some(version) = locked_version(name) {
            write!(out, "; {name} {version}").expect("a String takes all that is written");
        }
    }
    out + &format!("  \nmedians of {rounds} rounds of {time:?}\n")
}

/// Which version of a crate this was built with, or would be.
fn locked_version(name: &str) -> Option<&'static str> {
    let lock = include_str!("../Cargo.lock");
    let (_, package) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    package.split('"').next()
}

/// What a tool says of itself.
fn first_line_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

/// What follows `prefix` on the first line that has it, in a file that the kernel shows.
fn kernel_line(path: &str, prefix: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix(prefix));
    found.unwrap_or("unknown").to_owned()
}
