//! What threads share and what tasks are made of: std's and tokio's. Models (`models`) have shuttle's in
//! their place, which decides at every lock who runs next. Nothing of its own.

#[cfg(not(all(test, rpc_shuttle)))]
pub(crate) use {
    std::sync::{Mutex, MutexGuard, atomic},
    tokio::spawn,
};

#[cfg(all(test, rpc_shuttle))]
pub(crate) use {
    crate::models::spawn,
    shuttle::sync::{Mutex, MutexGuard, atomic},
};
