#[cfg(feature = "odd")]
#[deprecated]
pub(crate) trait S: ::core::marker::Send + ::core::marker::Sync + 'static + Debug where
    Self: Clone,
{
    fn r#match(
        &self,
        r#type: Cow<'_, str>,
        request: u8,
        service: u8,
    ) -> impl ::core::future::Future<Output = r#fn::Result> + ::core::marker::Send;
    #[cfg_attr(windows, deprecated, inline)]
    #[expect(non_snake_case)]
    fn Default(
        &self,
        reply: u32,
    ) -> impl ::core::future::Future<Output = u32> + ::core::marker::Send {
        async move {
            if let ::core::option::Option::Some(reply) = ::core::option::Option::None::<u32> {
                return reply;
            }
            #[allow(clippy::diverging_sub_expression)]
            let reply: u32 = { reply + 1 };
            #[allow(unreachable_code)]
            reply
        }
    }
    #[cfg(any())]
    fn nothing(
        &self,
    ) -> impl ::core::future::Future<Output = Result<Vec<u8>, Nothing>> + ::core::marker::Send;
    fn log(&self, line: String) -> impl ::core::future::Future<Output = ()> + ::core::marker::Send;
}
/// Calls a [`S`] over a channel. Cheap to clone.
///
/// Nothing is sent before a call is first polled. Dropping a call cancels it.
#[cfg(feature = "odd")]
#[deprecated]
#[allow(dead_code)]
pub(crate) struct SClient(crate::rpc::__private::Channel);
/// Serves an implementation of [`S`].
#[cfg(feature = "odd")]
#[deprecated]
#[allow(dead_code)]
pub(crate) struct SServer<T>(crate::rpc::__private::Arc<T>);
#[cfg(feature = "odd")]
#[allow(dead_code, deprecated, non_upper_case_globals, clippy::used_underscore_binding)]
const _: () = {
    use crate::rpc::__private as __rpc;
    const __match: __rpc::Method = __rpc::Method::new("odd.v1", "match");
    const __Default: __rpc::Method = __rpc::Method::new("odd.v1", "dflt").idempotent();
    #[cfg(any())]
    const __nothing: __rpc::Method = __rpc::Method::new("odd.v1", "nothing");
    const __log: __rpc::Method = __rpc::Method::new("odd.v1", "log");
    __rpc::generated!(pub (crate) SClient, SServer, T, S);
    __rpc::for_pointers!(
        #[needs(Self : Debug, Self : Clone)]
        trait S {
            async fn r#match(&self, r#type: Cow<'_, str>, request: u8, service: u8)
            -> r#fn::Result;
            async fn Default(&self, reply: u32) -> u32;
            #[cfg(any())]
            async fn nothing(&self) -> Result<Vec<u8>, Nothing>;
            async fn log(&self, line: String) -> ();
        }
    );
    impl SClient {
        /// Calls `match` of the service.
        pub(crate) fn r#match(
            &self,
            r#type: Cow<'_, str>,
            request: u8,
            service: u8,
        ) -> __rpc::Call<
            <r#fn::Result as __rpc::ResultType>::Ok,
            __rpc::CallError<<r#fn::Result as __rpc::ResultType>::Err>,
        > {
            self.0.call::<__rpc::Fallible<_>>(&__match, (r#type, request, service))
        }
        /// Calls `Default` of the service.
        #[cfg_attr(windows, deprecated)]
        #[allow(non_snake_case)]
        pub(crate) fn Default(&self, reply: u32) -> __rpc::Call<u32, __rpc::RpcError> {
            self.0.call::<__rpc::Plain<_>>(&__Default, (reply,))
        }
        /// Calls `nothing` of the service.
        #[cfg(any())]
        pub(crate) fn nothing(&self) -> __rpc::Call<Vec<u8>, __rpc::CallError<Nothing>> {
            self.0.call::<__rpc::OctetsReply<Result<Vec<u8>, _>>>(&__nothing, ())
        }
        /// Calls `log` of the service.
        ///
        /// One-way: `Ok` says that the request has left this process, and no more.
        pub(crate) fn log(&self, line: String) -> __rpc::Call<(), __rpc::RpcError> {
            self.0.call::<__rpc::Oneway>(&__log, (line,))
        }
    }
    impl<T: S> __rpc::Service for SServer<T> {
        fn name(&self) -> &'static ::core::primitive::str {
            "odd.v1"
        }
        fn methods(&self) -> &'static [__rpc::Method] {
            const METHODS: &[__rpc::Method] = __rpc::Method::unique(&[
                __match,
                __Default,
                #[cfg(any())]
                __nothing,
                __log,
            ]);
            METHODS
        }
        fn call(&self, request: __rpc::Request) -> __rpc::Handler {
            let service = ::core::clone::Clone::clone(&self.0);
            match request.method() {
                id if id == __match.id() => __rpc::Box::pin(async move {
                    let (r#type, request, service) = request.args()?;
                    let reply = S::r#match(&*service, r#type, request, service).await;
                    request.reply::<__rpc::Fallible<_>>(&reply)
                }),
                id if id == __Default.id() => __rpc::Box::pin(async move {
                    let (reply,) = request.args()?;
                    let reply = S::Default(&*service, reply).await;
                    request.reply::<__rpc::Plain<_>>(&reply)
                }),
                #[cfg(any())]
                id if id == __nothing.id() => __rpc::Box::pin(async move {
                    request.args::<()>()?;
                    let reply = S::nothing(&*service).await;
                    request.reply::<__rpc::OctetsReply<Result<Vec<u8>, _>>>(&reply)
                }),
                id if id == __log.id() => __rpc::Box::pin(async move {
                    let (line,) = request.args()?;
                    let reply = S::log(&*service, line).await;
                    request.reply::<__rpc::Oneway>(&reply)
                }),
                _ => request.unknown_method(),
            }
        }
    }
};
