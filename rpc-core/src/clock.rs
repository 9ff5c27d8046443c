//! The one place that reads a clock; everything below takes time as an argument.

#[cfg(not(all(test, rpc_shuttle)))]
use std::time::Instant;

/// Now, on tokio's clock, so that tests can pause it.
#[cfg(not(all(test, rpc_shuttle)))]
#[inline]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(all(test, rpc_shuttle))]
pub(crate) use crate::models::runtime::now;
