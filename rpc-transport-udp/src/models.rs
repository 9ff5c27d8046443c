//! Models: what the task that reads a server's socket shares with the sessions, with the listener and
//! with their end, run with the locks and the tasks of shuttle. `rpc-core/src/models` says more, and has
//! what makes the decisions.
//!
//! Each lies beside what it is about. They are only there with `--cfg rpc_shuttle`: `.ci/concurrency`.

#[allow(dead_code, reason = "nobody here sleeps")]
#[path = "../../rpc-core/src/models/runtime.rs"]
mod runtime;
#[path = "../../rpc-core/src/models/schedule.rs"]
mod schedule;

pub(crate) use runtime::{has_one_thread, spawn};
pub(crate) use schedule::exhaust;

/// Runs a model as often as is asked for.
pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
    schedule::check(move || {
        runtime::begin();
        model();
        runtime::settle();
    });
}
