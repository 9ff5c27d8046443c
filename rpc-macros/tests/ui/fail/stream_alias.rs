//! The macro sees names: an alias of a stream is taken for a value.

use rpc_core::Streaming;

type Numbers = Streaming<u32>;

#[rpc_core::service]
pub trait Counter {
    async fn count(&self) -> Numbers;
}

fn main() {}
