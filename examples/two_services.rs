//! Two services on one port, two clients on one connection, and state that they share.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rpc_core::{Channel, Context, Server};
use rpc_transport_tcp as transport;

#[rpc_core::service]
trait Counter {
    /// Adds to the count, and returns it.
    async fn add(&self, n: u64) -> u64;
}

/// The name on the wire needn't be the trait's.
#[rpc_core::service(name = "Counter.Admin")]
trait Admin {
    /// Sets the count to zero, for callers who say who they are.
    async fn reset(&self, #[ctx] cx: &Context) -> Result<u64, String>;
}

#[derive(Default)]
struct State {
    count: AtomicU64,
}

/// One type may implement both; handlers take `&self`, so shared state needs no clone of its own.
impl Counter for State {
    async fn add(&self, n: u64) -> u64 {
        self.count.fetch_add(n, Ordering::Relaxed) + n
    }
}

impl Admin for State {
    async fn reset(&self, cx: &Context) -> Result<u64, String> {
        match cx.metadata().get_str("user") {
            Some("root") => Ok(self.count.swap(0, Ordering::Relaxed)),
            _ => Err(format!("{} may not do that", cx.peer().address())),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let state = Arc::new(State::default());
    let server = Server::builder()
        .service(CounterServer::from_arc(Arc::clone(&state)))
        .service(AdminServer::from_arc(state))
        .listen(transport::listen("127.0.0.1:0").await?)
        .start()?;

    let channel = Channel::connect(transport::connector(server.local_addr()?)).await?;
    let counter = CounterClient::new(channel.clone());
    let admin = AdminClient::new(channel);

    println!("count: {}", counter.add(40).await?);
    println!("count: {}", counter.add(2).await?);
    match admin.reset().await {
        Err(error) => println!("without a name: {error}"),
        Ok(_) => return Err("expected a refusal".into()),
    }
    println!("reset at {}", admin.reset().metadata("user", "root").await?);
    println!("count: {}", counter.add(1).await?);
    Ok(())
}
