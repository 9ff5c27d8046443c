//! What users call like things of the prelude, of std and of ours isn't used by accident.

#![deny(warnings)]
#![allow(dead_code, non_camel_case_types)]

mod rpc_core {}
mod core {}
mod std {}

struct Result;
struct String;
struct Vec;
struct Option;
struct Some;
struct Box;
struct Arc;
struct Clone;
struct Debug;
struct Send;
struct Sync;
struct Sized;
struct Future;
struct Fn;
struct Channel;
struct Call;
struct RpcError;
struct CallError;
struct Context;
struct Method;
struct Request;
struct Handler;
struct Service;
struct Plain;
struct Octets;
struct u8;
struct bool;
struct str;

#[::rpc_core::service]
pub trait Greeter {
    async fn hello(&self, name: ::std::string::String, n: u64) -> ::std::string::String;
    async fn optional(&self, bytes: ::std::option::Option<::std::vec::Vec<u64>>);
    async fn fallible(&self) -> ::std::result::Result<(), u64>;
    async fn default(&self, n: u64) -> u64 {
        n
    }
}

struct Impl;

impl Greeter for Impl {
    async fn hello(&self, name: ::std::string::String, _: u64) -> ::std::string::String {
        name
    }
    async fn optional(&self, _: ::std::option::Option<::std::vec::Vec<u64>>) {}
    async fn fallible(&self) -> ::std::result::Result<(), u64> {
        ::std::result::Result::Err(1)
    }
}

fn main() {
    let server = GreeterServer::new(::std::sync::Arc::new(Impl));
    let _ = ::std::clone::Clone::clone(&server);
}
