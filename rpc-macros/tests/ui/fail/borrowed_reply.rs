//! The caller owns the reply.

use std::borrow::Cow;

pub struct Config;

#[rpc_core::service]
pub trait Borrows {
    async fn string(&self) -> &str;
    async fn fixed(&self) -> &'static str;
    async fn slice(&self) -> Option<&[Config]>;
    async fn reference(&self) -> Result<&Config, u8>;
    async fn cow(&self) -> Cow<'_, str>;
}

fn main() {}
