/// Counts and joins.
pub trait Streams: ::core::marker::Send + ::core::marker::Sync + 'static {
    /// Counts up to `to`.
    fn count(
        &self,
        to: u32,
    ) -> impl ::core::future::Future<Output = Streaming<u32>> + ::core::marker::Send;
    /// Joins what the caller sends.
    fn join(
        &self,
        separator: &str,
        words: Streaming<String>,
    ) -> impl ::core::future::Future<Output = String> + ::core::marker::Send;
    /// Both at once.
    fn double(
        &self,
        items: Streaming<u32>,
    ) -> impl ::core::future::Future<Output = Result<Streaming<u32>, Denied>> + ::core::marker::Send;
}
/// Calls a [`Streams`] over a channel. Cheap to clone.
///
/// Nothing is sent before a call is first polled. Dropping a call cancels it.
#[allow(dead_code)]
pub struct StreamsClient(::rpc_core::__private::Channel);
/// Serves an implementation of [`Streams`].
#[allow(dead_code)]
pub struct StreamsServer<S>(::rpc_core::__private::Arc<S>);
#[allow(dead_code, deprecated, non_upper_case_globals, clippy::used_underscore_binding)]
const _: () = {
    use ::rpc_core::__private as __rpc;
    const __count: __rpc::Method = __rpc::Method::new("Streams", "count");
    const __join: __rpc::Method = __rpc::Method::new("Streams", "join");
    const __double: __rpc::Method = __rpc::Method::new("Streams", "double");
    __rpc::generated!(pub StreamsClient, StreamsServer, S, Streams);
    __rpc::for_pointers!(
        trait Streams {
            async fn count(&self, to: u32) -> Streaming<u32>;
            async fn join(&self, separator: &str, words: Streaming<String>) -> String;
            async fn double(&self, items: Streaming<u32>) -> Result<Streaming<u32>, Denied>;
        }
    );
    impl StreamsClient {
        /// Counts up to `to`.
        pub fn count(&self, to: u32) -> __rpc::Call<Streaming<u32>, __rpc::RpcError> {
            self.0.call_stream::<__rpc::Streamed<_>>(&__count, (to,))
        }
        /// Joins what the caller sends.
        pub fn join(
            &self,
            separator: &str,
            words: Streaming<String>,
        ) -> __rpc::Call<String, __rpc::RpcError> {
            self.0.call::<__rpc::Plain<_>>(&__join, (separator,)).with_items(words)
        }
        /// Both at once.
        pub fn double(
            &self,
            items: Streaming<u32>,
        ) -> __rpc::Call<Streaming<u32>, __rpc::CallError<Denied>> {
            self.0.call_stream::<__rpc::FallibleStreamed<_>>(&__double, ()).with_items(items)
        }
    }
    impl<S: Streams> __rpc::Service for StreamsServer<S> {
        fn name(&self) -> &'static ::core::primitive::str {
            "Streams"
        }
        fn methods(&self) -> &'static [__rpc::Method] {
            const METHODS: &[__rpc::Method] = __rpc::Method::unique(&[__count, __join, __double]);
            METHODS
        }
        fn call(&self, request: __rpc::Request) -> __rpc::Handler {
            let service = ::core::clone::Clone::clone(&self.0);
            match request.method() {
                id if id == __count.id() => __rpc::Box::pin(async move {
                    let (to,) = request.args()?;
                    let reply = Streams::count(&*service, to).await;
                    request.stream::<__rpc::Streamed<_>>(reply)
                }),
                id if id == __join.id() => __rpc::Box::pin(async move {
                    let mut request = request;
                    let words = request.items()?;
                    let (separator,) = request.args()?;
                    let reply = Streams::join(&*service, separator, words).await;
                    request.reply::<__rpc::Plain<_>>(&reply)
                }),
                id if id == __double.id() => __rpc::Box::pin(async move {
                    let mut request = request;
                    let items = request.items()?;
                    request.args::<()>()?;
                    let reply = Streams::double(&*service, items).await;
                    request.stream::<__rpc::FallibleStreamed<_>>(reply)
                }),
                _ => request.unknown_method(),
            }
        }
    }
};
