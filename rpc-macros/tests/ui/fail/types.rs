//! Some types can't go over the wire.

#[rpc_core::service]
pub trait Types {
    async fn itself(&self, other: Self) -> Option<Self>;
    async fn dynamic(&self, error: Box<dyn std::error::Error>);
    async fn pointer(&self, p: *const u8, f: fn(u8) -> u8);
    async fn never(&self) -> !;
}

fn main() {}
