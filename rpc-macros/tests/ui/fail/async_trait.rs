//! `async_trait` has nothing left to do.

#[rpc_core::service]
#[async_trait::async_trait]
pub trait Greeter {
    async fn get(&self) -> u8;
}

fn main() {}
