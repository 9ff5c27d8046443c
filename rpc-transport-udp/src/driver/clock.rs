//! The one place that reads clocks; everything below takes time as an argument.

use std::time::{Duration, Instant, SystemTime};

/// Now, on tokio's clock, so that tests can pause it.
#[inline]
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Finds out whether the machine slept: its steady clock stands still meanwhile on some systems.
#[derive(Debug, Clone, Copy)]
pub(super) struct SleepWatch {
    steady: Instant,
    system: SystemTime,
}

impl SleepWatch {
    pub(super) fn new() -> Self {
        Self { steady: Instant::now(), system: SystemTime::now() }
    }

    /// How long the machine has slept since, or how far its clock was set forward.
    pub(super) fn slept(&self) -> Duration {
        let system = self.system.elapsed().unwrap_or_default();
        system.saturating_sub(self.steady.elapsed())
    }
}
