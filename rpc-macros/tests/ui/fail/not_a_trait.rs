//! The attribute goes on a trait.

use rpc_core::service;

#[service]
pub struct Struct;

#[service]
mod module {}

fn main() {}
