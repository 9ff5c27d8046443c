//! Every method is an `async fn`.

#[rpc_core::service]
pub trait Greeter {
    fn hello(&self) -> String;
    fn later(&self) -> impl std::future::Future<Output = String> + Send;
}

fn main() {}
