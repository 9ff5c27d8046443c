//! How fast items of a stream go, beside a loop that moves the same bytes over a socket.
//!
//! ```sh
//! cargo run --release --bin streams [ROUNDS]
//! ```
//!
//! Server and client are two processes over TCP, one core each, with every default. The raw loop
//! puts a length before each item, buffers on both sides, and has neither credit nor a codec. Both
//! check what arrives. Rounds of the two take turns; the ratio is the median of their rates. Beside
//! it stands the most memory that each process of ours ever held.

#[allow(dead_code, reason = "`compare` uses the rest")]
mod cpu;
#[allow(dead_code, reason = "`compare` uses the rest")]
mod process;

use std::{
    env,
    error::Error,
    fs,
    io::{self, BufRead},
    net::SocketAddr,
    time::Instant,
};

use bytes::Bytes;
use process::Process;
use rpc_core::{Channel, Server, Streaming};
use rpc_transport_tcp as transport;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

const ITEM_BYTES: usize = 64 * 1024;

/// What is moved: so many items of so many bytes.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    items: u32,
    bytes: usize,
}

const LOADS: [Load; 2] = [
    Load { name: "10⁶ numbers", items: 1_000_000, bytes: 8 },
    Load { name: "1 GiB in 64 KiB items", items: 16_384, bytes: ITEM_BYTES },
];

#[rpc_core::service]
trait Source {
    async fn numbers(&self, count: u32) -> Streaming<u64>;
    async fn chunks(&self, count: u32) -> Streaming<Bytes>;
    /// The most memory that the process has held, in KiB.
    async fn peak(&self) -> u64;
}

struct Endless;

impl Source for Endless {
    async fn numbers(&self, count: u32) -> Streaming<u64> {
        Streaming::from_iter(0..u64::from(count))
    }
    async fn chunks(&self, count: u32) -> Streaming<Bytes> {
        let chunk = Bytes::from(vec![7; ITEM_BYTES]);
        Streaming::from_iter((0..count).map(move |_| chunk.clone()))
    }
    async fn peak(&self) -> u64 {
        peak_kib()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", "ours", ..] => serve_ours(),
        ["serve", "raw", ..] => serve_raw(),
        [] => compare(5),
        [rounds] => compare(rounds.parse()?),
        _ => Err("usage: streams [ROUNDS]".into()),
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// Prints its address, ends with its input.
fn serve_ours() -> Result<(), Box<dyn Error>> {
    cpu::pin(1)?;
    let runtime = runtime()?;
    let _server = runtime.block_on(async {
        let listener = transport::listen("127.0.0.1:0").await?;
        println!("{}", listener.local_addr());
        let server = Server::builder().service(SourceServer::new(Endless));
        server.listen(listener).start().map_err(io::Error::other)
    })?;
    while io::stdin().lock().read_line(&mut String::new())? > 0 {}
    Ok(())
}

/// The same for the raw loop: each connection asks for a number of items, and their size.
fn serve_raw() -> Result<(), Box<dyn Error>> {
    cpu::pin(1)?;
    runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (mut io, _) = listener.accept().await?;
            let (items, bytes) = (io.read_u32_le().await?, io.read_u32_le().await? as usize);
            let mut io = BufWriter::with_capacity(ITEM_BYTES, io);
            let mut item = vec![7; bytes];
            for number in 0..u64::from(items) {
                item[..8].copy_from_slice(&number.to_le_bytes());
                io.write_u32_le(u32::try_from(item.len())?).await?;
                io.write_all(&item).await?;
            }
            io.flush().await?;
        }
    })
}

fn compare(rounds: usize) -> Result<(), Box<dyn Error>> {
    cpu::pin(0)?;
    let runtime = runtime()?;
    let mut ours = Process::start(&["serve", "ours"], None)?;
    let mut raw = Process::start(&["serve", "raw"], None)?;
    let (ours, raw): (SocketAddr, SocketAddr) = (ours.read()?, raw.read()?);
    println!("| stream | raw loop | ours | ratio | peak memory, client and server |");
    println!("|---|---|---|---|---|");
    for load in LOADS {
        let (mut raws, mut oursies, mut memory) = (Vec::new(), Vec::new(), (0, 0));
        for _ in 0..rounds {
            raws.push(runtime.block_on(receive_raw(raw, load))?);
            let (rate, server) = runtime.block_on(receive_ours(ours, load))?;
            oursies.push(rate);
            memory = (peak_kib(), server);
        }
        let (raw, ours) = (median(raws), median(oursies));
        println!(
            "| {} | {} | {} | {:.2} | {} and {} MiB |",
            load.name,
            load.show(raw),
            load.show(ours),
            ours / raw,
            memory.0 / 1024,
            memory.1 / 1024,
        );
    }
    Ok(())
}

impl Load {
    /// So many items in a second, as it is read.
    fn show(self, rate: f64) -> String {
        if self.bytes == 8 {
            format!("{:.1} M items/s", rate / 1e6)
        } else {
            format!("{:.2} GiB/s", rate * self.bytes as f64 / f64::from(1 << 30))
        }
    }
}

async fn receive_raw(addr: SocketAddr, load: Load) -> Result<f64, Box<dyn Error>> {
    let mut io = BufReader::with_capacity(ITEM_BYTES, TcpStream::connect(addr).await?);
    let began = Instant::now();
    io.write_u32_le(load.items).await?;
    io.write_u32_le(u32::try_from(load.bytes)?).await?;
    let mut item = vec![0; load.bytes];
    for number in 0..u64::from(load.items) {
        assert_eq!(io.read_u32_le().await? as usize, item.len());
        io.read_exact(&mut item).await?;
        assert_eq!(item[..8], number.to_le_bytes());
    }
    Ok(f64::from(load.items) / began.elapsed().as_secs_f64())
}

/// Items in a second, and the most memory of the server.
async fn receive_ours(addr: SocketAddr, load: Load) -> Result<(f64, u64), Box<dyn Error>> {
    let client = SourceClient::new(Channel::connect(transport::connector(addr)).await?);
    let began = Instant::now();
    if load.bytes == 8 {
        let mut numbers = client.numbers(load.items).await?;
        for expected in 0..u64::from(load.items) {
            assert_eq!(numbers.next().await, Some(Ok(expected)));
        }
    } else {
        let mut chunks = client.chunks(load.items).await?;
        for _ in 0..load.items {
            assert_eq!(chunks.next().await.ok_or("it ended early")??.len(), load.bytes);
        }
    }
    let rate = f64::from(load.items) / began.elapsed().as_secs_f64();
    Ok((rate, client.peak().await?))
}

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
