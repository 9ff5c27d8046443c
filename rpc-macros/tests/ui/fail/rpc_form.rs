//! `#[rpc]` says something.

#[rpc_core::service]
pub trait Greeter {
    #[rpc]
    async fn nothing(&self);
    #[rpc = "name"]
    async fn value(&self);
}

fn main() {}
