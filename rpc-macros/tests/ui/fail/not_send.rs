//! A future that isn't `Send` is reported in the implementation, with what it holds.

use std::rc::Rc;

#[rpc_core::service]
pub trait Greeter {
    async fn hello(&self) -> String;
}

struct Impl;

impl Greeter for Impl {
    async fn hello(&self) -> String {
        let name = Rc::new("x");
        std::future::ready(()).await;
        name.to_string()
    }
}

fn main() {}
