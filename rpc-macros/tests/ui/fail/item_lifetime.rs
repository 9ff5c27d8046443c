//! Nor does it borrow otherwise.

use std::borrow::Cow;

use rpc_core::Streaming;

#[rpc_core::service]
pub trait Log {
    async fn write(&self, lines: Streaming<Cow<'_, str>>);
    async fn read(&self) -> Streaming<Cow<'_, str>>;
    async fn fine(&self, lines: Streaming<Cow<'static, str>>) -> Streaming<Cow<'static, str>>;
}

fn main() {}
