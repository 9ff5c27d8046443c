//! A thousand calls at a time on one connection, whose replies come in any order.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use rpc_core::{Channel, Server};
use rpc_transport_tcp as transport;
use tokio::task::JoinSet;

#[rpc_core::service]
trait Sleeper {
    /// Sleeps, then tells which call it was.
    async fn sleep(&self, number: u64, time: Duration) -> u64;
}

struct Heavy;

impl Sleeper for Heavy {
    async fn sleep(&self, number: u64, time: Duration) -> u64 {
        tokio::time::sleep(time).await;
        number
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::builder()
        .service(SleeperServer::new(Heavy))
        .listen(transport::listen("127.0.0.1:0").await?)
        .start()?;
    let channel = Channel::connect(transport::connector(server.local_addr()?)).await?;
    let sleeper = SleeperClient::new(channel);

    let began = Instant::now();
    let mut calls = JoinSet::new();
    for number in 0..1000 {
        // A call borrows nothing, so it can be spawned as it is.
        calls.spawn(sleeper.sleep(number, Duration::from_millis(200 - number / 5)));
    }
    let mut order = Vec::new();
    while let Some(number) = calls.join_next().await {
        order.push(number??);
    }
    assert_eq!(order.len(), 1000);
    let overtaken = order.is_sorted();
    order.sort_unstable();
    assert!(order.into_iter().eq(0..1000), "every reply reaches its own call");
    println!("1000 calls of 1 to 200 ms, done together in {:?}", began.elapsed());
    println!("replies came {}", if overtaken { "in order" } else { "out of order" });
    Ok(())
}
