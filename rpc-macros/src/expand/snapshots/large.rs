/// Keeps values under names.
pub trait Store: ::core::marker::Send + ::core::marker::Sync + 'static {
    /// The value under `key`.
    fn get(
        &self,
        key: &str,
    ) -> impl ::core::future::Future<Output = Option<Vec<u8>>> + ::core::marker::Send;
    /// Puts a value under `key`.
    fn put(
        &self,
        key: &str,
        value: &[u8],
    ) -> impl ::core::future::Future<Output = Result<(), Full>> + ::core::marker::Send;
    /// Removes what is under `key`.
    fn remove(
        &self,
        key: &str,
    ) -> impl ::core::future::Future<Output = Result<Vec<u8>, Missing>> + ::core::marker::Send;
    /// Whether there is something under `key`.
    fn contains(
        &self,
        key: &str,
    ) -> impl ::core::future::Future<Output = bool> + ::core::marker::Send;
    /// How many keys there are.
    fn len(&self) -> impl ::core::future::Future<Output = u64> + ::core::marker::Send;
    /// Removes everything.
    fn clear(&self) -> impl ::core::future::Future<Output = ()> + ::core::marker::Send;
    /// The keys that start with `prefix`.
    fn keys(
        &self,
        prefix: &str,
        limit: u32,
    ) -> impl ::core::future::Future<Output = Vec<String>> + ::core::marker::Send;
    /// What the store is doing.
    fn status(&self) -> impl ::core::future::Future<Output = Status> + ::core::marker::Send;
    /// Says who may write.
    fn grant(
        &self,
        user: User,
        cx: &Context,
    ) -> impl ::core::future::Future<Output = Result<(), Denied>> + ::core::marker::Send;
    /// Writes everything to a file.
    fn save(
        &self,
        path: PathBuf,
    ) -> impl ::core::future::Future<Output = io::Result<u64>> + ::core::marker::Send;
}
/// Calls a [`Store`] over a channel. Cheap to clone.
///
/// Nothing is sent before a call is first polled. Dropping a call cancels it.
#[allow(dead_code)]
pub struct StoreClient(::rpc_core::__private::Channel);
/// Serves an implementation of [`Store`].
#[allow(dead_code)]
pub struct StoreServer<S>(::rpc_core::__private::Arc<S>);
#[allow(dead_code, deprecated, non_upper_case_globals, clippy::used_underscore_binding)]
const _: () = {
    use ::rpc_core::__private as __rpc;
    const __get: __rpc::Method = __rpc::Method::new("Store", "get").idempotent();
    const __put: __rpc::Method = __rpc::Method::new("Store", "put");
    const __remove: __rpc::Method = __rpc::Method::new("Store", "remove").idempotent();
    const __contains: __rpc::Method = __rpc::Method::new("Store", "contains");
    const __len: __rpc::Method = __rpc::Method::new("Store", "len");
    const __clear: __rpc::Method = __rpc::Method::new("Store", "clear");
    const __keys: __rpc::Method = __rpc::Method::new("Store", "keys");
    const __status: __rpc::Method = __rpc::Method::new("Store", "status");
    const __grant: __rpc::Method = __rpc::Method::new("Store", "grant");
    const __save: __rpc::Method = __rpc::Method::new("Store", "save");
    __rpc::generated!(pub StoreClient, StoreServer, S, Store);
    __rpc::for_pointers!(
        trait Store {
            async fn get(&self, key: &str) -> Option<Vec<u8>>;
            async fn put(&self, key: &str, value: &[u8]) -> Result<(), Full>;
            async fn remove(&self, key: &str) -> Result<Vec<u8>, Missing>;
            async fn contains(&self, key: &str) -> bool;
            async fn len(&self) -> u64;
            async fn clear(&self) -> ();
            async fn keys(&self, prefix: &str, limit: u32) -> Vec<String>;
            async fn status(&self) -> Status;
            async fn grant(&self, user: User, cx: &Context) -> Result<(), Denied>;
            async fn save(&self, path: PathBuf) -> io::Result<u64>;
        }
    );
    impl StoreClient {
        /// The value under `key`.
        pub fn get(&self, key: &str) -> __rpc::Call<Option<Vec<u8>>, __rpc::RpcError> {
            self.0.call::<__rpc::OctetsReply<Option<Vec<u8>>>>(&__get, (key,))
        }
        /// Puts a value under `key`.
        pub fn put(&self, key: &str, value: &[u8]) -> __rpc::Call<(), __rpc::CallError<Full>> {
            self.0.call::<__rpc::Fallible<_>>(&__put, (key, __rpc::Octets(value)))
        }
        /// Removes what is under `key`.
        pub fn remove(&self, key: &str) -> __rpc::Call<Vec<u8>, __rpc::CallError<Missing>> {
            self.0.call::<__rpc::OctetsReply<Result<Vec<u8>, _>>>(&__remove, (key,))
        }
        /// Whether there is something under `key`.
        pub fn contains(&self, key: &str) -> __rpc::Call<bool, __rpc::RpcError> {
            self.0.call::<__rpc::Plain<_>>(&__contains, (key,))
        }
        /// How many keys there are.
        pub fn len(&self) -> __rpc::Call<u64, __rpc::RpcError> {
            self.0.call::<__rpc::Plain<_>>(&__len, ())
        }
        /// Removes everything.
        pub fn clear(&self) -> __rpc::Call<(), __rpc::RpcError> {
            self.0.call::<__rpc::Plain<_>>(&__clear, ())
        }
        /// The keys that start with `prefix`.
        pub fn keys(&self, prefix: &str, limit: u32) -> __rpc::Call<Vec<String>, __rpc::RpcError> {
            self.0.call::<__rpc::Plain<_>>(&__keys, (prefix, limit))
        }
        /// What the store is doing.
        pub fn status(&self) -> __rpc::Call<Status, __rpc::RpcError> {
            self.0.call::<__rpc::Plain<_>>(&__status, ())
        }
        /// Says who may write.
        pub fn grant(&self, user: User) -> __rpc::Call<(), __rpc::CallError<Denied>> {
            self.0.call::<__rpc::Fallible<_>>(&__grant, (user,))
        }
        /// Writes everything to a file.
        pub fn save(
            &self,
            path: PathBuf,
        ) -> __rpc::Call<
            <io::Result<u64> as __rpc::ResultType>::Ok,
            __rpc::CallError<<io::Result<u64> as __rpc::ResultType>::Err>,
        > {
            self.0.call::<__rpc::Fallible<_>>(&__save, (path,))
        }
    }
    impl<S: Store> __rpc::Service for StoreServer<S> {
        fn name(&self) -> &'static ::core::primitive::str {
            "Store"
        }
        fn methods(&self) -> &'static [__rpc::Method] {
            const METHODS: &[__rpc::Method] = __rpc::Method::unique(&[
                __get, __put, __remove, __contains, __len, __clear, __keys, __status, __grant,
                __save,
            ]);
            METHODS
        }
        fn call(&self, request: __rpc::Request) -> __rpc::Handler {
            let service = ::core::clone::Clone::clone(&self.0);
            match request.method() {
                id if id == __get.id() => __rpc::Box::pin(async move {
                    let (key,) = request.args()?;
                    let reply = Store::get(&*service, key).await;
                    request.reply::<__rpc::OctetsReply<Option<Vec<u8>>>>(&reply)
                }),
                id if id == __put.id() => __rpc::Box::pin(async move {
                    let (key, __rpc::Octets(value)) = request.args()?;
                    let reply = Store::put(&*service, key, value).await;
                    request.reply::<__rpc::Fallible<_>>(&reply)
                }),
                id if id == __remove.id() => __rpc::Box::pin(async move {
                    let (key,) = request.args()?;
                    let reply = Store::remove(&*service, key).await;
                    request.reply::<__rpc::OctetsReply<Result<Vec<u8>, _>>>(&reply)
                }),
                id if id == __contains.id() => __rpc::Box::pin(async move {
                    let (key,) = request.args()?;
                    let reply = Store::contains(&*service, key).await;
                    request.reply::<__rpc::Plain<_>>(&reply)
                }),
                id if id == __len.id() => __rpc::Box::pin(async move {
                    request.args::<()>()?;
                    let reply = Store::len(&*service).await;
                    request.reply::<__rpc::Plain<_>>(&reply)
                }),
                id if id == __clear.id() => __rpc::Box::pin(async move {
                    request.args::<()>()?;
                    let reply = Store::clear(&*service).await;
                    request.reply::<__rpc::Plain<_>>(&reply)
                }),
                id if id == __keys.id() => __rpc::Box::pin(async move {
                    let (prefix, limit) = request.args()?;
                    let reply = Store::keys(&*service, prefix, limit).await;
                    request.reply::<__rpc::Plain<_>>(&reply)
                }),
                id if id == __status.id() => __rpc::Box::pin(async move {
                    request.args::<()>()?;
                    let reply = Store::status(&*service).await;
                    request.reply::<__rpc::Plain<_>>(&reply)
                }),
                id if id == __grant.id() => __rpc::Box::pin(async move {
                    let (user,) = request.args()?;
                    let reply = Store::grant(&*service, user, request.context()).await;
                    request.reply::<__rpc::Fallible<_>>(&reply)
                }),
                id if id == __save.id() => __rpc::Box::pin(async move {
                    let (path,) = request.args()?;
                    let reply = Store::save(&*service, path).await;
                    request.reply::<__rpc::Fallible<_>>(&reply)
                }),
                _ => request.unknown_method(),
            }
        }
    }
};
