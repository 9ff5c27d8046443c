//! What this crate promises to those who use it, seen from outside.

#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod accept;
mod acked;
mod adversary;
mod blocking;
mod callbacks;
mod callers;
mod calls;
mod conformance;
mod delivery;
mod drops;
mod endings;
mod handlers;
mod hostile;
mod lifecycle;
mod local;
mod oneway;
mod overload;
mod panics;
mod parts;
mod planted;
mod pressure;
mod promises;
mod raw;
mod reentry;
mod rig;
mod silence;
mod stream_shapes;
mod streams;
mod watching;
mod whole;
mod wire;
