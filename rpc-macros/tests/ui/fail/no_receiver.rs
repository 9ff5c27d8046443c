//! A method belongs to an implementation.

#[rpc_core::service]
pub trait Greeter {
    async fn none();
    async fn none_but_args(a: u8);
}

fn main() {}
