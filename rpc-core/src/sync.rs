//! What threads share and what tasks are made of: std's and tokio's. Models (`models`) have shuttle's in
//! their place, which decides at every lock who runs next.
//!
//! What decides a race takes these from here. Not here: `Arc`, whose count decides none, and tokio's
//! channels and `Notify`, which to a model are one step each.

#[cfg(not(all(test, rpc_shuttle)))]
pub(crate) use std::{
    sync::{Mutex, MutexGuard, atomic},
    thread_local,
};
#[cfg(all(feature = "runtime", not(all(test, rpc_shuttle))))]
pub(crate) use tokio::{
    runtime::Handle,
    spawn,
    task::{AbortHandle, JoinHandle, yield_now},
    time::{Sleep, sleep, sleep_until, timeout},
};

#[cfg(all(test, rpc_shuttle))]
pub(crate) use {
    crate::models::runtime::{Handle, Sleep, has_one_thread, sleep, sleep_until, spawn, timeout},
    shuttle::{
        future::{AbortHandle, JoinHandle, yield_now},
        sync::{Mutex, MutexGuard, atomic},
        thread_local,
    },
};

/// Whether the runtime has a single thread for its tasks.
#[cfg(all(feature = "runtime", not(all(test, rpc_shuttle))))]
pub(crate) fn has_one_thread() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.metrics().num_workers() == 1)
}
