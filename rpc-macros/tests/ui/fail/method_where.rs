//! There is nothing to restrict.

#[rpc_core::service]
pub trait Greeter {
    async fn conditions(&self)
    where
        Self: Clone;
}

fn main() {}
