//! Methods have different names.

#[rpc_core::service]
pub trait Greeter {
    async fn add(&self);
    async fn r#add(&self);
}

fn main() {}
