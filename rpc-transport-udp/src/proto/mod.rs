//! The protocol without I/O: state machines that take time and randomness as arguments; no sockets.
#![allow(dead_code, unused_imports, reason = "sessions, which use all of it, are still to come")]

mod cookie;
mod frame;
mod packet;
#[cfg(test)]
mod vectors;
