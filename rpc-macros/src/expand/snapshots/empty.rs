trait Nothing: ::core::marker::Send + ::core::marker::Sync + 'static {}
/// Calls a [`Nothing`] over a channel. Cheap to clone.
///
/// Nothing is sent before a call is first polled. Dropping a call cancels it.
#[allow(dead_code)]
struct NothingClient(::rpc_core::__private::Channel);
/// Serves an implementation of [`Nothing`].
#[allow(dead_code)]
struct NothingServer<S>(::rpc_core::__private::Arc<S>);
#[allow(dead_code, deprecated, non_upper_case_globals, clippy::used_underscore_binding)]
const _: () = {
    use ::rpc_core::__private as __rpc;
    __rpc::generated!(NothingClient, NothingServer, S, Nothing);
    __rpc::for_pointers!(
        trait Nothing {}
    );
    impl<S: Nothing> __rpc::Service for NothingServer<S> {
        fn name(&self) -> &'static ::core::primitive::str {
            "Nothing"
        }
        fn methods(&self) -> &'static [__rpc::Method] {
            const METHODS: &[__rpc::Method] = __rpc::Method::unique(&[]);
            METHODS
        }
        fn call(&self, request: __rpc::Request) -> __rpc::Handler {
            match request.method() {
                _ => request.unknown_method(),
            }
        }
    }
};
