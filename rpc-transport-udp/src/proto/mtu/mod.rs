//! The largest datagram that a path takes, searched by probes (RFC 8899) and given up when large
//! datagrams vanish; it sends nothing, and trusts no ICMP message.

use std::time::{Duration, Instant};

/// What every path has to take, in bytes of UDP payload.
pub(crate) const BASE_BYTES: u16 = 1200;

/// The most that is worth a probe: 1500 bytes of Ethernet without the headers of IPv6 and UDP.
pub(crate) const CEILING_BYTES: u16 = 1452;

/// Sizes that are tried after the largest, in this order: what is left of Ethernet in an overlay
/// network (1450 bytes, as VXLAN has), in WireGuard (1420), and in tunnels within tunnels.
///
/// A binary search would need about as many probes that are acknowledged, and on the usual path,
/// which takes the largest, four instead of one; what it finds between these sizes is below 5 %.
const SIZES: [u16; 3] = [1400, 1372, 1280];

/// Probes of one size that have to be lost before it counts as too large (RFC 8899, section
/// 5.1.2): one may be lost for other reasons.
const TRIES: u8 = 3;

/// After that time the path may have become better (RFC 8899, section 5.1.1).
const RAISE: Duration = Duration::from_secs(600);

/// Bursts of lost datagrams above the base, with nothing above the base acknowledged since, that
/// mean that the path takes no such datagrams any more. Congestion takes small ones too, and lets
/// some large ones pass.
const BURSTS: usize = 3;

/// What size datagrams may have on one path.
///
/// A probe is a packet of its own (PING and PADDING). Its loss is no sign of congestion, and
/// goes to [`on_probe_lost`](Self::on_probe_lost) alone.
#[derive(Debug)]
pub(crate) struct Mtu {
    current: u16,
    /// The largest that this side and the peer take.
    limit: u16,
    search: Search,
    hole: BlackHole,
}

#[derive(Debug)]
enum Search {
    /// `size` is next, unless a probe of it is on its way.
    Active { size: u16, tries: u8, probe: Option<u64> },
    /// Nothing more to find until then; none if there is nothing above `current`.
    Resting { until: Option<Instant> },
}

impl Mtu {
    /// For a new path and a peer that takes datagrams of up to `peer_bytes`.
    pub(crate) fn new(peer_bytes: u16) -> Self {
        let limit = peer_bytes.clamp(BASE_BYTES, CEILING_BYTES);
        let search = Search::after(limit, BASE_BYTES, None);
        Self { current: BASE_BYTES, limit, search, hole: BlackHole::default() }
    }

    /// The largest datagram that may be sent as anything but a probe.
    pub(crate) fn current(&self) -> u16 {
        self.current
    }

    /// The size of a probe that is worth sending now; one is on its way at a time. To be asked
    /// only when there is data to send that larger datagrams would speed up.
    ///
    /// Changes nothing but what the time has changed; [`on_probe_sent`](Self::on_probe_sent) says
    /// that the probe was sent.
    pub(crate) fn poll_probe(&mut self, now: Instant) -> Option<u16> {
        if matches!(self.search, Search::Resting { until: Some(until) } if now >= until) {
            self.search = Search::after(self.limit, self.current, None);
        }
        match self.search {
            Search::Active { size, probe: None, .. } => Some(size),
            Search::Active { .. } | Search::Resting { .. } => None,
        }
    }

    /// The probe that `poll_probe` has asked for is packet `number`.
    pub(crate) fn on_probe_sent(&mut self, number: u64) {
        if let Search::Active { probe, .. } = &mut self.search {
            *probe = Some(number);
        }
    }

    /// A probe is acknowledged; true if larger datagrams may be sent from now on. One that isn't
    /// waited for any more changes nothing.
    pub(crate) fn on_probe_acked(&mut self, now: Instant, number: u64) -> bool {
        let Some((size, _)) = self.probing(number) else { return false };
        self.current = size;
        self.hole.on_acked(number);
        // All larger ones have failed, or there are none.
        let until = (size < self.limit).then(|| now + RAISE);
        self.search = Search::Resting { until };
        true
    }

    /// A probe is lost.
    pub(crate) fn on_probe_lost(&mut self, now: Instant, number: u64) {
        let Some((size, tries)) = self.probing(number) else { return };
        let tries = tries.saturating_add(1);
        self.search = if tries < TRIES {
            Search::Active { size, tries, probe: None }
        } else {
            Search::after(size - 1, self.current, Some(now + RAISE))
        };
    }

    /// The system refused a datagram of `bytes` as too large for its interface. Sizes below are
    /// searched, if need be from the base; true if `current` has changed. At or below the base
    /// there is nothing to give way to.
    pub(crate) fn on_too_large(&mut self, now: Instant, bytes: u16) -> bool {
        if bytes <= BASE_BYTES {
            return false;
        }
        let fell = bytes <= self.current;
        if fell {
            self.fall_back();
        }
        let tried = match self.search {
            Search::Active { size, .. } => size >= bytes,
            Search::Resting { .. } => fell,
        };
        if tried {
            self.search = Search::after(bytes - 1, self.current, Some(now + RAISE));
        }
        fell
    }

    /// A packet of `bytes` that wasn't a probe is acknowledged.
    pub(crate) fn on_packet_acked(&mut self, number: u64, bytes: u16) {
        if bytes > BASE_BYTES {
            self.hole.on_acked(number);
        }
    }

    /// A packet of `bytes` that wasn't a probe is lost. Packets lost at the same time are reported
    /// in the order of their numbers.
    pub(crate) fn on_packet_lost(&mut self, number: u64, bytes: u16) {
        if self.current > BASE_BYTES {
            self.hole.on_lost(number, bytes > BASE_BYTES);
        }
    }

    /// All packets that were lost at this time have been reported. True if `current` has fallen to
    /// the base, because large datagrams don't arrive any more.
    pub(crate) fn on_losses_end(&mut self, now: Instant) -> bool {
        // r[impl mtu.black-hole]
        let fell = self.current > BASE_BYTES && self.hole.is_found();
        if fell {
            self.fall_back();
            self.search = Search::Resting { until: Some(now + RAISE) };
        }
        fell
    }

    fn fall_back(&mut self) {
        self.current = BASE_BYTES;
        self.hole = BlackHole::default();
    }

    /// Size and tries before of the probe with that number.
    fn probing(&self, number: u64) -> Option<(u16, u8)> {
        match self.search {
            Search::Active { size, tries, probe } if probe == Some(number) => Some((size, tries)),
            Search::Active { .. } | Search::Resting { .. } => None,
        }
    }
}

impl Search {
    /// The search for a size of at most `max` that is above `current`. Once `max` itself has been
    /// tried or refused, which is when there is an `again`, only what is in `SIZES` is worth it.
    fn after(max: u16, current: u16, again: Option<Instant>) -> Self {
        let largest = again.is_none().then_some(max);
        let mut sizes = largest.into_iter().chain(SIZES);
        match sizes.find(|&size| size <= max && size > current) {
            Some(size) => Self::Active { size, tries: 0, probe: None },
            None => Self::Resting { until: again },
        }
    }
}

/// Whether datagrams above the base have stopped arriving.
#[derive(Debug, Default)]
struct BlackHole {
    /// The highest number of a large packet that arrived. Losses before it prove nothing.
    arrived: Option<u64>,
    /// Runs of lost packets since, the newest last, and no more than is needed for the verdict.
    bursts: Vec<Burst>,
}

/// Lost packets whose numbers follow each other.
#[derive(Debug)]
struct Burst {
    last: u64,
    /// A small packet was among them, so that size wasn't the reason.
    ordinary: bool,
}

impl BlackHole {
    fn on_acked(&mut self, number: u64) {
        self.arrived = self.arrived.max(Some(number));
        self.bursts.retain(|burst| burst.last > number);
    }

    fn on_lost(&mut self, number: u64, large: bool) {
        if self.arrived.is_some_and(|arrived| arrived > number) {
            return;
        }
        match self.bursts.last_mut() {
            Some(burst) if number.checked_sub(burst.last) == Some(1) => {
                burst.last = number;
                burst.ordinary |= !large;
            }
            _ => {
                // The newest may still turn out to be ordinary.
                self.bursts.retain(|burst| !burst.ordinary);
                if self.bursts.len() > BURSTS {
                    self.bursts.remove(0);
                }
                self.bursts.push(Burst { last: number, ordinary: !large });
            }
        }
    }

    fn is_found(&self) -> bool {
        self.bursts.iter().filter(|burst| !burst.ordinary).count() >= BURSTS
    }
}

#[cfg(test)]
mod tests;
