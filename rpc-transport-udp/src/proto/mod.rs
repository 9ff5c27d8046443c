//! The protocol without I/O: state machines that take time and randomness as arguments; no sockets.

#![allow(dead_code, reason = "the session that uses all this is being built")]

mod congestion;
mod mtu;
mod pacer;
mod ranges;
mod rtt;
