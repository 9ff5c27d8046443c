//! A trait may come from a `macro_rules!`, with fragments of every kind.

#![deny(warnings)]

macro_rules! service {
    ($(#[$attr:meta])* $vis:vis $name:ident, $wire:literal, $arg:ident: $ty:ty, $reply:ty, $body:block) => {
        $(#[$attr])*
        #[rpc_core::service(name = $wire)]
        $vis trait $name {
            async fn get(&self, $arg: $ty, bytes: &[u8], request: u8) -> $reply;
            #[rpc(name = $wire)]
            async fn body(&self, $arg: $ty) -> Result<$reply, $ty> $body
        }
    };
}

service! {
    /// Comes from a macro.
    pub Made, "made.v1", name: Wrapped, Vec<u8>, { let _ = name; Ok(Vec::new()) }
}

service!(Hidden, "hidden", name: Wrapped, Option<Vec<u8>>, { Err(name) });

#[derive(serde::Serialize, serde::Deserialize)]
pub struct Wrapped;

fn main() {}
