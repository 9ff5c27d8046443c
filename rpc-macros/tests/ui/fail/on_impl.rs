//! Implementations take no attribute.

use rpc_core::service;

#[service]
pub trait Greeter {
    async fn hello(&self);
}

struct English;

#[service]
impl Greeter for English {
    async fn hello(&self) {}
}

fn main() {}
