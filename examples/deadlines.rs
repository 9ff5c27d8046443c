//! How long a call may take, who else is bound by it, and what the caller learns when time is up.
//!
//! ```text
//! the default: 10 s
//! timeout(3 s): 3 s
//! deadline(now + 4 s): 4 s
//! no_deadline(): none
//! a call within a call, timeout(2 s) on the outer one: 2 s
//! timeout(200 ms): it counted as far as it could in time
//! a stuck handler: deadline exceeded, the handler may have run
//! no server there: deadline exceeded, the request was not sent
//! ```

use std::{
    error::Error,
    time::{Duration, Instant},
};

use rpc_core::{Channel, Context, Server, service::Service};
use rpc_transport_tcp as transport;

#[rpc_core::service]
trait Store {
    /// How much time the caller gives it.
    async fn remaining(&self) -> Option<Duration>;
}

#[rpc_core::service]
trait Shop {
    /// How much time it can give the store, which it asks.
    async fn ask_the_store(&self) -> Result<Option<Duration>, String>;
    /// Counts to `to`, or as far as it gets in time.
    async fn count(&self, to: u64) -> u64;
    /// Never ends.
    async fn stuck(&self);
}

struct Shelves;

impl Store for Shelves {
    async fn remaining(&self) -> Option<Duration> {
        Context::current().and_then(|cx| cx.remaining())
    }
}

struct Counter {
    store: StoreClient,
}

impl Shop for Counter {
    async fn ask_the_store(&self) -> Result<Option<Duration>, String> {
        // It inherits the deadline of this handler. A timeout can make it shorter, never longer;
        // `no_deadline` sets it free.
        let call = self.store.remaining().timeout(Duration::from_secs(60));
        call.await.map_err(|error| error.to_string())
    }

    async fn count(&self, to: u64) -> u64 {
        // What it takes to answer. Later than that, nobody would hear how far it came.
        let reserve = Duration::from_millis(100);
        let context = Context::current();
        for n in 0..to {
            let remaining = context.as_ref().and_then(Context::remaining);
            if remaining.is_some_and(|remaining| remaining < reserve) {
                return n;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        to
    }

    async fn stuck(&self) {
        // The server drops this future when its deadline passes.
        std::future::pending().await
    }
}

/// To the second, so that every run says the same.
fn seconds(remaining: Option<Duration>) -> String {
    remaining.map_or("none".to_owned(), |time| format!("{:.0} s", time.as_secs_f64()))
}

/// A server of its own for a service, and the way to it.
async fn serve(service: impl Service) -> Result<(Server, Channel), Box<dyn Error>> {
    let listener = transport::listen("127.0.0.1:0").await?;
    let server = Server::builder().service(service).listen(listener).start()?;
    let channel = Channel::connect(transport::connector(server.local_addr()?)).await?;
    Ok((server, channel))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (second, ms) = (Duration::from_secs(1), Duration::from_millis(1));
    let (_back, channel) = serve(StoreServer::new(Shelves)).await?;
    let store = StoreClient::new(channel);
    let (_front, channel) = serve(ShopServer::new(Counter { store: store.clone() })).await?;
    let shop = ShopClient::new(channel);

    println!("the default: {}", seconds(store.remaining().await?));
    println!("timeout(3 s): {}", seconds(store.remaining().timeout(3 * second).await?));
    let deadline = Instant::now() + 4 * second;
    println!("deadline(now + 4 s): {}", seconds(store.remaining().deadline(deadline).await?));
    println!("no_deadline(): {}", seconds(store.remaining().no_deadline().await?));

    let remaining = shop.ask_the_store().timeout(2 * second).await?;
    println!("a call within a call, timeout(2 s) on the outer one: {}", seconds(remaining));
    let counted = shop.count(1_000_000).timeout(200 * ms).await?;
    assert!(counted < 1_000_000, "nobody counts that far in 200 ms");
    println!("timeout(200 ms): it counted as far as it could in time");

    // The kind is the same, and yet only one of the two is safe to repeat.
    let nowhere = ShopClient::new(Channel::lazy(transport::connector("127.0.0.1:1")));
    for (what, shop) in [("a stuck handler", shop), ("no server there", nowhere)] {
        let error = shop.stuck().timeout(100 * ms).await.err().ok_or("expected a timeout")?;
        println!("{what}: {}, {}", error.kind(), error.delivery());
    }
    Ok(())
}
