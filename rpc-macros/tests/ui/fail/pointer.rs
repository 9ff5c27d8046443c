//! Addresses mean nothing to another process.

#[rpc_core::service]
pub trait Greeter {
    async fn pointer(&self, p: *const u8, f: fn(u8) -> u8);
}

fn main() {}
