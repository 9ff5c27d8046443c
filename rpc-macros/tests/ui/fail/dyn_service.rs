//! A service isn't dyn compatible: its methods return futures of types of their own.

#[rpc_core::service]
pub trait Greeter {
    async fn hello(&self, name: &str) -> String;
}

fn greets(greeter: &dyn Greeter) {
    let _ = greeter;
}

fn main() {}
