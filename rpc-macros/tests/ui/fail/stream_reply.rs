//! There are no streams yet.

#[rpc_core::service]
pub trait Greeter {
    async fn count(&self, to: u32) -> Streaming<u32>;
}

fn main() {}
