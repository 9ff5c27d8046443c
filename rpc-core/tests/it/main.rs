//! What this crate promises to those who use it, seen from outside.

#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

#[cfg(feature = "testing")]
mod adversary;
#[cfg(all(feature = "runtime", feature = "macros"))]
mod calls;
#[cfg(feature = "testing")]
mod conformance;
#[cfg(feature = "testing")]
mod planted;
