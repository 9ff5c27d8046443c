//! Nobody would say how a stream ended.

use rpc_core::Streaming;

#[rpc_core::service]
pub trait Log {
    #[rpc(oneway)]
    async fn lines(&self, lines: Streaming<String>);
}

fn main() {}
