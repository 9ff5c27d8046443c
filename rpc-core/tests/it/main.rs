//! What this crate promises to those who use it, seen from outside.

#[cfg(feature = "testing")]
mod adversary;
#[cfg(feature = "testing")]
mod conformance;
#[cfg(feature = "testing")]
mod planted;
