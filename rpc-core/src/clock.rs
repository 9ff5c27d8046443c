//! The one place that reads a clock; everything below takes time as an argument.

use std::time::Instant;

/// Now, on tokio's clock, so that tests can pause it.
#[inline]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
