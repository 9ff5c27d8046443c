//! `#[rpc]` knows two keys.

#[rpc_core::service]
pub trait Greeter {
    #[rpc(retries = 3, timeout)]
    async fn unknown(&self);
}

fn main() {}
