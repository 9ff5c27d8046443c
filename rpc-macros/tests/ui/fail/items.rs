//! A service has only methods.

macro_rules! methods {
    () => {};
}

#[rpc_core::service]
pub trait Items {
    type Error;
    const LIMIT: usize;
    methods!();
    const GENERIC<T>: usize;
    async fn get(&self) -> u8;
}

struct Impl;

impl Items for Impl {
    type Error = ();
    const LIMIT: usize = 1;
    async fn get(&self) -> u8 {
        1
    }
}

fn main() {
    let _ = ItemsServer::new(Impl);
}
