//! Streams as arguments and replies, in all their forms.

use rpc_core::{Call, CallError, Context, RpcError, Streaming};

#[derive(serde::Serialize, serde::Deserialize)]
pub struct Failed;

mod own {
    pub type Result<T> = std::result::Result<T, super::Failed>;
}

#[rpc_core::service]
pub trait Streams {
    async fn count(&self, to: u32) -> Streaming<u32>;
    async fn join(&self, words: Streaming<String>) -> String;
    async fn echo(&self, name: &str, items: Streaming<Vec<u8>>) -> Streaming<Vec<u8>>;
    async fn checked(&self, items: Streaming<u8>) -> Result<Streaming<u8>, String>;
    async fn alias(&self) -> own::Result<Streaming<u8>>;
    async fn qualified(&self, items: rpc_core::Streaming<u8>) -> rpc_core::Streaming<u8>;
    /// Items may fail one by one.
    async fn results(&self) -> Streaming<Result<u8, String>>;
    async fn context(&self, items: Streaming<u8>, #[ctx] cx: &Context) -> u64;
    #[rpc(idempotent, name = "again")]
    async fn retried(&self) -> Streaming<u8>;
    /// Nothing but a stream.
    async fn nothing(&self, items: Streaming<()>);
    /// The names of generated code are free.
    async fn names(&self, request: u8, reply: Streaming<u8>) -> Streaming<u8> {
        let _ = (request, reply);
        Streaming::from(vec![])
    }
}

fn calls(client: &StreamsClient, words: Streaming<String>, bytes: Streaming<Vec<u8>>) {
    drop::<Call<Streaming<u32>, RpcError>>(client.count(3));
    drop::<Call<String>>(client.join(words));
    drop::<Call<Streaming<Vec<u8>>>>(client.echo("", bytes));
    drop::<Call<Streaming<u8>, CallError<String>>>(client.checked([1].into_iter().collect()));
    drop::<Call<Streaming<u8>, CallError<Failed>>>(client.alias());
    drop::<Call<Streaming<Result<u8, String>>>>(client.results());
    drop::<Call<()>>(client.nothing(Streaming::from(vec![()])));
}

fn main() {
    let _ = calls;
}
