//! A key stands once.

#[rpc_core::service(name = "a", name = "b")]
pub trait Greeter {
    #[rpc(idempotent, idempotent)]
    async fn twice(&self);
    #[rpc(idempotent)]
    #[rpc(name = "a", idempotent)]
    async fn twice_in_two(&self);
}

fn main() {}
