//! Services in edition 2021, in a crate that has rpc-core through a third one only, and that asks
//! more of its sources than most; no code that runs. That it compiles, and that clippy has nothing
//! to say, is the test.

#![deny(warnings, missing_docs, unreachable_pub, unused, unused_qualifications, unnameable_types)]
#![deny(clippy::all, clippy::pedantic, elided_lifetimes_in_paths, missing_debug_implementations)]
#![deny(single_use_lifetimes, unused_lifetimes, let_underscore_drop, rust_2024_compatibility)]

use std::{borrow::Cow, sync::Arc};

use framework::rpc::{Channel, Context};
use serde::{Deserialize, Serialize};

/// What can be wrong.
#[derive(Debug, Serialize, Deserialize)]
pub enum Failed {
    /// There is nothing.
    Empty,
}

/// Keeps values under names.
#[framework::rpc::service(crate = framework::rpc)]
pub trait Store {
    /// The value under `key`.
    #[rpc(idempotent)]
    async fn get(&self, key: &str) -> Option<Vec<u8>>;

    /// Puts a value under `key`.
    ///
    /// # Errors
    /// There is no value.
    async fn put(&self, key: Cow<'_, str>, value: &[u8]) -> Result<(), Failed>;

    /// Who asks.
    async fn who(&self, #[ctx] cx: &Context, hint: Option<&str>) -> String;

    /// How many values there are.
    async fn count(&self) -> u64 {
        0
    }
}

framework::counter! {
    /// Counts.
    pub Counter counts u64
}

framework::counter!(Hidden counts u8);

/// Stores nothing.
#[derive(Debug)]
pub struct Nowhere;

impl Store for Nowhere {
    async fn get(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    async fn put(&self, _: Cow<'_, str>, value: &[u8]) -> Result<(), Failed> {
        if value.is_empty() {
            Err(Failed::Empty)
        } else {
            Ok(())
        }
    }

    async fn who(&self, _: &Context, hint: Option<&str>) -> String {
        hint.unwrap_or("nobody").to_owned()
    }
}

impl Counter for Nowhere {
    async fn add(&self, number: u64) -> u64 {
        number
    }
}

impl Hidden for Nowhere {
    async fn add(&self, number: u8) -> u8 {
        number
    }
}

/// Uses all that is written.
#[must_use]
pub fn all(channel: &Channel) -> (StoreServer<Arc<Nowhere>>, CounterServer<Nowhere>, StoreClient) {
    let hidden = HiddenClient::new(channel.clone());
    drop((HiddenServer::new(Nowhere), hidden.add(1)));
    let client = StoreClient::new(channel.clone());
    drop(client.put("key".into(), b"value"));
    drop(CounterClient::new(channel.clone()).add(1));
    (StoreServer::new(Arc::new(Nowhere)), CounterServer::new(Nowhere), client)
}
