//! Arguments are decoded, too.

#[derive(serde::Serialize)]
pub struct OneWay;

#[rpc_core::service]
pub trait Greeter {
    async fn get(&self, arg: OneWay);
}

fn main() {}
