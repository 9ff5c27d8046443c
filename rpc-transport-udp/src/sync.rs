//! What threads share and what tasks are made of: std's and tokio's. Models (`models`) have shuttle's in
//! their place, which decides at every lock who runs next.

#[cfg(not(all(test, rpc_shuttle)))]
pub(crate) use {
    std::sync::{Mutex, MutexGuard, atomic},
    tokio::spawn,
};

/// Whether the runtime has a single thread for its tasks.
#[cfg(not(all(test, rpc_shuttle)))]
pub(crate) fn has_one_thread() -> bool {
    let runtime = tokio::runtime::Handle::try_current();
    runtime.is_ok_and(|runtime| runtime.metrics().num_workers() == 1)
}

#[cfg(all(test, rpc_shuttle))]
pub(crate) use {
    crate::models::{has_one_thread, spawn},
    shuttle::sync::{Mutex, MutexGuard, atomic},
};
