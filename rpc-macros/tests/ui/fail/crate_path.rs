//! `crate` takes a path.

use rpc_core::service;

#[service(crate = "not a path")]
pub trait NotAPath {}

#[service(crate = 3)]
pub trait Number {}

fn main() {}
