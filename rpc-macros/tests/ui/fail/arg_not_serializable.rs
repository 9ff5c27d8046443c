//! One argument that serde doesn't know: both errors are under it.

pub struct Plain;

#[derive(serde::Serialize, serde::Deserialize)]
pub struct Known;

#[rpc_core::service]
pub trait Greeter {
    async fn one(&self, arg: Plain);
}

fn main() {}
