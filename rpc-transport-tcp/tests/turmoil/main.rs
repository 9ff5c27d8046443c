//! What calls promise over TCP when the network is cut, holds segments back and delays them, and the
//! server dies and starts again: rpc-core's client and server in turmoil's simulated network, from
//! seeds. Real sockets are the business of `it`, real processes that of `processes`. All but `network`
//! is what the tests of UDP run, too.
//!
//! A seed makes 500 calls.
//!
//! ```console
//! RPC_SEEDS=5000 cargo test --release -p rpc-transport-tcp --test turmoil -- --nocapture
//! RPC_SEED=7 cargo test -p rpc-transport-tcp --test turmoil calls
//! ```
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

mod books;
mod hosts;
mod network;
mod plan;
mod seeds;
mod world;
