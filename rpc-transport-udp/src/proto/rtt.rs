//! How long a datagram and its acknowledgement take (RFC 9002, section 5); it sets no timers.

use std::time::{Duration, Instant};

/// What is assumed before anything is known (RFC 9002, section 6.2.2).
const INITIAL: Duration = Duration::from_millis(333);

/// The finest timer that senders have (RFC 9002, section 6.1.2).
const GRANULARITY: Duration = Duration::from_millis(1);

/// A longer sample says that a process or a machine was stopped, and nothing about the path. It also
/// keeps sums far from overflow.
const SAMPLE_MAX: Duration = Duration::from_secs(60);

/// An estimate of the round-trip time of one path.
#[derive(Debug, Clone)]
pub(crate) struct Rtt {
    latest: Duration,
    smoothed: Duration,
    var: Duration,
    min: Duration,
    first_sample: Option<Instant>,
}

impl Rtt {
    pub(crate) fn new() -> Self {
        Self {
            latest: INITIAL,
            smoothed: INITIAL,
            var: INITIAL / 2,
            min: INITIAL,
            first_sample: None,
        }
    }

    /// Takes a sample: the largest packet of an ACK, if it is acknowledged for the first time and
    /// asked for an acknowledgement. `ack_delay` is what the peer says it waited, and at most what
    /// it had announced as the longest that it waits.
    pub(crate) fn update(&mut self, latest: Duration, ack_delay: Duration, now: Instant) {
        let latest = latest.min(SAMPLE_MAX);
        self.latest = latest;
        if self.first_sample.is_none() {
            self.first_sample = Some(now);
            self.min = latest;
            self.smoothed = latest;
            self.var = latest / 2;
            return;
        }
        self.min = self.min.min(latest);
        // A delay that would make this the shortest round trip ever isn't believed.
        let adjusted = latest.checked_sub(ack_delay).filter(|rest| *rest >= self.min);
        let adjusted = adjusted.unwrap_or(latest);
        self.var = (self.var * 3 + self.smoothed.abs_diff(adjusted)) / 4;
        self.smoothed = (self.smoothed * 7 + adjusted) / 8;
    }

    /// After persistent congestion the path may be another one, so its minimum is no longer known
    /// (RFC 9002, section 5.2).
    pub(crate) fn on_persistent_congestion(&mut self) {
        self.min = self.latest;
    }

    pub(crate) fn has_sample(&self) -> bool {
        self.first_sample.is_some()
    }

    /// When the first sample was taken. Packets sent before count for no persistent congestion
    /// (RFC 9002, section 7.6.2): what was assumed about the path may have been far too short.
    pub(crate) fn first_sample(&self) -> Option<Instant> {
        self.first_sample
    }

    /// 333 ms before the first sample.
    pub(crate) fn smoothed(&self) -> Duration {
        self.smoothed
    }

    #[cfg(any(fuzzing, test))]
    pub(crate) fn var(&self) -> Duration {
        self.var
    }

    #[cfg(any(fuzzing, test))]
    pub(crate) fn latest(&self) -> Duration {
        self.latest
    }

    #[cfg(any(fuzzing, test))]
    pub(crate) fn min(&self) -> Duration {
        self.min
    }

    /// How long to wait for an acknowledgement before a probe is sent; without the doubling for
    /// each probe that went before. `max_ack_delay` is the peer's.
    pub(crate) fn pto(&self, max_ack_delay: Duration) -> Duration {
        let spread = (self.var * 4).max(GRANULARITY);
        (self.smoothed + spread).saturating_add(max_ack_delay)
    }

    /// How much later than a packet another one has to have been sent, once that is acknowledged,
    /// for the first to count as lost.
    pub(crate) fn loss_delay(&self) -> Duration {
        (self.smoothed.max(self.latest) * 9 / 8).max(GRANULARITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn sampled(samples: &[(u32, u32)]) -> Rtt {
        let mut rtt = Rtt::new();
        let now = Instant::now();
        for &(latest, ack_delay) in samples {
            rtt.update(MS * latest, MS * ack_delay, now);
        }
        rtt
    }

    #[test]
    fn before_any_sample_a_probe_waits_a_second() {
        let rtt = Rtt::new();
        assert!(!rtt.has_sample());
        assert_eq!(rtt.pto(Duration::ZERO), MS * 999);
        assert_eq!(rtt.loss_delay(), MS * 333 * 9 / 8);
    }

    #[test]
    fn the_first_sample_replaces_what_was_assumed() {
        let rtt = sampled(&[(100, 25)]);
        assert!(rtt.has_sample() && rtt.first_sample().is_some());
        assert_eq!((rtt.smoothed(), rtt.var(), rtt.min()), (MS * 100, MS * 50, MS * 100));
        assert_eq!(rtt.pto(MS * 25), MS * 325);
    }

    #[test]
    fn later_samples_count_an_eighth_and_a_quarter() {
        let rtt = sampled(&[(100, 0), (180, 0)]);
        assert_eq!((rtt.smoothed(), rtt.var()), (MS * 110, (MS * 150 + MS * 80) / 4));
        assert_eq!((rtt.latest(), rtt.min()), (MS * 180, MS * 100));
        assert_eq!(rtt.loss_delay(), MS * 180 * 9 / 8);
    }

    #[test]
    fn the_peers_delay_is_taken_off_unless_that_makes_a_new_minimum() {
        assert_eq!(sampled(&[(100, 0), (180, 80)]).smoothed(), MS * 100);
        assert_eq!(sampled(&[(100, 0), (180, 81)]).smoothed(), MS * 110);
        assert_eq!(sampled(&[(100, 0), (180, 1000)]).smoothed(), MS * 110);
        assert_eq!(sampled(&[(100, 0), (180, 80)]).latest(), MS * 180);
    }

    #[test]
    fn on_short_paths_the_timers_granularity_counts() {
        let rtt = sampled(&[(0, 0), (0, 0)]);
        assert_eq!(rtt.smoothed(), Duration::ZERO);
        assert_eq!((rtt.pto(Duration::ZERO), rtt.loss_delay()), (MS, MS));
    }

    #[test]
    fn absurd_samples_overflow_nothing() {
        let mut rtt = Rtt::new();
        for _ in 0..3 {
            rtt.update(Duration::MAX, Duration::MAX, Instant::now());
        }
        assert_eq!(rtt.smoothed(), SAMPLE_MAX);
        assert_eq!(rtt.pto(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn persistent_congestion_forgets_the_minimum() {
        let mut rtt = sampled(&[(10, 0), (100, 0)]);
        rtt.on_persistent_congestion();
        assert_eq!(rtt.min(), MS * 100);
    }
}
