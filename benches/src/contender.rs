//! The list of contenders: the one place that knows all of them by name.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::harness::{self, Load};
use crate::sample::Sample;
use crate::scenario::Scenario;
use crate::{ours, raw_mux, raw_pp, raw_udp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    RawPp,
    RawMux,
    Ours,
    UdpPp,
    UdpPlain,
    OursUdp,
}

impl Contender {
    pub(crate) const ALL: [Self; 6] =
        [Self::RawPp, Self::RawMux, Self::Ours, Self::UdpPp, Self::UdpPlain, Self::OursUdp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RawPp => "raw-pp",
            Self::RawMux => "raw-mux",
            Self::Ours => "ours",
            Self::UdpPp => "udp-pp",
            Self::UdpPlain => "udp-plain",
            Self::OursUdp => "ours-udp",
        }
    }

    /// What its figures are compared with: the raw loop over the same kind of socket.
    pub(crate) fn limit(self, scenario: Scenario) -> Self {
        match (self, scenario.is_ping_pong()) {
            (Self::RawPp | Self::RawMux | Self::Ours, true) => Self::RawPp,
            (Self::RawPp | Self::RawMux | Self::Ours, false) => Self::RawMux,
            (Self::UdpPp | Self::UdpPlain | Self::OursUdp, true) => Self::UdpPp,
            (Self::UdpPp | Self::UdpPlain | Self::OursUdp, false) => Self::UdpPlain,
        }
    }

    /// Ping-pong can't overlap calls; all others take every scenario.
    pub(crate) fn takes(self, scenario: Scenario) -> bool {
        !matches!(self, Self::RawPp | Self::UdpPp) || scenario.is_ping_pong()
    }

    /// Starts the server on the current runtime; returns the address it is bound to.
    pub(crate) async fn serve(self, addr: SocketAddr) -> io::Result<SocketAddr> {
        match self {
            Self::RawPp => raw_pp::serve(addr).await,
            Self::RawMux => raw_mux::serve(addr).await,
            Self::Ours => ours::serve_tcp(addr).await,
            Self::UdpPp | Self::UdpPlain => raw_udp::serve(addr).await,
            Self::OursUdp => ours::serve_udp(addr).await,
        }
    }

    pub(crate) async fn measure(self, load: Load) -> io::Result<Sample> {
        match self {
            Self::RawPp => harness::measure::<raw_pp::Client>(load).await,
            Self::RawMux => harness::measure::<raw_mux::Client>(load).await,
            Self::Ours => harness::measure::<ours::TcpClient>(load).await,
            Self::UdpPp => harness::measure::<raw_udp::InTurns>(load).await,
            Self::UdpPlain => harness::measure::<raw_udp::Client>(load).await,
            Self::OursUdp => harness::measure::<ours::UdpClient>(load).await,
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
