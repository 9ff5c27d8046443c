//! The trait has its own attribute.

#[rpc_core::service]
#[rpc(name = "other")]
pub trait Greeter {
    async fn get(&self);
}

fn main() {}
