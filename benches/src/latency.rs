//! Latencies of calls, as a histogram, and the percentiles that are reported.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Keeps three digits of each latency: 23.4 µs and 23.5 µs are told apart.
const DIGITS: u8 = 3;

#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// The one that 1 in 1000 calls exceeds.
    pub(crate) p999: Duration,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self(Histogram::new(DIGITS).expect("three digits are a precision"))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        // The histogram grows; it refuses nothing that a clock can show.
        self.0.record(nanos).expect("a histogram that resizes");
    }

    pub(crate) fn summarize(&self) -> Latency {
        let percentile = |percent| Duration::from_nanos(self.0.value_at_percentile(percent));
        Latency { p50: percentile(50.0), p99: percentile(99.0), p999: percentile(99.9) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_keep_three_digits() {
        let mut latencies = Latencies::new();
        for micros in 1..=1000 {
            latencies.record(Duration::from_micros(micros));
        }
        let Latency { p50, p99, p999 } = latencies.summarize();
        for (found, expected) in [(p50, 500), (p99, 990), (p999, 999)] {
            let difference = found.abs_diff(Duration::from_micros(expected));
            assert!(difference <= found / 500, "{found:?}, expected {expected} µs");
        }
    }
}
