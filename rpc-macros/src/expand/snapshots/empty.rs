trait Nothing: ::core::marker::Send + ::core::marker::Sync + 'static {}
/// Calls a [`Nothing`] over a channel. Cheap to clone.
///
/// Nothing is sent before a call is first polled. Dropping a call cancels it.
#[allow(dead_code)]
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
struct NothingClient(::rpc_core::__private::Channel);
/// Serves an implementation of [`Nothing`].
#[allow(dead_code)]
struct NothingServer<S>(::rpc_core::__private::Arc<S>);
#[allow(dead_code, deprecated, non_upper_case_globals, clippy::used_underscore_binding)]
const _: () = {
    use ::rpc_core::__private as __rpc;
    impl NothingClient {
        /// Makes a client of `channel`.
        #[must_use]
        fn new(channel: __rpc::Channel) -> Self {
            Self(channel)
        }
    }
    __rpc::server_basics!(NothingServer, S, Nothing);
    impl<S: Nothing> __rpc::Service for NothingServer<S> {
        fn name(&self) -> &'static str {
            "Nothing"
        }
        fn methods(&self) -> &'static [__rpc::Method] {
            const METHODS: &[__rpc::Method] = &[];
            const _: () = __rpc::Method::assert_unique(METHODS);
            METHODS
        }
        fn call(&self, request: __rpc::Request) -> __rpc::Handler {
            match request.method() {
                _ => request.unknown_method(),
            }
        }
    }
};
