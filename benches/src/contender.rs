//! The list of contenders: the one place that knows all of them by name.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::harness::{self, Load};
#[cfg(feature = "peers")]
use crate::peers;
use crate::sample::Sample;
use crate::scenario::{Scenario, Work};
use crate::{many, ours, raw_echo, raw_gso, raw_mux, raw_pp, raw_udp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    RawPp,
    RawMux,
    RawEcho,
    Ours,
    UdpPp,
    UdpPlain,
    UdpGso,
    OursUdp,
    /// Ours with hundreds of further methods; for the scale table only.
    OursMany,
    #[cfg(feature = "peers")]
    Tarpc,
    #[cfg(feature = "peers")]
    Tonic,
    #[cfg(feature = "peers")]
    Capnp,
}

/// Calls in flight on all connections together that the buffers of UDP sockets hold. The raw loops
/// repeat nothing, so that with more of them they would lose some and wait for ever.
const IN_FLIGHT_MAX_UDP: usize = 256;

impl Contender {
    /// All that take part in a comparison.
    pub(crate) fn compared() -> impl Iterator<Item = Self> {
        Self::all().filter(|&contender| contender != Self::OursMany)
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [
            Self::RawPp,
            Self::RawMux,
            Self::RawEcho,
            Self::Ours,
            Self::UdpPp,
            Self::UdpPlain,
            Self::UdpGso,
            Self::OursUdp,
            Self::OursMany,
            #[cfg(feature = "peers")]
            Self::Tarpc,
            #[cfg(feature = "peers")]
            Self::Tonic,
            #[cfg(feature = "peers")]
            Self::Capnp,
        ]
        .into_iter()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RawPp => "raw-pp",
            Self::RawMux => "raw-mux",
            Self::RawEcho => "raw-echo",
            Self::Ours => "ours",
            Self::UdpPp => "udp-pp",
            Self::UdpPlain => "udp-plain",
            Self::UdpGso => "udp-gso",
            Self::OursUdp => "ours-udp",
            Self::OursMany => "ours-many",
            #[cfg(feature = "peers")]
            Self::Tarpc => "tarpc",
            #[cfg(feature = "peers")]
            Self::Tonic => "tonic",
            #[cfg(feature = "peers")]
            Self::Capnp => "capnp",
        }
    }

    /// Whether it does nothing but move bytes.
    pub(crate) fn is_raw(self) -> bool {
        use Contender::{RawEcho, RawMux, RawPp, UdpGso, UdpPlain, UdpPp};
        matches!(self, RawPp | RawMux | RawEcho | UdpPp | UdpPlain | UdpGso)
    }

    /// Whether it is another framework.
    pub(crate) fn is_peer(self) -> bool {
        !self.is_raw() && !matches!(self, Self::Ours | Self::OursUdp | Self::OursMany)
    }

    /// In plots: raw loops are grey, and what is over UDP is green.
    pub(crate) fn color(self) -> &'static str {
        match self {
            Self::RawPp | Self::RawMux | Self::RawEcho => "#6b7280",
            Self::UdpPp | Self::UdpPlain => "#86a08f",
            Self::UdpGso => "#3f7d58",
            Self::Ours | Self::OursMany => "#1d4ed8",
            Self::OursUdp => "#059669",
            #[cfg(feature = "peers")]
            Self::Tarpc => "#d97706",
            #[cfg(feature = "peers")]
            Self::Tonic => "#be185d",
            #[cfg(feature = "peers")]
            Self::Capnp => "#7c3aed",
        }
    }

    fn is_over_udp(self) -> bool {
        matches!(self, Self::UdpPp | Self::UdpPlain | Self::UdpGso | Self::OursUdp)
    }

    /// What its figures are compared with: the raw loop over the same kind of socket. No raw loop
    /// over UDP moves payloads that don't fit a datagram, or keeps anything of a connection.
    pub(crate) fn limit(self, scenario: Scenario) -> Self {
        match scenario.work {
            Work::Echo { .. } => Self::RawEcho,
            Work::Idle => Self::RawMux,
            Work::Add if scenario.is_ping_pong() && self.is_over_udp() => Self::UdpPp,
            Work::Add if scenario.is_ping_pong() => Self::RawPp,
            Work::Add | Work::Connect if self.is_over_udp() => Self::UdpPlain,
            Work::Add | Work::Connect => Self::RawMux,
        }
    }

    /// Whether it can carry a load.
    pub(crate) fn takes(self, scenario: Scenario) -> bool {
        let in_flight = scenario.connections * scenario.in_flight;
        let adds = scenario.work == Work::Add;
        match self {
            // It can't overlap calls.
            Self::RawPp | Self::UdpPp => scenario.is_ping_pong(),
            Self::RawMux => !matches!(scenario.work, Work::Echo { .. }),
            Self::RawEcho => matches!(scenario.work, Work::Echo { .. }),
            Self::UdpPlain => {
                adds && in_flight <= IN_FLIGHT_MAX_UDP || scenario.work == Work::Connect
            }
            Self::UdpGso => adds && in_flight <= IN_FLIGHT_MAX_UDP && !scenario.is_ping_pong(),
            // In any of them shows what methods cost that aren't called.
            Self::OursMany => adds && scenario.connections == 1 && scenario.in_flight == 64,
            Self::Ours | Self::OursUdp => true,
            #[cfg(feature = "peers")]
            Self::Tarpc | Self::Tonic | Self::Capnp => true,
        }
    }

    /// Starts the server on the current runtime; returns the address it is bound to.
    pub(crate) async fn serve(self, addr: SocketAddr) -> io::Result<SocketAddr> {
        match self {
            Self::RawPp => raw_pp::serve(addr).await,
            Self::RawMux => raw_mux::serve(addr).await,
            Self::RawEcho => raw_echo::serve(addr).await,
            Self::Ours => ours::serve_tcp(addr).await,
            Self::UdpPp | Self::UdpPlain => raw_udp::serve(addr).await,
            Self::UdpGso => raw_gso::serve(addr).await,
            Self::OursUdp => ours::serve_udp(addr).await,
            Self::OursMany => many::serve(addr).await,
            #[cfg(feature = "peers")]
            Self::Tarpc => peers::tarpc::serve(addr).await,
            #[cfg(feature = "peers")]
            Self::Tonic => peers::tonic::serve(addr).await,
            #[cfg(feature = "peers")]
            Self::Capnp => peers::capnp::serve(addr).await,
        }
    }

    pub(crate) async fn measure(self, load: Load) -> io::Result<Sample> {
        match self {
            Self::RawPp => harness::measure_adds::<raw_pp::Client>(load).await,
            Self::RawMux => harness::measure_adds::<raw_mux::Client>(load).await,
            Self::RawEcho => harness::measure_echoes::<raw_echo::Client>(load).await,
            Self::Ours => harness::measure::<ours::Client<ours::Tcp>>(load).await,
            Self::UdpPp => harness::measure_adds::<raw_udp::InTurns>(load).await,
            Self::UdpPlain => harness::measure_adds::<raw_udp::Client>(load).await,
            Self::UdpGso => harness::measure_adds::<raw_gso::Client>(load).await,
            Self::OursUdp => harness::measure::<ours::Client<ours::Udp>>(load).await,
            Self::OursMany => harness::measure_adds::<many::Client>(load).await,
            #[cfg(feature = "peers")]
            Self::Tarpc => harness::measure::<peers::tarpc::Client>(load).await,
            #[cfg(feature = "peers")]
            Self::Tonic => harness::measure::<peers::tonic::Client>(load).await,
            #[cfg(feature = "peers")]
            Self::Capnp => harness::measure::<peers::capnp::Client>(load).await,
        }
    }
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::all().find(|contender| contender.name() == name);
        found.ok_or_else(|| format!("no such contender: {name}"))
    }
}
