//! Every method is an `async fn`.

#[rpc_core::service]
pub trait Greeter {
    fn hello(&self) -> String;
}

fn main() {}
