//! What was taken from a stream can't be sent again.

use rpc_core::Streaming;

#[rpc_core::service]
pub trait Log {
    #[rpc(idempotent)]
    async fn lines(&self, lines: Streaming<String>);
    // What comes in reply can be asked for again.
    #[rpc(idempotent)]
    async fn tail(&self) -> Streaming<String>;
}

fn main() {}
