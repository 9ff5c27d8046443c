//! What goes over the wire is one type.

#[rpc_core::service]
pub trait Greeter {
    async fn types<T, const N: usize>(&self, t: T) -> [T; N];
}

fn main() {}
