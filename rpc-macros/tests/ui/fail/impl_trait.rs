//! What goes over the wire has one type.

#[rpc_core::service]
pub trait Greeter {
    async fn hidden(&self, items: impl Iterator<Item = u8>) -> impl Clone;
}

fn main() {}
