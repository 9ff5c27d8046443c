//! The shapes of load: how many connections, and how many calls in flight on each.

use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
}

impl Scenario {
    pub(crate) const ALL: [Self; 5] = [
        Self { name: "pingpong", connections: 1, in_flight: 1 },
        Self { name: "1x64", connections: 1, in_flight: 64 },
        Self { name: "1x256", connections: 1, in_flight: 256 },
        Self { name: "16x16", connections: 16, in_flight: 16 },
        Self { name: "64x1", connections: 64, in_flight: 1 },
    ];

    /// With a single call in flight latency is the figure; otherwise it is calls per second.
    pub(crate) fn is_ping_pong(self) -> bool {
        self.connections * self.in_flight == 1
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scenario| scenario.name == name);
        found.ok_or_else(|| format!("no such scenario: {name}"))
    }
}
