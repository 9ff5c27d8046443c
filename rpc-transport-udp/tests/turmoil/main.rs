//! What calls promise over UDP in turmoil's simulated network, which is cut, holds back and delays, while
//! the server dies and starts again. The same hosts, plans and books as TCP's.
//!
//! ```console
//! RPC_SEEDS=5000 cargo test --release -p rpc-transport-udp --test turmoil -- --nocapture
//! RPC_SEED=7 cargo test -p rpc-transport-udp --test turmoil calls
//! ```
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

#[path = "../../../rpc-transport-tcp/tests/turmoil/books.rs"]
mod books;
#[path = "../../../rpc-transport-tcp/tests/turmoil/hosts.rs"]
mod hosts;
mod network;
#[path = "../../../rpc-transport-tcp/tests/turmoil/plan.rs"]
mod plan;
#[path = "../../../rpc-transport-tcp/tests/turmoil/seeds.rs"]
mod seeds;
#[path = "../../../rpc-transport-tcp/tests/turmoil/world.rs"]
mod world;
