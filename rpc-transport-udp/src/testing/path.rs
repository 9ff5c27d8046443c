//! One direction of a network: what becomes of each datagram, drawn from a seed; no sockets.

use std::time::{Duration, Instant};

use super::Faults;

/// After a pause of so much between two datagrams the second knows nothing of the burst that the first
/// was lost in. Otherwise what is sent again with growing pauses would meet one burst for minutes.
const BURST_MAX: Duration = Duration::from_millis(100);

/// One direction.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) faults: Faults,
    random: fastrand::Rng,
    /// Whether datagrams are being lost in a row.
    in_burst: bool,
    /// When the last datagram was sent.
    last_at: Option<Instant>,
    /// When the last byte that waits will have left, where the path has a rate.
    busy_until: Option<Instant>,
}

/// One copy of a datagram that arrives.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) at: Instant,
    pub(super) marked: bool,
    pub(super) bytes: Vec<u8>,
}

/// What a socket does instead of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Blocks(Duration),
    NoBuffers,
    NotPermitted,
    TooLarge,
    Several,
}

/// What a path has done to datagrams. A datagram counts once for everything that happened to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Datagrams that were sent.
    pub sent: u64,
    /// Those that were lost, to bursts, partitions, small paths and full queues.
    pub lost: u64,
    /// Those that came twice.
    pub duplicated: u64,
    /// Those that were late.
    pub delayed: u64,
    /// Those that came with a wrong bit, or cut off.
    pub damaged: u64,
    /// Send calls that failed.
    pub refused: u64,
}

impl Path {
    pub(super) fn new(faults: Faults, random: fastrand::Rng) -> Self {
        Self { faults, random, in_burst: false, last_at: None, busy_until: None }
    }

    fn hits(&mut self, share: f64) -> bool {
        share > 0.0 && self.random.f64() < share
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.random.f64())
    }

    /// Whether a send call for datagrams of so many bytes fails, of several or one.
    pub(super) fn refuse(&mut self, bytes: usize, are_several: bool) -> Option<Refusal> {
        if bytes > self.faults.interface_bytes {
            return Some(Refusal::TooLarge);
        }
        if are_several && self.faults.one_at_a_time {
            return Some(Refusal::Several);
        }
        if self.hits(self.faults.blocking) {
            let time = self.up_to(self.faults.blocked_for);
            return Some(Refusal::Blocks(time));
        }
        if self.hits(self.faults.no_buffers) {
            return Some(Refusal::NoBuffers);
        }
        self.hits(self.faults.not_permitted).then_some(Refusal::NotPermitted)
    }

    /// Whether the sender is told that nobody is there, although somebody is.
    pub(super) fn refuses_falsely(&mut self) -> bool {
        self.hits(self.faults.refusals)
    }

    /// Whether the sender gets another address.
    pub(super) fn rebinds(&mut self) -> bool {
        self.hits(self.faults.rebinding)
    }

    /// How long something takes that nothing happens to.
    pub(super) fn delay(&mut self) -> Duration {
        let (least, most) = self.faults.delay;
        least + self.up_to(most.saturating_sub(least))
    }

    /// Takes a datagram, and gives what arrives of it.
    pub(super) fn pass(
        &mut self,
        now: Instant,
        datagram: &[u8],
        counts: &mut Counts,
    ) -> Vec<Passed> {
        counts.sent += 1;
        let lost = self.is_lost(now) || datagram.len() > self.faults.path_bytes;
        let departs = self.depart(now, datagram.len());
        let (false, Some(departs)) = (lost, departs) else {
            counts.lost += 1;
            return Vec::new();
        };
        let twice = self.hits(self.faults.duplication);
        counts.duplicated += u64::from(twice);
        (0..=u8::from(twice)).map(|_| self.copy(departs, datagram, counts)).collect()
    }

    /// Whether this one is lost, as the chain of Gilbert and Elliott has it: bursts of a length of
    /// `burst` on average, as far apart as the share asks for.
    fn is_lost(&mut self, now: Instant) -> bool {
        let Faults { loss, burst, .. } = self.faults;
        let burst = burst.max(1.0);
        let last_at = self.last_at.replace(now);
        let is_alone = last_at.is_none_or(|at| now.saturating_duration_since(at) > BURST_MAX);
        self.in_burst = if burst <= 1.0 || is_alone {
            self.hits(loss)
        } else if self.in_burst {
            self.hits(1.0 - 1.0 / burst)
        } else {
            self.hits(loss / (burst * (1.0 - loss).max(f64::MIN_POSITIVE)))
        };
        self.in_burst
    }

    /// When the datagram has left. `None`: there is no room for it.
    fn depart(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let Some(rate) = self.faults.bytes_per_second else { return Some(now) };
        let time =
            |bytes: u64| Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate.max(1));
        let begins = self.busy_until.map_or(now, |until| until.max(now));
        if begins.duration_since(now) > time(self.faults.queue_bytes as u64) {
            return None;
        }
        let departs = begins + time(bytes as u64);
        self.busy_until = Some(departs);
        Some(departs)
    }

    fn copy(&mut self, departs: Instant, datagram: &[u8], counts: &mut Counts) -> Passed {
        let mut bytes = datagram.to_vec();
        let mut at = departs + self.delay();
        if self.hits(self.faults.reordering) {
            at += self.up_to(self.faults.late_by);
            counts.delayed += 1;
        }
        if self.hits(self.faults.bit_flips) && !bytes.is_empty() {
            let place = self.random.usize(..bytes.len());
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << self.random.u8(..8);
            }
            counts.damaged += 1;
        }
        if self.hits(self.faults.truncation) {
            bytes.truncate(self.random.usize(..=bytes.len()));
            counts.damaged += 1;
        }
        Passed { at, marked: self.hits(self.faults.marks), bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_have_the_share_and_the_bursts_that_were_asked_for() {
        let faults = Faults::none().loss(0.3, 3.0);
        let mut path = Path::new(faults, fastrand::Rng::with_seed(1));
        let now = Instant::now();
        let lost: Vec<bool> = (0..100_000).map(|_| path.is_lost(now)).collect();
        let all = lost.iter().filter(|lost| **lost).count();
        let begin = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        assert!((28_500..31_500).contains(&all), "{all}");
        let burst = all as f64 / begin as f64;
        assert!((2.8..3.2).contains(&burst), "{burst}");
    }

    #[test]
    fn a_rate_delays_and_a_full_queue_loses() {
        let faults = Faults::none().rate(1_000_000, 10_000).delay(Duration::ZERO, Duration::ZERO);
        let mut path = Path::new(faults, fastrand::Rng::with_seed(1));
        let (now, mut counts) = (Instant::now(), Counts::default());
        let passed: Vec<Passed> =
            (0..20).flat_map(|_| path.pass(now, &[0; 1000], &mut counts)).collect();
        assert_eq!(passed.len(), 11, "ten that wait, and the one that leaves");
        assert_eq!(passed[10].at - now, Duration::from_millis(11));
        assert_eq!(counts.lost, 9);
    }
}
