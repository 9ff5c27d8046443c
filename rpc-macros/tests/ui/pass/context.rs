//! `#[ctx]` hands the context to the method, wherever it stands, and not to the client.

#![deny(warnings)]

use rpc_core::Context;

#[rpc_core::service]
pub trait Asks {
    async fn first(&self, #[ctx] cx: &Context, name: &str) -> bool;
    async fn only(&self, #[ctx] request: &rpc_core::Context);
    async fn last(&self, bytes: &[u8], #[ctx] context: &Context) -> Result<(), String>;
}

struct Impl;

impl Asks for Impl {
    async fn first(&self, _: &Context, name: &str) -> bool {
        name.is_empty()
    }
    async fn only(&self, _: &Context) {}
    async fn last(&self, _: &[u8], _: &Context) -> Result<(), String> {
        Ok(())
    }
}

fn calls(client: &AsksClient) {
    let _ = (client.first("name"), client.only(), client.last(b"bytes"));
}

fn main() {
    let _ = (AsksServer::new(Impl), calls);
}
