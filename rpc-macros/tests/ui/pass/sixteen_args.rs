//! From none to sixteen arguments; the context isn't one of them.

#![deny(clippy::all)]

#[rpc_core::service]
pub trait Many {
    async fn none(&self);
    async fn one(&self, a: u8);
    #[allow(clippy::too_many_arguments)]
    #[rustfmt::skip]
    async fn sixteen(
        &self, #[ctx] cx: &rpc_core::Context,
        a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8,
        i: u8, j: u8, k: u8, l: u8, m: u8, n: u8, o: u8, p: u8,
    );
}

fn main() {}
