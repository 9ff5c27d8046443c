//! What threads share and what tasks are made of: std's and tokio's. Models (`models`) have shuttle's in
//! their place, which decides at every lock who runs next. Nothing of its own.
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
    crate::models::runtime::{Handle, Sleep, sleep, sleep_until, spawn, timeout},
    shuttle::{
        future::{AbortHandle, JoinHandle, yield_now},
        sync::{Mutex, MutexGuard, atomic},
        thread_local,
    },
};
