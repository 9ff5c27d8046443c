//! There are no streams yet.

use rpc_core::service;

#[service]
pub trait Streams {
    async fn count(&self, to: u32) -> Streaming<u32>;
    async fn join(&self, words: Streaming<String>) -> Result<String, u8>;
}

fn main() {}
