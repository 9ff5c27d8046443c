//! Both sides agree on the contract.

#[rpc_core::service]
pub trait Greeter {
    #[cfg_attr(all(), rpc(idempotent))]
    async fn conditional(&self);
}

fn main() {}
