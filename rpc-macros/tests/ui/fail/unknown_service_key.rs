//! `#[service]` knows two keys.

#[rpc_core::service(version = 1)]
pub trait Greeter {
    async fn get(&self);
}

fn main() {}
