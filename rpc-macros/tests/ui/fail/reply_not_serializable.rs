//! A reply that serde doesn't know.

pub struct Plain;

#[derive(serde::Serialize, serde::Deserialize)]
pub struct Known;

#[rpc_core::service]
pub trait Greeter {
    async fn reply(&self) -> Vec<Plain>;
}

fn main() {}
