//! What the process takes: memory, descriptors, tasks; how memory grows. Linux only; zeros elsewhere.

use std::{fs, time::Duration};

use tokio::runtime::Handle;

/// What the process takes at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) at: Duration,
    pub(crate) rss_kib: u64,
    pub(crate) descriptors: usize,
    pub(crate) tasks: usize,
}

impl Reading {
    /// `at` is how long the soak has run.
    pub(crate) fn take(at: Duration) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss_kib = rss.and_then(|rss| rss.split_whitespace().next()?.parse().ok());
        // The directory is open while it is read.
        let descriptors = fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() - 1);
        let tasks = Handle::current().metrics().num_alive_tasks();
        Self { at, rss_kib: rss_kib.unwrap_or_default(), descriptors, tasks }
    }
}

/// How fast memory grows over these readings, in KiB an hour: the slope of the line that fits best.
pub(crate) fn slope_kib_per_hour(readings: &[Reading]) -> Option<f64> {
    let count = readings.len() as f64;
    let hours = |reading: &Reading| reading.at.as_secs_f64() / 3600.0;
    let mean_at = readings.iter().map(hours).sum::<f64>() / count;
    let mean_rss = readings.iter().map(|r| r.rss_kib as f64).sum::<f64>() / count;
    let (mut together, mut square) = (0.0, 0.0);
    for reading in readings {
        let off = hours(reading) - mean_at;
        together += off * (reading.rss_kib as f64 - mean_rss);
        square += off * off;
    }
    (square > 0.0).then(|| together / square)
}
