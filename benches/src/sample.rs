//! What one client process measured, and the line of text that carries it to the driver.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::latency::Latency;

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

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, elapsed, cpu, latency } = self;
        write!(f, "calls={calls} elapsed_ns={} cpu_ns={}", elapsed.as_nanos(), cpu.as_nanos())?;
        if let Some(Latency { p50, p99, p999 }) = latency {
            let [p50, p99, p999] = [p50, p99, p999].map(|latency| latency.as_nanos());
            write!(f, " p50_ns={p50} p99_ns={p99} p999_ns={p999}")?;
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
        let percentile = |name| field(name).map(Duration::from_nanos);
        let latency = match ["p50_ns", "p99_ns", "p999_ns"].map(percentile) {
            [Some(p50), Some(p99), Some(p999)] => Some(Latency { p50, p99, p999 }),
            _ => None,
        };
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
        let [p50, p99, p999] = [51, 100, 107].map(Duration::from_micros);
        let timed = Sample {
            calls: 7,
            elapsed: Duration::from_millis(5),
            cpu: Duration::from_micros(3),
            latency: Some(Latency { p50, p99, p999 }),
        };
        let counted = Sample { latency: None, ..timed };
        assert_eq!(timed.to_string().parse(), Ok(timed));
        assert_eq!(counted.to_string().parse(), Ok(counted));
    }
}
