//! A reply that serde doesn't know: one error, under the reply.

pub struct Plain;

#[derive(serde::Serialize, serde::Deserialize)]
pub struct Known;

#[rpc_core::service]
pub trait Greeter {
    async fn reply(&self) -> Plain;
    async fn list(&self) -> Vec<Plain>;
}

fn main() {}
