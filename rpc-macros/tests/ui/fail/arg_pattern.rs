//! An argument is a name and a type.

#[rpc_core::service]
pub trait Greeter {
    async fn tuple(&self, (a, b): (u8, u8));
    async fn nothing(&self, _: u8);
    async fn no_body(&self, mut a: u8);
    async fn mutable(&self, mut a: u8) {
        a += 1;
        let _ = a;
    }
    async fn borrowed(&self, ref a: u8) {
        let _ = a;
    }
}

fn main() {}
