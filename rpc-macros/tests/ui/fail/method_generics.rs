//! What goes over the wire is one type.

#[rpc_core::service]
pub trait Generics {
    async fn types<T, const N: usize>(&self, t: T) -> [T; N];
    async fn lifetimes<'a>(&'a self, name: &'a str) -> &'a str;
    async fn hidden(&self, items: impl Iterator<Item = u8>) -> impl Clone;
    async fn conditions(&self)
    where
        Self: Clone;
    async fn nothing_but_lifetimes(&self, name: &'static str);
}

fn main() {}
