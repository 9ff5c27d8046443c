//! RPC for Rust: annotate a trait, get a client and a server, choose a transport.
//!
//! ```
//! use rpc_core::{Channel, Server, transport::memory as transport};
//!
//! #[rpc_core::service]
//! trait Greeter {
//!     async fn hello(&self, name: &str) -> String;
//! }
//!
//! struct English;
//!
//! impl Greeter for English {
//!     async fn hello(&self, name: &str) -> String {
//!         format!("Hello, {name}!")
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = transport::listen("greeter").await?;
//! let server = Server::builder().service(GreeterServer::new(English)).listen(listener).start()?;
//!
//! let channel = Channel::connect(transport::connector("greeter")).await?;
//! let greeter = GreeterClient::new(channel);
//! assert_eq!(greeter.hello("Ada").await?, "Hello, Ada!");
//! # drop(server);
//! # Ok(())
//! # }
//! ```
//!
//! This crate has everything but the sockets: those are the business of transport crates such as
//! `rpc-transport-tcp`, which a `use` line chooses.
//!
//! # Where to begin
//! - [`service`](macro@service): the attribute, what it accepts and what it generates.
//! - [`Channel`] and [`Call`]: the client's side.
//! - [`Server`] and [`Context`]: the server's side. Clients can serve, too:
//!   [`ChannelBuilder::service`] and [`Context::channel`].
//! - [`Streaming`]: many values in reply to one call, or as its last argument.
//! - [`RpcError`], [`CallError`] and [`Delivery`]: what failed, and whether the handler may have run.
//! - [`transport`]: the contract, for those who bring a transport of their own.
//!
//! # The way of a call
//! ```text
//! stub → client → codec → mux → transport ~ wire ~ transport → mux → codec → dispatch → your impl
//! ```
//!
//! # Features
//! | feature | default | what it adds |
//! |---|---|---|
//! | `runtime` | yes | channels, servers and transports, on tokio |
//! | `macros` | yes | the attribute [`service`](macro@service) |
//! | `testing` | no | the kits that check transports and calls over them, and an adversarial transport |

#![cfg_attr(
    not(feature = "runtime"),
    allow(
        dead_code,
        unreachable_pub,
        unused_imports,
        reason = "without the runtime nothing drives the state machine"
    )
)]
#![cfg_attr(
    all(fuzzing, not(test)),
    allow(
        dead_code,
        unused_imports,
        reason = "targets share their rigs with tests, which are compiled without what is tested"
    )
)]
// Nothing that a peer sends may end the process: what could panic is refused, or says why it can't.
#![cfg_attr(
    not(any(fuzzing, test)),
    warn(
        clippy::disallowed_methods,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unimplemented,
        clippy::unreachable
    )
)]

// Lets generated code name this crate from within it (tests, doctests).
extern crate self as rpc_core;

#[cfg(feature = "runtime")]
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
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
mod counters;
mod error;
mod frame;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz;
mod limits;
#[cfg(all(test, rpc_shuttle))]
mod models;
mod mux;
mod outbox;
mod planted;
#[cfg(feature = "runtime")]
mod server;
pub mod service;
#[cfg(feature = "runtime")]
mod streaming;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transport;

#[cfg(feature = "runtime")]
pub use client::{Call, Channel, ChannelBuilder};
pub use codec::{DecodeError, EncodeError};
#[cfg(feature = "runtime")]
pub use context::Context;
#[cfg(feature = "runtime")]
pub use counters::Counters;
pub use error::{CallError, Delivery, ErrorKind, RpcError};
pub use frame::{Metadata, MetadataError};
pub use limits::Limits;
#[cfg(feature = "macros")]
pub use rpc_macros::service;
#[cfg(feature = "runtime")]
pub use server::{Server, ServerBuilder, StartError};
#[cfg(feature = "runtime")]
pub use streaming::{StreamSender, Streaming};

/// A random number for this run of the process.
#[cfg(feature = "runtime")]
fn random_u128() -> u128 {
    fastrand::u128(..)
}
