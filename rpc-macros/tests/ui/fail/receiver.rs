//! All calls share the service.

use std::sync::Arc;

#[rpc_core::service]
pub trait Receivers {
    async fn none();
    async fn none_but_args(a: u8);
    async fn value(self);
    async fn mutable_value(mut self) {}
    async fn mutable(&mut self);
    async fn arc(self: Arc<Self>);
    async fn named(&'static self);
}

fn main() {}
