//! The compiler says which of several arguments serde doesn't know.

pub struct Plain;

#[derive(serde::Serialize, serde::Deserialize)]
pub struct Known;

#[rpc_core::service]
pub trait Greeter {
    async fn many(&self, a: Known, arg: Plain, b: Vec<u8>);
}

fn main() {}
