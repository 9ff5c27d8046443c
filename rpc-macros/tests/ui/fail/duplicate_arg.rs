//! Arguments have different names.

#[rpc_core::service]
pub trait Greeter {
    async fn hello(&self, name: &str, #[ctx] cx: &rpc_core::Context, name: &str);
}

fn main() {}
