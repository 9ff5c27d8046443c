//! The context is borrowed.

use rpc_core::Context;

#[rpc_core::service]
pub trait Greeter {
    async fn owned(&self, #[ctx] cx: Context);
    async fn mutable(&self, #[ctx] cx: &mut Context);
}

fn main() {}
