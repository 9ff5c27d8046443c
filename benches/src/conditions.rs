//! What figures depend on beside the contenders: the machine, its load, its settings.

use std::fs;

use crate::driver::Machine;

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

/// What follows `prefix` on the first line that has it, in a file that the kernel shows.
fn kernel_line(path: &str, prefix: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix(prefix));
    found.unwrap_or("unknown").to_owned()
}
