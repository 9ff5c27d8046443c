//! Whole calls, client and server on one thread: over memory, over TCP, and over UDP in memory.
//!
//! Time stands still, so that no handler ever seems slow and no timer fires: under callgrind everything
//! takes fifty times as long as it does, and how long depends on what else the machine does. Over UDP
//! time jumps from timer to timer, as the simulations have it: datagrams are on their way for a while.

use std::{error::Error, future::Future, io, sync::mpsc};

use bytes::Bytes;
use rpc_core::{
    Channel, Server, Streaming,
    transport::{Connector, Listener, memory},
};
use rpc_transport_tcp as tcp;
use rpc_transport_udp::testing::Network;
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, spawn_blocking},
};

type Outcome = Result<(), Box<dyn Error>>;

const IN_FLIGHT: usize = 64;
const ECHO_BYTES: usize = 64 * 1024;

/// Enough for a method to be run where its requests are decoded, and for buffers to have grown.
const WARM_UP: usize = 4 * IN_FLIGHT;

#[rpc_core::service]
trait Bench {
    async fn add(&self, a: u64, b: u64) -> u64;
    async fn echo(&self, payload: Bytes) -> Bytes;
    async fn count(&self, items: usize) -> Streaming<u64>;
}

struct Plain;

impl Bench for Plain {
    async fn add(&self, a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }
    async fn echo(&self, payload: Bytes) -> Bytes {
        payload
    }
    async fn count(&self, items: usize) -> Streaming<u64> {
        Streaming::from_iter(0..items as u64)
    }
}

pub(crate) fn memory(times: usize) -> Outcome {
    over_memory(async |client| in_turn(&client, times).await)
}

pub(crate) fn memory_batch(times: usize) -> Outcome {
    over_memory(async |client| at_once(&client, times).await)
}

pub(crate) fn memory_echo(times: usize) -> Outcome {
    over_memory(async |client| echoes(&client, times).await)
}

pub(crate) fn memory_stream(times: usize) -> Outcome {
    over_memory(async |client| items(&client, times).await)
}

pub(crate) fn tcp(times: usize) -> Outcome {
    over_tcp(async |client| in_turn(&client, times).await)
}

pub(crate) fn tcp_batch(times: usize) -> Outcome {
    over_tcp(async |client| at_once(&client, times).await)
}

pub(crate) fn tcp_echo(times: usize) -> Outcome {
    over_tcp(async |client| echoes(&client, times).await)
}

pub(crate) fn udp(times: usize) -> Outcome {
    over_udp(async |client| in_turn(&client, times).await)
}

pub(crate) fn udp_batch(times: usize) -> Outcome {
    over_udp(async |client| at_once(&client, times).await)
}

async fn in_turn(client: &BenchClient, times: usize) -> Outcome {
    for number in 0..(WARM_UP + times) as u64 {
        check(client.add(number, 1).await? == number + 1)?;
    }
    Ok(())
}

/// Tasks that each make one call after the other.
async fn at_once(client: &BenchClient, times: usize) -> Outcome {
    let mut tasks = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let client = client.clone();
        tasks.spawn(async move {
            for number in 0..((WARM_UP + times) / IN_FLIGHT) as u64 {
                if client.add(number, 1).await != Ok(number + 1) {
                    return false;
                }
            }
            true
        });
    }
    check(tasks.join_all().await.into_iter().all(|right| right))
}

async fn echoes(client: &BenchClient, times: usize) -> Outcome {
    let payload = Bytes::from(vec![7; ECHO_BYTES]);
    for _ in 0..WARM_UP + times {
        check(client.echo(payload.clone()).await?.len() == ECHO_BYTES)?;
    }
    Ok(())
}

async fn items(client: &BenchClient, times: usize) -> Outcome {
    let mut items = client.count(WARM_UP + times).await?;
    for number in 0..(WARM_UP + times) as u64 {
        check(items.next().await == Some(Ok(number)))?;
    }
    check(items.next().await.is_none())
}

fn check(is_right: bool) -> Outcome {
    if is_right { Ok(()) } else { Err("a wrong answer".into()) }
}

fn over_memory<F: Future<Output = Outcome>>(run: impl FnOnce(BenchClient) -> F) -> Outcome {
    still(async {
        let listener = memory::listen("bench").await?;
        connected(listener, memory::connector("bench"), run).await
    })
}

fn over_tcp<F: Future<Output = Outcome>>(run: impl FnOnce(BenchClient) -> F) -> Outcome {
    still(async {
        let listener = tcp::listen("127.0.0.1:0").await?;
        let connector = tcp::connector(listener.local_addr());
        connected(listener, connector, run).await
    })
}

fn over_udp<F: Future<Output = Outcome>>(run: impl FnOnce(BenchClient) -> F) -> Outcome {
    runtime()?.block_on(async {
        let network = Network::new(7);
        let listener = network.listen().await?;
        let connector = network.connector(listener.local_addr());
        connected(listener, connector, run).await
    })
}

async fn connected<F: Future<Output = Outcome>>(
    listener: impl Listener,
    connector: impl Connector,
    run: impl FnOnce(BenchClient) -> F,
) -> Outcome {
    let _server = Server::builder().service(BenchServer::new(Plain)).listen(listener).start()?;
    let channel = Channel::connect(connector).await?;
    run(BenchClient::new(channel)).await
}

/// Runs on a runtime whose time doesn't go on even when all of it waits: tokio lets paused time jump
/// then, unless a blocking task runs.
fn still<F: Future<Output = Outcome>>(run: F) -> Outcome {
    let (done, wait) = mpsc::sync_channel::<()>(0);
    let runtime = runtime()?;
    runtime.block_on(async {
        let clock = spawn_blocking(move || wait.recv());
        let outcome = run.await;
        drop(done);
        // It ends with an error: the other end is gone.
        let _ = clock.await?;
        outcome
    })
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().start_paused(true).build()
}
