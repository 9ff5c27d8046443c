//! The contract that both sides share.

#[tarpc::service]
pub trait Greeter {
    async fn hello(name: String) -> String;
}
