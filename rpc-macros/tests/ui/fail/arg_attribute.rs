//! Arguments have no attributes.

#[rpc_core::service]
pub trait Greeter {
    async fn attribute(&self, #[cfg(all())] a: u8);
    async fn receiver(#[allow(unused)] &self);
}

fn main() {}
