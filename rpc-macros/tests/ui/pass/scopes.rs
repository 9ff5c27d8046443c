//! A trait may stand in a function, be private, have supertraits and conditions, no methods at all, and share its crate.

#![deny(warnings)]

use std::{fmt::Debug, sync::Arc};

mod outer {
    pub mod inner {
        #[rpc_core::service]
        pub(super) trait Super {
            async fn get(&self) -> u8;
        }

        #[rpc_core::service]
        pub(in super::super::outer) trait InPath {
            async fn get(&self) -> u8;
        }
    }

    fn calls(one: &inner::SuperClient, two: &inner::InPathClient) {
        let _ = (one.get(), two.get());
    }

    pub fn make(channel: rpc_core::Channel) {
        calls(&inner::SuperClient::new(channel.clone()), &inner::InPathClient::new(channel));
    }
}

#[rpc_core::service]
trait Conditional: Clone + Debug
where
    Self: Default,
{
    #[cfg(any())]
    async fn gone(&self, missing: DoesNotExist) -> DoesNotExist;
    #[cfg(not(any()))]
    async fn twice(&self) -> u8;
    #[cfg(any())]
    async fn twice(&self) -> u16;
    #[rpc(name = "there's a name")]
    async fn here(&self) -> u8;
}

#[derive(Clone, Debug, Default)]
struct Impl;

impl Conditional for Impl {
    async fn twice(&self) -> u8 {
        1
    }
    async fn here(&self) -> u8 {
        2
    }
}

#[rpc_core::service]
trait Empty {}

impl Empty for Impl {}

fn main() {
    #[rpc_core::service]
    trait Local {
        async fn get(&self, value: Value) -> Value;
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Value;

    impl Local for Impl {
        async fn get(&self, value: Value) -> Value {
            value
        }
    }

    let _ = EmptyServer::new(Arc::new(Impl));
    let _ = (LocalServer::new(Impl), ConditionalServer::new(Impl), outer::make);
}
