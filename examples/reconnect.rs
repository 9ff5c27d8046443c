//! A server that restarts while it is called: what its callers see, and when to repeat a call.
//!
//! ```text
//! 300 calls during three restarts: 0 failed, the handler ran 300 times
//! cut off: shutting down, the handler may have run
//! nobody there, failing fast: connection lost, the request was not sent
//! back, after waiting: done
//! back, after failing fast and repeating: done
//! the handler ran 302 times
//! ```

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rpc_core::{Call, Channel, RpcError, Server};
use rpc_transport_tcp as transport;
use tokio::time::sleep;

#[rpc_core::service]
trait Counter {
    /// Adds one. Not idempotent: what runs twice counts twice.
    async fn add(&self);
    /// Never ends.
    async fn stuck(&self);
}

#[derive(Default)]
struct Count(AtomicU64);

impl Counter for Count {
    async fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    async fn stuck(&self) {
        std::future::pending().await
    }
}

/// The count outlives the servers, as a database would.
async fn start(address: impl ToString, count: &Arc<Count>) -> Result<Server, Box<dyn Error>> {
    let service = CounterServer::from_arc(Arc::clone(count));
    Ok(Server::builder().service(service).listen(transport::listen(address).await?).start()?)
}

/// Repeats a call as long as there is time, it can help, and nothing runs twice that mustn't.
async fn repeat<T>(call: impl Fn() -> Call<T>) -> Result<T, RpcError> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let pause = Duration::from_millis(50);
    loop {
        match call().deadline(deadline).await {
            Err(error) if error.may_repeat() && Instant::now() + pause < deadline => {
                sleep(pause).await;
            }
            result => return result,
        }
    }
}

/// How many of 300 calls fail.
async fn keep_calling(counter: CounterClient) -> u32 {
    let mut failed = 0;
    for _ in 0..300 {
        failed += u32::from(counter.add().await.is_err());
        sleep(Duration::from_millis(1)).await;
    }
    failed
}

fn show(what: &str, result: &Result<(), RpcError>) {
    match result {
        Ok(()) => println!("{what}: done"),
        Err(error) => println!("{what}: {}, {}", error.kind(), error.delivery()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let count = Arc::new(Count::default());
    let mut server = start("127.0.0.1:0", &count).await?;
    let address = server.local_addr()?.clone();
    let counter = CounterClient::new(Channel::connect(transport::connector(&address)).await?);

    // An orderly restart finishes what is under way; calls that come meanwhile wait for the next
    // server. So the caller needs no code for it.
    let caller = tokio::spawn(keep_calling(counter.clone()));
    for _ in 0..3 {
        sleep(Duration::from_millis(50)).await;
        server.shutdown(Duration::from_secs(1)).await;
        server = start(&address, &count).await?;
    }
    let (failed, ran) = (caller.await?, count.0.load(Ordering::Relaxed));
    println!("300 calls during three restarts: {failed} failed, the handler ran {ran} times");

    // A server that is gone in the middle of a call: whether that ran is for the caller to find
    // out. `repeat` leaves it alone.
    let cut = async {
        sleep(Duration::from_millis(50)).await;
        server.shutdown(Duration::ZERO).await
    };
    let (stuck, _) = tokio::join!(repeat(|| counter.stuck()), cut);
    show("cut off", &stuck);

    // While nobody is there calls wait for a server, unless they are told to fail fast.
    let connector = transport::connector(&address);
    let hasty = CounterClient::new(Channel::builder().fail_fast(true).lazy(connector));
    show("nobody there, failing fast", &hasty.add().await);

    let back = async {
        sleep(Duration::from_millis(100)).await;
        start(&address, &count).await
    };
    let (waited, repeated, server) = tokio::join!(counter.add(), repeat(|| hasty.add()), back);
    let _server = server?;
    show("back, after waiting", &waited);
    show("back, after failing fast and repeating", &repeated);
    println!("the handler ran {} times", count.0.load(Ordering::Relaxed));
    Ok(())
}
