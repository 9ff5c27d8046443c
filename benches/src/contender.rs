//! The list of contenders: the one place that knows all of them by name.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::harness::{self, Load};
use crate::sample::Sample;
use crate::scenario::Scenario;
use crate::{ours, raw_mux, raw_pp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    RawPp,
    RawMux,
    Ours,
}

impl Contender {
    pub(crate) const ALL: [Self; 3] = [Self::RawPp, Self::RawMux, Self::Ours];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RawPp => "raw-pp",
            Self::RawMux => "raw-mux",
            Self::Ours => "ours",
        }
    }

    /// The limit that a scenario's ratios are taken against.
    pub(crate) fn limit(scenario: Scenario) -> Self {
        if scenario.is_ping_pong() { Self::RawPp } else { Self::RawMux }
    }

    /// Ping-pong can't overlap calls; all others take every scenario.
    pub(crate) fn takes(self, scenario: Scenario) -> bool {
        self != Self::RawPp || scenario.is_ping_pong()
    }

    /// Starts the server on the current runtime; returns the address it is bound to.
    pub(crate) async fn serve(self, addr: SocketAddr) -> io::Result<SocketAddr> {
        match self {
            Self::RawPp => raw_pp::serve(addr).await,
            Self::RawMux => raw_mux::serve(addr).await,
            Self::Ours => ours::serve(addr).await,
        }
    }

    pub(crate) async fn measure(self, load: Load) -> io::Result<Sample> {
        match self {
            Self::RawPp => harness::measure::<raw_pp::Client>(load).await,
            Self::RawMux => harness::measure::<raw_mux::Client>(load).await,
            Self::Ours => harness::measure::<ours::Client>(load).await,
        }
    }
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|contender| contender.name() == name);
        found.ok_or_else(|| format!("no such contender: {name}"))
    }
}
