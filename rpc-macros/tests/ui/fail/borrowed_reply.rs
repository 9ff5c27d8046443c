//! The caller owns the reply.

pub struct Config;

#[rpc_core::service]
pub trait Greeter {
    async fn string(&self) -> &str;
    async fn fixed(&self) -> &'static str;
    async fn slice(&self) -> Option<&[Config]>;
    async fn reference(&self) -> Result<&Config, u8>;
}

fn main() {}
