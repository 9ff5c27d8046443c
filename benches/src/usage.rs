//! What a server process has used so far, and the line of text that carries it to the driver.

use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use crate::cpu;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    /// Resident, in KiB; zero where the kernel doesn't tell.
    pub(crate) memory_kib: u64,
}

impl Usage {
    /// That of this process.
    pub(crate) fn now() -> io::Result<Self> {
        Ok(Self { cpu: cpu::time()?, memory_kib: resident_kib().unwrap_or(0) })
    }
}

/// Counted page by page: `VmRSS` in `/proc/self/status` may be some hundred pages off.
fn resident_kib() -> Option<u64> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cpu.as_nanos(), self.memory_kib)
    }
}

impl FromStr for Usage {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let (nanos, kib) = line.split_once(' ').ok_or("not two numbers")?;
        let number = |text: &str| text.parse().map_err(|error| format!("{error}"));
        Ok(Self { cpu: Duration::from_nanos(number(nanos)?), memory_kib: number(kib)? })
    }
}
