/// Keeps files.
pub trait Files: ::core::marker::Send + ::core::marker::Sync + 'static {
    /// Keeps one.
    fn put(
        &self,
        name: &str,
        file: Bytes,
    ) -> impl ::core::future::Future<Output = u64> + ::core::marker::Send;
    /// Gives one back.
    fn get(
        &self,
        name: &str,
    ) -> impl ::core::future::Future<Output = Result<Bytes, NotThere>> + ::core::marker::Send;
    /// Gives back what it is given.
    fn echo(
        &self,
        file: Bytes,
    ) -> impl ::core::future::Future<Output = Bytes> + ::core::marker::Send;
}
/// Calls a [`Files`] over a channel. Cheap to clone.
///
/// Nothing is sent before a call is first polled. Dropping a call cancels it.
#[allow(dead_code)]
pub struct FilesClient(::rpc_core::__private::Channel);
/// Serves an implementation of [`Files`].
#[allow(dead_code)]
pub struct FilesServer<S>(::rpc_core::__private::Arc<S>);
#[allow(dead_code, deprecated, non_upper_case_globals, clippy::used_underscore_binding)]
const _: () = {
    use ::rpc_core::__private as __rpc;
    const __put: __rpc::Method = __rpc::Method::new("Files", "put");
    const __get: __rpc::Method = __rpc::Method::new("Files", "get");
    const __echo: __rpc::Method = __rpc::Method::new("Files", "echo");
    __rpc::generated!(pub FilesClient, FilesServer, S, Files);
    __rpc::for_pointers!(
        trait Files {
            async fn put(&self, name: &str, file: Bytes) -> u64;
            async fn get(&self, name: &str) -> Result<Bytes, NotThere>;
            async fn echo(&self, file: Bytes) -> Bytes;
        }
    );
    impl FilesClient {
        /// Keeps one.
        pub fn put(&self, name: &str, file: Bytes) -> __rpc::Call<u64, __rpc::RpcError> {
            self.0.call_with_last::<__rpc::Plain<_>>(&__put, (name,), file)
        }
        /// Gives one back.
        pub fn get(&self, name: &str) -> __rpc::Call<Bytes, __rpc::CallError<NotThere>> {
            self.0.call::<__rpc::FallibleWhole<_>>(&__get, (name,))
        }
        /// Gives back what it is given.
        pub fn echo(&self, file: Bytes) -> __rpc::Call<Bytes, __rpc::RpcError> {
            self.0.call_with_last::<__rpc::Whole<_>>(&__echo, (), file)
        }
    }
    impl<S: Files> __rpc::Service for FilesServer<S> {
        fn name(&self) -> &'static ::core::primitive::str {
            "Files"
        }
        fn methods(&self) -> &'static [__rpc::Method] {
            const METHODS: &[__rpc::Method] = __rpc::Method::unique(&[__put, __get, __echo]);
            METHODS
        }
        fn call(&self, request: __rpc::Request) -> __rpc::Handler {
            let service = ::core::clone::Clone::clone(&self.0);
            match request.method() {
                id if id == __put.id() => __rpc::Box::pin(async move {
                    let ((name,), file) = request.args_and_last()?;
                    let reply = Files::put(&*service, name, file).await;
                    request.reply::<__rpc::Plain<_>>(&reply)
                }),
                id if id == __get.id() => __rpc::Box::pin(async move {
                    let (name,) = request.args()?;
                    let reply = Files::get(&*service, name).await;
                    request.reply::<__rpc::FallibleWhole<_>>(&reply)
                }),
                id if id == __echo.id() => __rpc::Box::pin(async move {
                    let ((), file) = request.args_and_last()?;
                    let reply = Files::echo(&*service, file).await;
                    request.reply::<__rpc::Whole<_>>(&reply)
                }),
                _ => request.unknown_method(),
            }
        }
    }
};
