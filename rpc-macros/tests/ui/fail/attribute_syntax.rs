//! What syn can't read is reported as it says.

use rpc_core::service;

#[service("literal")]
pub trait Literal {}

#[service]
pub trait Colon {
    #[rpc(name: "x")]
    async fn get(&self);
}

fn main() {}
