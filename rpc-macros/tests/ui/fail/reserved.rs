//! `new` makes the client.

#[rpc_core::service]
pub trait Greeter {
    async fn new(&self);
}

fn main() {}
