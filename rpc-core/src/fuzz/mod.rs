//! What the fuzz targets in `rpc-core/fuzz` run, a function for each; nobody else's business, and only
//! there for fuzzing and in tests.
//!
//! Each lies beside what it tests, and takes any bytes: either it panics, or nothing is wrong. `input`
//! is how it reads decisions from them, `replay` runs all of them in `cargo test`.

mod input;
#[cfg(test)]
mod replay;

pub use crate::codec::fuzz::{SecondOpinion, codec};
pub use crate::frame::fuzz::frame;
pub use crate::mux::fuzz::{calls, mux, streams};
#[cfg(feature = "runtime")]
pub use crate::transport::fuzz::framing;
pub(crate) use input::Input;
