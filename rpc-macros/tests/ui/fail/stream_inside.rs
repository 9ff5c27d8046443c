//! A stream is no value that could be part of another.

use rpc_core::Streaming;

#[rpc_core::service]
pub trait Greeter {
    async fn optional(&self, words: Option<Streaming<String>>) -> String;
    async fn borrowed(&self, words: &Streaming<String>) -> String;
    async fn some(&self) -> Option<Streaming<u32>>;
    async fn both(&self) -> (u32, Streaming<u32>);
    async fn nested(&self) -> Streaming<Streaming<u32>>;
    async fn failed(&self) -> Result<u32, Streaming<u32>>;
    async fn of_results(&self) -> Result<Result<Streaming<u32>, u8>, u8>;
}

fn main() {}
