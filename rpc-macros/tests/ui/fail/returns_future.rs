//! Futures are the macro's business.

#[rpc_core::service]
pub trait Greeter {
    fn later(&self) -> impl std::future::Future<Output = String> + Send;
    fn boxed(&self) -> std::pin::Pin<Box<dyn std::future::Future<Output = String> + Send>>;
}

fn main() {}
