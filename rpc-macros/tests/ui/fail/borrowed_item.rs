//! An item outlives the frame that it came in.

use rpc_core::Streaming;

#[rpc_core::service]
pub trait Log {
    async fn write(&self, lines: Streaming<&str>);
    async fn read(&self) -> Streaming<&'static str>;
    async fn bytes(&self) -> Result<Streaming<&[u8]>, u8>;
}

fn main() {}
