//! `#[service]` knows two keys.

use rpc_core::service;

#[service(version = 1)]
trait Unknown {}

#[service(name = "a", name = "b")]
trait Twice {}

#[service(name)]
trait NoValue {}

#[service(crate = "not a path")]
trait NotAPath {}

#[service("literal")]
trait Literal {}

fn main() {}
