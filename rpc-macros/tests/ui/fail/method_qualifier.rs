//! A method is `async fn` and nothing more.

#[rpc_core::service]
pub trait Greeter {
    async unsafe fn unsafety(&self);
    async extern "C" fn c(&self);
    default async fn default(&self);
    const async fn constant(&self);
}

fn main() {}
