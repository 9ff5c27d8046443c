//! The one place that reads clocks; everything below takes time as an argument.

use std::time::{Duration, Instant, SystemTime};

/// Now, on tokio's clock, so that tests can pause it.
#[inline]
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Finds out whether the machine slept: its steady clock stands still meanwhile on some systems.
#[derive(Debug, Clone)]
pub(crate) enum SleepWatch {
    /// Two clocks of the system, as they were in the beginning.
    System(Clocks),
    /// A network of a test, which has no clock but tokio's, and how long its clients had slept.
    #[cfg(feature = "testing")]
    Network(crate::testing::Network, Duration),
    /// Of a simulator, in which no machine sleeps.
    #[cfg(feature = "testing")]
    Never,
}

/// Two clocks at one moment: the steady one, and the one that says what time it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    steady: Instant,
    system: SystemTime,
}

impl SleepWatch {
    pub(super) fn new() -> Self {
        Self::System(Clocks::read())
    }

    /// For networks of tests.
    #[cfg(feature = "testing")]
    pub(crate) fn of(network: crate::testing::Network) -> Self {
        let slept = network.slept();
        Self::Network(network, slept)
    }

    /// How long the machine has slept since, or how far its clock was set forward.
    pub(super) fn slept(&self) -> Duration {
        match self {
            Self::System(began) => began.slept_until(Clocks::read()),
            #[cfg(feature = "testing")]
            Self::Network(network, before) => network.slept().saturating_sub(*before),
            #[cfg(feature = "testing")]
            Self::Never => Duration::ZERO,
        }
    }
}

impl Clocks {
    fn read() -> Self {
        Self { steady: Instant::now(), system: SystemTime::now() }
    }

    /// By how much more the one clock has gone on than the other.
    fn slept_until(self, later: Self) -> Duration {
        let passed = later.system.duration_since(self.system).unwrap_or_default();
        passed.saturating_sub(later.steady.saturating_duration_since(self.steady))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_slept_knows_it_by_the_clock_that_went_on() {
        let began = Clocks::read();
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let later = |steady, system| {
            let (steady, system) = (began.steady + steady, began.system + system);
            began.slept_until(Clocks { steady, system })
        };
        assert_eq!(later(minutes(3), minutes(3)), Duration::ZERO, "it was awake");
        assert_eq!(later(minutes(3), minutes(13)), minutes(10));
        assert_eq!(later(Duration::ZERO, minutes(10)), minutes(10));
        // Its clock was set back, before the beginning or not.
        assert_eq!(later(minutes(3), minutes(1)), Duration::ZERO);
        let system = began.system - minutes(5);
        assert_eq!(began.slept_until(Clocks { system, ..began }), Duration::ZERO);
    }

    #[test]
    fn who_watches_the_system_has_not_slept_yet() {
        assert!(SleepWatch::new().slept() < Duration::from_secs(1));
    }
}
