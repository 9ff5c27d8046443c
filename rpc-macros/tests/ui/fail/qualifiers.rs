//! A method is `async fn` and nothing more.

#[rpc_core::service]
pub trait Qualifiers {
    async unsafe fn unsafety(&self);
    async extern "C" fn c(&self);
    async unsafe extern "C" fn variadic(&self, args: ...);
    pub async fn public(&self);
    default async fn default(&self);
    const async fn constant(&self);
}

fn main() {}
