//! What one client process measured, and the line of text that carries it to the driver.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) calls: u64,
    pub(crate) elapsed: Duration,
    /// CPU time of the client process while it measured.
    pub(crate) cpu: Duration,
    /// Recorded with one call in flight only: a call in a batch takes less than a microsecond, and
    /// reading the clock would show.
    pub(crate) latency: Option<Latency>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Latency {
    /// The percentiles of at least one latency.
    pub(crate) fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let percentile = |percent| latencies[(latencies.len() - 1) * percent / 100];
        Self { p50: percentile(50), p99: percentile(99) }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, elapsed, cpu, latency } = self;
        write!(f, "calls={calls} elapsed_ns={} cpu_ns={}", elapsed.as_nanos(), cpu.as_nanos())?;
        if let Some(Latency { p50, p99 }) = latency {
            write!(f, " p50_ns={} p99_ns={}", p50.as_nanos(), p99.as_nanos())?;
        }
        Ok(())
    }
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let field = |name: &str| -> Option<u64> {
            let mut pairs = line.split_whitespace().filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name)?.1.parse().ok()
        };
        let need = |name| field(name).ok_or_else(|| format!("no {name} in {line:?}"));
        let latency = field("p50_ns").zip(field("p99_ns")).map(|(p50, p99)| Latency {
            p50: Duration::from_nanos(p50),
            p99: Duration::from_nanos(p99),
        });
        Ok(Self {
            calls: need("calls")?,
            elapsed: Duration::from_nanos(need("elapsed_ns")?),
            cpu: Duration::from_nanos(need("cpu_ns")?),
            latency,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_survives_its_line() {
        let latencies = (1..=101).map(Duration::from_micros).collect();
        let timed = Sample {
            calls: 7,
            elapsed: Duration::from_millis(5),
            cpu: Duration::from_micros(3),
            latency: Some(Latency::of(latencies)),
        };
        let counted = Sample { latency: None, ..timed };
        assert_eq!(timed.to_string().parse(), Ok(timed));
        assert_eq!(counted.to_string().parse(), Ok(counted));
    }

    #[test]
    fn percentiles_are_taken_from_the_sorted_latencies() {
        let latencies = (1..=101).rev().map(Duration::from_micros).collect();
        let expected = Latency { p50: Duration::from_micros(51), p99: Duration::from_micros(100) };
        assert_eq!(Latency::of(latencies), expected);
    }
}
