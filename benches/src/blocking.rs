//! How long a connection's other calls wait when a handler blocks its thread; compares nothing.
//!
//! ```sh
//! cargo run --release --bin blocking
//! ```
//!
//! A server over TCP in this process, on a runtime of its own; a handler blocks for 50 ms, and the
//! caller asks for something quick all the while, on the same connection and on another one. The
//! answer to a ping waits as long as the quick call does: both are the business of one task.

use std::error::Error;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use rpc_core::{Channel, Server};
use rpc_transport_tcp as transport;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, spawn_blocking};

/// For how long a handler blocks.
const BLOCK: Duration = Duration::from_millis(50);

/// Calls in a burst.
const BURST: usize = 16;

#[rpc_core::service]
trait Lab {
    async fn work(&self, how: u8);
    async fn quick(&self);
}

/// Returns at once, blocks, or has a thread of the blocking pool block.
const FAST: u8 = 0;
const BLOCKS: u8 = 1;
const ELSEWHERE: u8 = 2;

struct Bench;

impl Lab for Bench {
    async fn work(&self, how: u8) {
        match how {
            FAST => {}
            BLOCKS => thread::sleep(BLOCK),
            _ => drop(spawn_blocking(|| thread::sleep(BLOCK)).await),
        }
    }
    async fn quick(&self) {}
}

/// What a method did before, and how many calls of it block at once.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    promoted: bool,
    how: u8,
    calls: usize,
}

const CASES: [Case; 6] = [
    Case { name: "first call", promoted: false, how: BLOCKS, calls: 1 },
    Case { name: "first 16 calls", promoted: false, how: BLOCKS, calls: BURST },
    Case { name: "once, after fast calls", promoted: true, how: BLOCKS, calls: 1 },
    Case { name: "16 at once, after fast calls", promoted: true, how: BLOCKS, calls: BURST },
    Case { name: "16 at once, again", promoted: false, how: BLOCKS, calls: BURST },
    Case { name: "16 at once, in spawn_blocking", promoted: false, how: ELSEWHERE, calls: BURST },
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("The longest that a quick call waits while `work` blocks for {BLOCK:?}, in ms\n");
    println!("| server's runtime | `work` blocks | same connection | another connection |");
    println!("|---|---|---|---|");
    for (name, runtime) in [
        ("current_thread", Builder::new_current_thread().enable_all().build()?),
        ("2 threads", Builder::new_multi_thread().worker_threads(2).enable_all().build()?),
        ("4 threads", Builder::new_multi_thread().worker_threads(4).enable_all().build()?),
    ] {
        let addr = serve(runtime)?;
        let client = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        client.block_on(measure_all(name, addr))?;
    }
    Ok(())
}

/// Starts the server in a thread, for the rest of this process's life.
fn serve(runtime: Runtime) -> Result<SocketAddr, Box<dyn Error>> {
    let (addr, server) = runtime.block_on(async {
        let listener = transport::listen("127.0.0.1:0").await?;
        let addr = listener.local_addr();
        let server = Server::builder().service(LabServer::new(Bench)).listen(listener).start()?;
        Ok::<_, Box<dyn Error>>((addr, server))
    })?;
    thread::spawn(move || {
        let mut server = server;
        runtime.block_on(server.wait());
    });
    Ok(addr)
}

async fn measure_all(runtime: &str, addr: SocketAddr) -> Result<(), Box<dyn Error>> {
    let connect = || Channel::connect(transport::connector(addr));
    let (same, other) = (LabClient::new(connect().await?), LabClient::new(connect().await?));
    for Case { name, promoted, how, calls } in CASES {
        if promoted {
            for _ in 0..100 {
                same.work(FAST).await?;
                same.quick().await?;
            }
        }
        let work: Vec<_> = (0..calls).map(|_| tokio::spawn(same.work(how).no_deadline())).collect();
        let probes = [&same, &other].map(|lab| probe(lab.clone()));
        for call in work {
            call.await??;
        }
        let mut longest = Vec::new();
        for probe in probes {
            // The call that waits now counts too.
            longest.push(probe.await?);
        }
        println!("| {runtime} | {name} | {:.1} | {:.1} |", longest[0], longest[1]);
    }
    Ok(())
}

/// Asks for something quick, again and again for a while, and returns the longest wait in ms.
fn probe(lab: LabClient) -> JoinHandle<f64> {
    tokio::spawn(async move {
        let mut longest = Duration::ZERO;
        let began = Instant::now();
        while began.elapsed() < BLOCK * 20 {
            let asked = Instant::now();
            if lab.quick().no_deadline().await.is_err() {
                break;
            }
            longest = longest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        longest.as_secs_f64() * 1000.0
    })
}
