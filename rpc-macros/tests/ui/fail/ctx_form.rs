//! `#[ctx]` takes nothing.

use rpc_core::Context;

#[rpc_core::service]
pub trait Greeter {
    async fn with_arguments(&self, #[ctx(deadline)] cx: &Context);
}

fn main() {}
