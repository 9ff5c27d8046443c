//! The contract that both sides share.

#[rpc_core::service]
pub trait Greeter {
    async fn hello(&self, name: &str) -> String;
}
