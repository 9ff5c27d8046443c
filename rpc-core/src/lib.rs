//! RPC for Rust: annotate a trait, get a client and a server, choose a transport.
//!
//! ```text
//! stub → client → codec → mux → transport ~ wire ~ transport → mux → codec → dispatch → your impl
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

// Lets generated code name this crate from within it (tests, doctests).
extern crate self as rpc_core;

mod body;
#[cfg(feature = "runtime")]
mod client;
#[cfg(feature = "runtime")]
mod clock;
mod codec;
#[cfg(feature = "runtime")]
mod connection;
#[cfg(feature = "runtime")]
mod context;
mod error;
mod frame;
mod limits;
mod mux;
mod outbox;
#[cfg(feature = "runtime")]
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
#[cfg(feature = "runtime")]
mod server;
pub mod service;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transport;

#[cfg(feature = "runtime")]
pub use client::{Call, Channel, ChannelBuilder};
#[cfg(feature = "runtime")]
pub use context::Context;
pub use error::{CallError, Delivery, ErrorKind, RpcError};
pub use frame::{Metadata, MetadataError};
pub use limits::Limits;
#[cfg(feature = "macros")]
pub use rpc_macros::service;
#[cfg(feature = "runtime")]
pub use server::{Server, ServerBuilder, StartError};

/// A random number for this run of the process.
#[cfg(feature = "runtime")]
fn random_u128() -> u128 {
    fastrand::u128(..)
}
