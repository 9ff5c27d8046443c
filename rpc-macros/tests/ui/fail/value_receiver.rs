//! All calls share the implementation.

use std::sync::Arc;

#[rpc_core::service]
pub trait Greeter {
    async fn value(self);
    async fn mutable_value(mut self) {}
    async fn arc(self: Arc<Self>);
    async fn typed(self: &Self);
}

fn main() {}
