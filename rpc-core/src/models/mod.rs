//! Models: what threads share of a connection, of a channel and of a server, run with the locks and the
//! tasks of shuttle, which decides at every lock who goes on. What they run is the real code, on
//! stand-ins for tokio's tasks and timers (`runtime`) and over the transport in memory.
//!
//! They are only there with `--cfg rpc_shuttle`: `.ci/concurrency`. `schedule` makes the decisions, `rig`
//! has what the models are made of.

mod calls;
mod channels;
mod rig;
pub(crate) mod runtime;
mod schedule;
mod servers;
mod streams;

pub(crate) use schedule::exhaust;
