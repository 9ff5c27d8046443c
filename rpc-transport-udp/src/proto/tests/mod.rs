//! Tests of the whole protocol in virtual time: a world of a server and its clients, and who attacks
//! them; the tests of single parts lie beside those.

// Clippy takes a module for tests that is there for nothing else. This one is there for fuzzing, too.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod again;
pub(crate) mod craft;
mod exchange;
mod fuzz;
mod hostile;
mod paths;
mod replies;
mod servers;
mod sim;
pub(crate) mod world;

pub(crate) use fuzz::check;
