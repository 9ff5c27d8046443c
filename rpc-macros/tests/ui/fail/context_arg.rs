//! The context is marked.

#[rpc_core::service]
pub trait Greeter {
    async fn forgotten(&self, cx: &rpc_core::Context);
}

fn main() {}
