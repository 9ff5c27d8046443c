//! Nothing is taken from the prelude, and what the user calls `Result` or `Box` isn't used by accident.

#![no_implicit_prelude]
#![allow(dead_code)]

struct Box;
struct Arc;
struct Send;
struct Future;
enum Option {
    None,
}
struct Vec;

#[::rpc_core::service]
pub trait Bare {
    async fn number(&self, text: &str) -> u32;
    async fn fallible(&self) -> ::std::result::Result<(), ::std::string::String>;
    async fn unit(&self) {}
    async fn later(&self) -> u32 {
        2
    }
}

mod shadowed {
    pub type Result<T> = ::std::result::Result<T, ::std::string::String>;

    #[::rpc_core::service]
    pub trait Shadowed {
        async fn number(&self) -> Result<u32>;
    }

    fn call(client: &ShadowedClient) -> ::rpc_core::Call<u32, ::rpc_core::CallError<::std::string::String>> {
        client.number()
    }
}

fn main() {}
