//! There is one context.

use rpc_core::Context;

#[rpc_core::service]
pub trait Greeter {
    async fn twice(&self, #[ctx] a: &Context, #[ctx] b: &Context);
}

fn main() {}
