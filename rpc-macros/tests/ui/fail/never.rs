//! Every call has a reply.

#[rpc_core::service]
pub trait Greeter {
    async fn never(&self) -> !;
}

fn main() {}
