//! What generated code may touch, and nothing more; not for hand-written code.

pub use std::{boxed::Box, sync::Arc};

pub use crate::{
    __for_pointers as for_pointers, __generated as generated, CallError, Channel, RpcError,
    client::Call,
    codec::Octets,
    service::{
        Fallible, FallibleStreamed, FallibleWhole, Handler, Method, OctetsReply, Oneway, Plain,
        Request, ResultType, Service, Streamed, Whole,
    },
};

/// What every generated client and server can do: a macro, because inherent methods, `Clone` and
/// `Debug` can't be written once for all of them.
///
/// `#[service]` calls it with the visibility and names of client and server, the name of the
/// server's parameter, and the user's trait.
#[doc(hidden)]
#[macro_export]
macro_rules! __generated {
    ($vis:vis $client:ident, $server:ident, $service:ident, $bound:path) => {
        impl $client {
            /// Makes a client of `channel`.
            #[must_use]
            $vis fn new(channel: $crate::__private::Channel) -> Self {
                Self(channel)
            }
        }

        impl ::core::clone::Clone for $client {
            fn clone(&self) -> Self {
                Self(::core::clone::Clone::clone(&self.0))
            }
        }

        impl ::core::fmt::Debug for $client {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_tuple(::core::stringify!($client)).field(&self.0).finish()
            }
        }

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

/// Implements the user's trait for `Arc` and `Box` of implementations. `#[needs(..)]` says what the
/// trait asks of implementations, if anything.
///
/// Not for everything that derefs, which would take away what people write: types of their own that
/// deref to something, and those of std, could not be implementations any more (error E0119). Nor
/// for `&'static S`: methods of what is behind a `&&S` would be looked for there first, and the
/// outer reference be refused for not being `'static`. `rpc-macros/tests/ui/pass/pointers.rs` shows
/// what has to work.
#[doc(hidden)]
#[macro_export]
macro_rules! __for_pointers {
    ($(#[needs $bounds:tt])? trait $service:ident $methods:tt) => {
        $crate::__for_pointers!(@ Arc $service $methods $($bounds)?);
        $crate::__for_pointers!(@ Box $service $methods $($bounds)?);
    };
    (@ $pointer:ident $service:ident {
        $($(#[$cfg:meta])* async fn $method:ident(&self $(, $arg:ident: $ty:ty)*) -> $reply:ty;)*
    } $(($($bounds:tt)*))?) => {
        impl<__S: $service> $service for $crate::__private::$pointer<__S> where $($($bounds)*)? {$(
            $(#[$cfg])*
            fn $method(
                &self $(, $arg: $ty)*
            ) -> impl ::core::future::Future<Output = $reply> + ::core::marker::Send {
                $service::$method(&**self $(, $arg)*)
            }
        )*}
    };
}
