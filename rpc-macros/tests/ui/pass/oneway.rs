//! One-way methods return nothing, are called like others, and may be anything else besides.

use rpc_core::{Call, Context, RpcError};

#[rpc_core::service]
trait Log {
    #[rpc(oneway)]
    async fn line(&self, line: &str);
    #[rpc(oneway)]
    async fn unit(&self, #[ctx] cx: &Context, octets: &[u8]) -> ();
    /// Has a default.
    #[rpc(idempotent, name = "flushed", oneway)]
    async fn flush(&self) {}
    #[cfg(any())]
    #[rpc(oneway)]
    async fn absent(&self, missing: Missing);
}

struct Quiet;

impl Log for Quiet {
    async fn line(&self, _: &str) {}
    async fn unit(&self, _: &Context, _: &[u8]) {}
}

fn calls(client: &LogClient) {
    drop::<Call<()>>(client.line(""));
    drop::<Call<(), RpcError>>(client.unit(&[]));
    drop::<Call<()>>(client.flush());
}

fn main() {
    let _ = (LogServer::new(Quiet), calls);
}
