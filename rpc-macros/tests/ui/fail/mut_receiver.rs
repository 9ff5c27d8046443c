//! All calls share the implementation.

#[rpc_core::service]
pub trait Greeter {
    async fn mutable(&mut self);
}

fn main() {}
