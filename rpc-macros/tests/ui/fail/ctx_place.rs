//! `#[ctx]` goes on a parameter.

#[rpc_core::service]
pub trait Greeter {
    #[ctx]
    async fn on_method(&self);
}

fn main() {}
