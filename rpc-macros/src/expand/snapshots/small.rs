/// Greets people.
pub trait Greeter: ::core::marker::Send + ::core::marker::Sync + 'static {
    /// Greets one person.
    fn hello(
        &self,
        name: &str,
    ) -> impl ::core::future::Future<Output = Result<String, GreetError>> + ::core::marker::Send;
}
/// Calls a [`Greeter`] over a channel. Cheap to clone.
///
/// Nothing is sent before a call is first polled. Dropping a call cancels it.
#[allow(dead_code)]
pub struct GreeterClient(::rpc_core::__private::Channel);
/// Serves an implementation of [`Greeter`].
#[allow(dead_code)]
pub struct GreeterServer<S>(::rpc_core::__private::Arc<S>);
#[allow(dead_code, deprecated, non_upper_case_globals, clippy::used_underscore_binding)]
const _: () = {
    use ::rpc_core::__private as __rpc;
    const __hello: __rpc::Method = __rpc::Method::new("Greeter", "hello");
    __rpc::generated!(pub GreeterClient, GreeterServer, S, Greeter);
    __rpc::for_pointers!(
        trait Greeter {
            async fn hello(&self, name: &str) -> Result<String, GreetError>;
        }
    );
    impl GreeterClient {
        /// Greets one person.
        pub fn hello(&self, name: &str) -> __rpc::Call<String, __rpc::CallError<GreetError>> {
            self.0.call::<__rpc::Fallible<_>>(&__hello, (name,))
        }
    }
    impl<S: Greeter> __rpc::Service for GreeterServer<S> {
        fn name(&self) -> &'static ::core::primitive::str {
            "Greeter"
        }
        fn methods(&self) -> &'static [__rpc::Method] {
            const METHODS: &[__rpc::Method] = __rpc::Method::unique(&[__hello]);
            METHODS
        }
        fn call(&self, request: __rpc::Request) -> __rpc::Handler {
            let service = ::core::clone::Clone::clone(&self.0);
            match request.method() {
                id if id == __hello.id() => __rpc::Box::pin(async move {
                    let (name,) = request.args()?;
                    let reply = Greeter::hello(&*service, name).await;
                    request.reply::<__rpc::Fallible<_>>(&reply)
                }),
                _ => request.unknown_method(),
            }
        }
    }
};
