//! Lifetimes are elided.

#[rpc_core::service]
pub trait Greeter {
    async fn lifetimes<'a>(&'a self, name: &'a str);
    async fn fixed(&self, name: &'static str);
    async fn receiver(&'static self);
}

fn main() {}
