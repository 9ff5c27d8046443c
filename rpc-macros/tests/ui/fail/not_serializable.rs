//! The compiler's complaints about types point at them.

pub struct Plain;

#[derive(serde::Serialize)]
pub struct OneWay;

#[rpc_core::service]
pub trait Types {
    async fn arg(&self, arg: Plain);
}

#[rpc_core::service]
pub trait OneOfMany {
    async fn args(&self, a: u8, arg: Plain, b: u8);
}

#[rpc_core::service]
pub trait OnlyOneWay {
    async fn args(&self, arg: OneWay);
}

#[rpc_core::service]
pub trait Replies {
    async fn reply(&self) -> Vec<Plain>;
    async fn error(&self) -> Result<u8, Plain>;
}

fn main() {}
