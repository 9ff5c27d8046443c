//! There are no streams yet.

#[rpc_core::service]
pub trait Greeter {
    async fn join(&self, words: Streaming<String>) -> Result<String, u8>;
}

fn main() {}
