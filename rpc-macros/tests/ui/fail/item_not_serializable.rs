//! Items go over the wire like arguments and replies.

use rpc_core::Streaming;

pub struct Opaque;

#[rpc_core::service]
pub trait Log {
    async fn write(&self, lines: Streaming<Opaque>);
    async fn read(&self) -> Streaming<Opaque>;
}

fn main() {}
