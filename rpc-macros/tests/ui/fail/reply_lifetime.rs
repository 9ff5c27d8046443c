//! The caller owns the reply.

#[rpc_core::service]
pub trait Greeter {
    async fn cow(&self) -> std::borrow::Cow<'_, str>;
}

fn main() {}
