//! The attribute sees what stands in the trait, not what a macro makes of it.

macro_rules! methods {
    () => {};
}

#[rpc_core::service]
pub trait Greeter {
    methods!();
}

fn main() {}
