//! One lane carries one stream in each direction.

use rpc_core::Streaming;

#[rpc_core::service]
pub trait Greeter {
    async fn merge(&self, left: Streaming<u32>, right: Streaming<u32>) -> Streaming<u32>;
}

fn main() {}
