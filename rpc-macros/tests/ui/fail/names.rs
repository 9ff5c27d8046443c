//! Methods have different names, here and on the wire; `new` makes the client.

#[rpc_core::service]
pub trait Names {
    async fn new(&self);
    async fn add(&self);
    async fn r#add(&self);
    async fn plus(&self);
    #[rpc(name = "plus")]
    async fn sum(&self);
    #[rpc(name = "total")]
    async fn all(&self);
    async fn total(&self);
}

fn main() {}
