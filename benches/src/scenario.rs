//! The shapes of load: what is called, over how many connections, how many calls at a time on each.

use std::str::FromStr;

/// 64 MiB with what is around a payload in a message: the most that ours takes by default.
const LARGEST_BYTES: usize = (64 << 20) - 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    pub(crate) work: Work,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// `add(u64, u64)`.
    Add,
    /// A payload of so many bytes, there and back.
    Echo { bytes: usize },
    /// A new connection for each call, one after the other.
    Connect,
    /// Connections that carry a call each, and then are kept and do nothing.
    Idle,
}

/// What contenders are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// The median, in µs.
    Latency,
    /// Calls per second.
    Rate,
    /// Payloads in one direction, in MB/s.
    Throughput,
    /// Of the server, in KiB per connection.
    Memory,
}

impl Scenario {
    /// Those of a plain `run`.
    pub(crate) const BASIC: [Self; 5] = [
        Self::adds("pingpong", 1, 1),
        Self::adds("1x64", 1, 64),
        Self::adds("1x256", 1, 256),
        Self::adds("16x16", 16, 16),
        Self::adds("64x1", 64, 1),
    ];

    /// Those that the full comparison has beside them.
    pub(crate) const FURTHER: [Self; 7] = [
        Self::adds("1x4", 1, 4),
        Self::adds("1x16", 1, 16),
        Self::echoes("echo-1k", 8, 1 << 10),
        Self::echoes("echo-64k", 8, 64 << 10),
        Self::echoes("echo-1m", 4, 1 << 20),
        Self { name: "connect", connections: 1, in_flight: 1, work: Work::Connect },
        Self { name: "idle", connections: 1000, in_flight: 1, work: Work::Idle },
    ];

    /// How costs grow: with connections, with calls in flight on one or all of them, and with
    /// payloads. (With methods: the contender `ours-many`.)
    pub(crate) const SCALE: [Self; 11] = [
        Self::adds("1x1024", 1, 1024),
        Self::adds("64x16", 64, 16),
        Self::adds("1024x1", 1024, 1),
        // A process may have 20,000 files open where this is measured, and needs some for itself.
        Self::adds("19000x1", 19_000, 1),
        Self::adds("1x4096", 1, 4096),
        Self::adds("100x1024", 100, 1024),
        Self::echoes("echo-1b", 8, 1),
        Self::echoes("echo-16k", 8, 16 << 10),
        Self::echoes("echo-256k", 8, 256 << 10),
        Self::echoes("echo-8m", 2, 8 << 20),
        Self::echoes("echo-64m", 1, LARGEST_BYTES),
    ];

    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::BASIC.into_iter().chain(Self::FURTHER).chain(Self::SCALE)
    }

    const fn adds(name: &'static str, connections: usize, in_flight: usize) -> Self {
        Self { name, connections, in_flight, work: Work::Add }
    }

    const fn echoes(name: &'static str, in_flight: usize, bytes: usize) -> Self {
        Self { name, connections: 1, in_flight, work: Work::Echo { bytes } }
    }

    /// One call at a time: then latency is the figure, otherwise it is calls per second.
    pub(crate) fn is_ping_pong(self) -> bool {
        self.work == Work::Add && self.connections * self.in_flight == 1
    }

    pub(crate) fn figure(self) -> Figure {
        match self.work {
            Work::Add if self.is_ping_pong() => Figure::Latency,
            Work::Add => Figure::Rate,
            Work::Echo { .. } => Figure::Throughput,
            Work::Connect => Figure::Latency,
            Work::Idle => Figure::Memory,
        }
    }
}

impl Figure {
    pub(crate) fn lower_is_better(self) -> bool {
        matches!(self, Self::Latency | Self::Memory)
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::all().find(|scenario| scenario.name == name);
        found.ok_or_else(|| format!("no such scenario: {name}"))
    }
}
