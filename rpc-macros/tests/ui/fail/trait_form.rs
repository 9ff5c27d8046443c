//! The attribute goes on a plain trait.

use rpc_core::service;

#[service]
pub trait Generic<'a, T> {
    async fn get(&self) -> T;
}

#[service]
pub unsafe trait Unsafe {}

#[service]
#[async_trait::async_trait]
pub trait AsyncTrait {
    async fn get(&self) -> u8;
}

#[service]
#[rpc(name = "other")]
pub trait Named {}

#[service]
pub struct Struct;

pub trait Plain {}

#[service]
impl Plain for Struct {}

unsafe impl Unsafe for Struct {}

fn main() {
    let _ = GenericServer::new(Struct);
}
