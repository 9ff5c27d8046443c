//! The context is one borrowed parameter.

use rpc_core::Context;

#[rpc_core::service]
pub trait Contexts {
    async fn forgotten(&self, cx: &Context);
    async fn twice(&self, #[ctx] a: &Context, #[ctx] b: &Context);
    async fn owned(&self, #[ctx] cx: Context);
    async fn with_arguments(&self, #[ctx(deadline)] cx: &Context);
    #[ctx]
    async fn on_method(&self);
}

#[rpc_core::service]
pub trait NotTheContext {
    async fn get(&self, #[ctx] cx: &String);
}

fn main() {}
