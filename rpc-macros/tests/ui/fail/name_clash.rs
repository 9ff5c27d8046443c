//! The names of the client and the server are taken.

pub struct GreeterClient;

#[rpc_core::service]
pub trait Greeter {
    async fn hello(&self);
}

fn main() {}
