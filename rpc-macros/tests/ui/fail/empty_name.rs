//! A name has letters.

#[rpc_core::service(name = "")]
pub trait Greeter {
    #[rpc(name = "")]
    async fn empty(&self);
}

fn main() {}
