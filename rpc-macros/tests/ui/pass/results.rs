//! What a method returns decides what the caller gets.

use rpc_core::{Call, CallError, RpcError};

type Reply = Result<u8, String>;

#[derive(serde::Serialize, serde::Deserialize)]
struct Failed;

mod own {
    pub type Result<T, E = super::Failed> = std::result::Result<T, E>;
}

#[rpc_core::service]
trait Results {
    async fn nothing(&self);
    async fn unit(&self) -> ();
    async fn plain(&self) -> Option<String>;
    async fn fallible(&self) -> Result<u8, String>;
    async fn bytes(&self) -> Result<Vec<u8>, Failed>;
    async fn maybe(&self) -> core::result::Result<Option<Vec<u8>>, Failed>;
    async fn alias(&self) -> own::Result<u8>;
    async fn other_alias(&self) -> Reply;
    async fn cow(&self) -> std::borrow::Cow<'static, str>;
}

fn is<T>(_: T) {}

fn calls(client: &ResultsClient) {
    is::<Call<()>>(client.nothing());
    is::<Call<(), RpcError>>(client.unit());
    is::<Call<Option<String>>>(client.plain());
    is::<Call<u8, CallError<String>>>(client.fallible());
    is::<Call<Vec<u8>, CallError<Failed>>>(client.bytes());
    is::<Call<Option<Vec<u8>>, CallError<Failed>>>(client.maybe());
    is::<Call<u8, CallError<Failed>>>(client.alias());
    is::<Call<Result<u8, String>, RpcError>>(client.other_alias());
    is::<Call<std::borrow::Cow<'static, str>>>(client.cow());
}

fn main() {
    let _ = calls;
}
