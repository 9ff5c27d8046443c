//! What generated code may touch, and nothing more; not for hand-written code.

pub use std::{boxed::Box, sync::Arc};

pub use crate::{
    CallError, Channel, RpcError,
    client::Call,
    codec::Octets,
    service::{
        Fallible, Handler, Method, OctetsReply, Oneway, Plain, Request, ResultType, Service,
    },
};

/// What every generated server can do: a macro, because `Clone` and `Debug` can't be written once
/// for all of them.
///
/// `#[service]` calls it with the server's visibility and name, the name of its parameter, and the
/// user's trait.
#[doc(hidden)]
#[macro_export]
macro_rules! __server_basics {
    ($vis:vis $server:ident, $service:ident, $bound:path) => {
        impl<$service: $bound> $server<$service> {
            /// Makes a server of `service`.
            #[must_use]
            $vis fn new(service: $service) -> Self {
                Self($crate::__private::Arc::new(service))
            }

            /// Makes a server of a service that others hold, too.
            #[must_use]
            $vis fn from_arc(service: $crate::__private::Arc<$service>) -> Self {
                Self(service)
            }
        }

        impl<$service> ::core::clone::Clone for $server<$service> {
            fn clone(&self) -> Self {
                Self(::core::clone::Clone::clone(&self.0))
            }
        }

        impl<$service> ::core::fmt::Debug for $server<$service> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(::core::stringify!($server)).finish_non_exhaustive()
            }
        }
    };
}

pub use crate::__server_basics as server_basics;
