//! The one place that reads clocks; everything below takes time as an argument.

use std::time::{Duration, Instant, SystemTime};

/// Now, on tokio's clock, so that tests can pause it.
#[inline]
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Finds out whether the machine slept: its steady clock stands still meanwhile on some systems.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SleepWatch {
    /// Two clocks of the system, as they were in the beginning. Without them nothing sleeps.
    began: Option<(Instant, SystemTime)>,
}

impl SleepWatch {
    pub(super) fn new() -> Self {
        Self { began: Some((Instant::now(), SystemTime::now())) }
    }

    /// For networks of tests, which have no clock but tokio's.
    #[cfg(feature = "testing")]
    pub(crate) fn never() -> Self {
        Self { began: None }
    }

    /// How long the machine has slept since, or how far its clock was set forward.
    pub(super) fn slept(&self) -> Duration {
        let Some((steady, system)) = self.began else { return Duration::ZERO };
        let passed = system.elapsed().unwrap_or_default();
        passed.saturating_sub(steady.elapsed())
    }
}
