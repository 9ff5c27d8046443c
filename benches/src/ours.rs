//! Our calls over TCP; a placeholder with its final shape until rpc-core can serve them.
//!
//! To register it: depend on `rpc-core` and `rpc-transport-tcp` by path, write the contract
//! `add(a: u64, b: u64) -> u64` here, fill in the three functions, add `Ours` to `Contender`.
//! The server has to outlive `serve`: hand it to a task that waits for it.

use std::io;
use std::net::SocketAddr;

use crate::harness::Target;

/// Starts the server on the current runtime; returns the address it is bound to.
#[expect(clippy::unused_async, reason = "binding a listener awaits")]
pub(crate) async fn serve(_addr: SocketAddr) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Becomes the generated client, which is cheap to clone.
#[derive(Clone)]
pub(crate) enum Client {}

impl Target for Client {
    async fn connect(_addr: SocketAddr) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn add(&self, _a: u64, _b: u64) -> u64 {
        match *self {}
    }
}
