//! A flag is set or not.

#[rpc_core::service]
pub trait Greeter {
    #[rpc(idempotent = true)]
    async fn flag(&self);
}

fn main() {}
