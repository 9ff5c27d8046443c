//! Items come after all other arguments.

use rpc_core::Streaming;

#[rpc_core::service]
pub trait Greeter {
    async fn join(&self, words: Streaming<String>, separator: &str) -> String;
    // The context is no argument of the caller's.
    async fn fine(&self, words: Streaming<String>, #[ctx] cx: &rpc_core::Context) -> String;
}

fn main() {}
