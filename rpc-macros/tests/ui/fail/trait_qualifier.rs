//! A service is a plain trait.

use rpc_core::service;

#[service]
pub unsafe trait Unsafe {}

struct Struct;

unsafe impl Unsafe for Struct {}

#[service]
pub auto trait Auto {}

fn main() {
    let _ = UnsafeServer::new(Struct);
}
