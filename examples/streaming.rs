//! Streams: in reply, as an argument, both ways at once; how they end, break off and are given up.
//!
//! ```text
//! countdown: 3 2 1
//! refused: nobody counts down from 1000
//! sum: 5050
//! running totals: 1 3 6
//! forwarded into another call: 15
//! enough after 3 of a stream without end, and its source was told
//! no item in time: deadline exceeded
//! the server has gone: shutting down
//! ```

use std::{error::Error, future::pending, time::Duration};

use rpc_core::{CallError, Channel, Server, Streaming};
use rpc_transport_tcp as transport;
use tokio::sync::mpsc::{self, UnboundedSender};

#[rpc_core::service]
trait Numbers {
    /// A stream in reply, or an error in place of it.
    async fn countdown(&self, from: u32) -> Result<Streaming<u32>, String>;
    /// A stream among the arguments.
    async fn sum(&self, numbers: Streaming<u32>) -> u32;
    /// Both: an answer to each item as it comes.
    async fn totals(&self, numbers: Streaming<u32>) -> Streaming<u32>;
    /// Counts until nobody listens, or stalls after the first.
    async fn count(&self, stalls: bool) -> Streaming<u32>;
}

struct Arithmetic {
    stopped: UnboundedSender<u32>,
}

impl Numbers for Arithmetic {
    async fn countdown(&self, from: u32) -> Result<Streaming<u32>, String> {
        // Whatever is an iterator, a `Vec` or any `Stream` becomes a stream of items.
        if from > 10 {
            return Err(format!("nobody counts down from {from}"));
        }
        Ok((1..=from).rev().collect())
    }

    async fn sum(&self, mut numbers: Streaming<u32>) -> u32 {
        let mut sum = 0;
        // `None` is the end. An error says that the caller broke off: there is nobody to answer.
        while let Some(Ok(number)) = numbers.next().await {
            sum += number;
        }
        sum
    }

    async fn totals(&self, mut numbers: Streaming<u32>) -> Streaming<u32> {
        // Items that come up one by one enter through a sender, here in a task that outlives this
        // method. `send` waits while the reader is behind.
        let (sender, totals) = Streaming::channel(1);
        tokio::spawn(async move {
            let mut total = 0;
            while let Some(Ok(number)) = numbers.next().await {
                total += number;
                if sender.send(total).await.is_err() {
                    return; // nobody reads any more
                }
            }
        });
        totals
    }

    async fn count(&self, stalls: bool) -> Streaming<u32> {
        let (sender, numbers) = Streaming::channel(1);
        let stopped = self.stopped.clone();
        tokio::spawn(async move {
            let mut number = 1;
            while sender.send(number).await.is_ok() {
                number += 1;
                if stalls {
                    pending::<()>().await;
                }
            }
            let _nobody_asks = stopped.send(number);
        });
        numbers
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (sender, mut stopped) = mpsc::unbounded_channel();
    let server = Server::builder()
        .service(NumbersServer::new(Arithmetic { stopped: sender }))
        .listen(transport::listen("127.0.0.1:0").await?)
        .start()?;
    let channel = Channel::connect(transport::connector(server.local_addr()?)).await?;
    let numbers = NumbersClient::new(channel);

    // The call ends when the stream begins, and the stream with `None`.
    let mut countdown = numbers.countdown(3).await?;
    print!("countdown:");
    while let Some(number) = countdown.next().await {
        print!(" {}", number?);
    }
    println!();
    if let Err(CallError::App(refusal)) = numbers.countdown(1000).await {
        println!("refused: {refusal}");
    }

    println!("sum: {}", numbers.sum((1..=100).collect()).await?);

    let (sender, items) = Streaming::channel(1);
    let mut totals = numbers.totals(items).await?;
    print!("running totals:");
    for number in 1..=3 {
        sender.send(number).await.map_err(|_| "nobody reads")?;
        let total = totals.next().await.ok_or("it ended early")??;
        print!(" {total}");
    }
    println!();

    let from_one_call = numbers.countdown(5).await?;
    println!("forwarded into another call: {}", numbers.sum(from_one_call).await?);

    // Dropping a stream stops its source, wherever that is.
    let mut count = numbers.count(false).await?;
    for _ in 0..3 {
        count.next().await.ok_or("it ended early")??;
    }
    drop(count);
    stopped.recv().await.ok_or("it was not told")?;
    println!("enough after 3 of a stream without end, and its source was told");

    // The timeout of the call holds for each item anew.
    let mut stalling = numbers.count(true).timeout(Duration::from_millis(50)).await?;
    stalling.next().await.ok_or("it ended early")??;
    if let Some(Err(error)) = stalling.next().await {
        println!("no item in time: {}", error.kind());
    }

    // A stream that broke off isn't one that ended: its last item is an error.
    let mut count = numbers.count(true).await?;
    count.next().await.ok_or("it ended early")??;
    drop(server);
    if let Some(Err(error)) = count.next().await {
        println!("the server has gone: {}", error.kind());
    }
    Ok(())
}
