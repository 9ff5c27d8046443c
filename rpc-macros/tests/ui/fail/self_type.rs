//! The client has no `Self` of the server's.

#[rpc_core::service]
pub trait Greeter {
    async fn itself(&self, other: Self) -> Option<Self>;
}

fn main() {}
