//! What the fuzz targets in `rpc-transport-udp/fuzz` run, a function for each; nobody else's business,
//! and only there for fuzzing and in tests.
//!
//! Each takes any bytes: either it panics, or nothing is wrong. `datagram` are the layouts, cookies and
//! the table of sessions, `session` a session whose peer keeps to no rule, `pair` two of them over a
//! network that does its worst; `receiving` lies beside the tests of what it tests. `input` is how they
//! read decisions from bytes, `replay` runs all of them in `cargo test`.

mod datagram;
mod input;
mod pair;
#[cfg(test)]
mod replay;
mod session;

pub use crate::proto::session::fuzz::receiving;
pub use datagram::datagram;
pub(crate) use input::Input;
pub use pair::pair;
pub use session::session;
