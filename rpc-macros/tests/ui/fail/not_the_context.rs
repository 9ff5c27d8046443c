//! The compiler knows what a context is.

#[rpc_core::service]
pub trait Greeter {
    async fn get(&self, #[ctx] cx: &String);
}

fn main() {}
