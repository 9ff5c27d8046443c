//! Methods are as visible as their trait.

#[rpc_core::service]
pub trait Greeter {
    pub async fn public(&self);
    pub(crate) async fn less(&self);
}

pub fn calls(client: &GreeterClient) {
    let _ = client;
}

fn main() {}
