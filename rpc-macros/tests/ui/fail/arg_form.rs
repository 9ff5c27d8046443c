//! An argument is a name and a type.

#[rpc_core::service]
pub trait Forms {
    async fn tuple(&self, (a, b): (u8, u8));
    async fn nothing(&self, _: u8);
    async fn no_body(&self, mut a: u8);
    async fn mutable(&self, mut a: u8) {
        a += 1;
        let _ = a;
    }
    async fn attribute(&self, #[cfg(all())] a: u8);
    async fn receiver_attribute(#[allow(unused)] &self);
    #[rustfmt::skip]
    async fn seventeen(
        &self,
        a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: u8, m: u8,
        n: u8, o: u8, p: u8, q: u8, r: u8,
    );
}

fn main() {}
