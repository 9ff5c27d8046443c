//! Calls that end when they have left: what `Ok` says then, and where it shows what nobody hears.
//!
//! ```text
//! 0 lines are written
//! three lines have left, 0 are written
//! a fourth: Journal.log: deadline exceeded: it waited for a free place on the connection (the request was not sent)
//! 3 lines are written
//! a line for nobody has left, too
//! refused, and nobody was told: 1
//! ```

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rpc_core::{Channel, Limits, Server};
use rpc_transport_tcp as transport;
use tokio::{sync::Semaphore, time::sleep};

#[rpc_core::service]
trait Journal {
    /// Writes a line. Nobody waits until it is written.
    #[rpc(oneway)]
    async fn log(&self, line: String);
    /// How many lines are written.
    async fn written(&self) -> u32;
}

/// A service that this server doesn't have.
#[rpc_core::service]
trait Archive {
    #[rpc(oneway)]
    async fn keep(&self, line: String);
}

/// Writes when there is ink.
struct Slow {
    ink: Semaphore,
    written: AtomicU32,
}

impl Journal for Slow {
    async fn log(&self, _line: String) {
        if let Ok(drop) = self.ink.acquire().await {
            drop.forget();
            self.written.fetch_add(1, Ordering::Relaxed);
        }
    }
    async fn written(&self) -> u32 {
        self.written.load(Ordering::Relaxed)
    }
}

/// Looks now and then.
async fn until(done: impl Fn() -> bool) {
    while !done() {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let slow = Arc::new(Slow { ink: Semaphore::new(0), written: AtomicU32::new(0) });
    let mut limits = Limits::default();
    limits.calls = 3;
    let server = Server::builder()
        .service(JournalServer::from_arc(Arc::clone(&slow)))
        .limits(limits)
        .listen(transport::listen("127.0.0.1:0").await?)
        .start()?;
    let channel = Channel::connect(transport::connector(server.local_addr()?)).await?;
    let journal = JournalClient::new(channel.clone());

    // The first answer brings the server's limit with it.
    println!("{} lines are written", journal.written().await?);

    // Each ends when the socket has taken it. The handlers have no ink yet.
    for line in ["one", "two", "three"] {
        journal.log(line.into()).await?;
    }
    println!("three lines have left, {} are written", slow.written.load(Ordering::Relaxed));

    // Who is faster than the server has to wait: a call keeps its place until its handler ends.
    match journal.log("four".into()).timeout(Duration::from_millis(50)).await {
        Ok(()) => println!("a fourth has left"),
        Err(error) => println!("a fourth: {error}"),
    }
    slow.ink.add_permits(3);
    until(|| slow.written.load(Ordering::Relaxed) == 3).await;
    println!("{} lines are written", journal.written().await?);

    // That it has left is all that `Ok` says. What comes back later only counts.
    ArchiveClient::new(channel.clone()).keep("five".into()).await?;
    println!("a line for nobody has left, too");
    until(|| channel.counters().oneways_failed > 0).await;
    println!("refused, and nobody was told: {}", channel.counters().oneways_failed);
    Ok(())
}
