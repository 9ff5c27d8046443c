//! Methods have different names on the wire, too.

#[rpc_core::service]
pub trait Greeter {
    async fn plus(&self);
    #[rpc(name = "plus")]
    async fn sum(&self);
    #[rpc(name = "total")]
    async fn all(&self);
    async fn total(&self);
}

fn main() {}
