//! A service has only methods.

#[rpc_core::service]
pub trait Greeter {
    const GENERIC<T>: usize;
}

fn main() {}
