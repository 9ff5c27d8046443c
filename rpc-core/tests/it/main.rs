//! What this crate promises to those who use it, seen from outside.

#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod accept;
mod adversary;
mod calls;
mod conformance;
mod delivery;
mod hostile;
mod lifecycle;
mod oneway;
mod planted;
mod pressure;
mod promises;
mod raw;
mod watching;
mod wire;
