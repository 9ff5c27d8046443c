//! Nobody waits for what a one-way method returns.

#[rpc_core::service]
pub trait Log {
    #[rpc(oneway)]
    async fn count(&self, line: String) -> u64;
    #[rpc(oneway)]
    async fn fallible(&self, line: String) -> Result<(), String>;
    #[rpc(oneway = true)]
    async fn flag(&self);
    #[rpc(oneway, idempotent, oneway)]
    async fn twice(&self);
}

fn main() {}
