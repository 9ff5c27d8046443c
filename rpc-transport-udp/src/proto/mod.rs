//! The protocol without I/O: state machines that take time and randomness as arguments; no sockets.
//!
//! The map of this directory, from the wire up: `packet` are the layouts of datagrams, `frame` those
//! of what is in data packets, `joined` tells datagrams apart that came together, `cookie` is how a
//! server keeps no state for strangers; `ranges` are sets of numbers, `rtt`, `congestion`, `pacer` and
//! `mtu` what a sender learns about its path; `session` is one session, `setup` how a client gets one,
//! `table` all those of a server. `once` checks, in tests, that requests run at most once.

pub(crate) mod congestion;
pub(crate) mod cookie;
pub(crate) mod frame;
pub(crate) mod joined;
pub(crate) mod mtu;
#[cfg(test)]
mod once;
pub(crate) mod pacer;
pub(crate) mod packet;
pub(crate) mod ranges;
pub(crate) mod rtt;
pub(crate) mod session;
pub(crate) mod setup;
pub(crate) mod table;
#[cfg(any(fuzzing, test))]
pub(crate) mod tests;
#[cfg(test)]
mod vectors;
