//! How long small calls take on a connection that moves 64 MiB messages both ways all the while.
//!
//! ```sh
//! cargo run --release --bin mixed [SECONDS]
//! ```
//!
//! Server and client are two processes over TCP, one runtime thread and one core each. Two windows
//! are measured: the default one, and 256 KiB with no more than 128 KiB unsent in the kernel, as a
//! service would choose whose small calls matter more than its transfers. Each round measures the
//! small calls alone and beside the transfers; the ratio of the two is what it is about.
//!
//! All of it is done twice: with glibc's allocator as it is, which gives 64 MiB back to the kernel
//! at every free (a stall of milliseconds on the thread that frees), and with the same one told to keep
//! what was freed, as other allocators do.

#[allow(dead_code, reason = "`compare` uses the rest")]
mod cpu;
#[allow(dead_code, reason = "`compare` uses the rest")]
mod process;

use std::{
    env,
    error::Error,
    io::{self, BufRead},
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use process::Process;
use rpc_core::{Channel, Limits, Server};
use rpc_transport_tcp::TcpOptions;
use tokio::runtime::{Builder, Runtime};

/// The size of what is transferred: 64 MiB with what is around it.
const LARGE: u32 = (64 << 20) - 64;

/// Rounds of each set-up; medians are shown.
const ROUNDS: usize = 5;

#[rpc_core::service]
trait Store {
    async fn small(&self, a: u64, b: u64) -> u64;
    async fn save(&self, data: Bytes) -> u64;
    async fn load(&self) -> Bytes;
}

struct Memory(Bytes);

impl Store for Memory {
    async fn small(&self, a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }
    async fn save(&self, data: Bytes) -> u64 {
        data.len() as u64
    }
    async fn load(&self) -> Bytes {
        self.0.clone()
    }
}

/// How connections are set up.
#[derive(Clone, Copy)]
struct Setting {
    name: &'static str,
    small_window: bool,
}

const SETTINGS: [Setting; 2] = [
    Setting { name: "256 KiB window, 128 KiB unsent", small_window: true },
    Setting { name: "default windows", small_window: false },
];

impl Setting {
    fn named(name: &str) -> Option<Self> {
        SETTINGS.into_iter().find(|setting| setting.name == name)
    }

    fn limits(self) -> Limits {
        let mut limits = Limits::default();
        if self.small_window {
            limits.window_bytes = 256 * 1024;
        }
        limits
    }

    fn tcp(self) -> TcpOptions {
        let unsent = self.small_window.then_some(128 * 1024);
        TcpOptions::new().unsent_bytes(unsent)
    }
}

/// Latencies of small calls, and what was transferred meanwhile.
struct Sample {
    p50: Duration,
    p99: Duration,
    calls: usize,
    transferred: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", setting, ..] => serve(Setting::named(setting).ok_or("no such setting")?),
        ["measure", seconds] => compare(Duration::try_from_secs_f64(seconds.parse()?)?),
        [] => with_both_allocators("2"),
        [seconds] => with_both_allocators(seconds),
        _ => Err("usage: mixed [SECONDS]".into()),
    }
}

/// glibc's settings with which it keeps what was freed.
const KEEPS: &str = "glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=4294967296:\
                     glibc.malloc.trim_threshold=17179869184";

fn with_both_allocators(seconds: &str) -> Result<(), Box<dyn Error>> {
    println!("Small calls one after the other, on one connection; medians of {ROUNDS} rounds");
    for (name, settings) in [("as it is", ""), ("keeps what was freed", KEEPS)] {
        println!("\nThe allocator {name}:\n");
        let mut measure = Command::new(env::current_exe()?);
        let status = measure.args(["measure", seconds]).env("GLIBC_TUNABLES", settings).status()?;
        if !status.success() {
            return Err("the measuring process failed".into());
        }
    }
    Ok(())
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// The server's process: prints its address, ends with its input.
fn serve(setting: Setting) -> Result<(), Box<dyn Error>> {
    cpu::pin(1)?;
    let runtime = runtime()?;
    let _server = runtime.block_on(async {
        let listener = setting.tcp().listen("127.0.0.1:0").await?;
        println!("{}", listener.local_addr());
        let data = Bytes::from(vec![7; LARGE as usize]);
        let server = Server::builder().limits(setting.limits());
        let server = server.service(StoreServer::new(Memory(data))).listen(listener).start();
        server.map_err(io::Error::other)
    })?;
    while io::stdin().lock().read_line(&mut String::new())? > 0 {}
    Ok(())
}

fn compare(time: Duration) -> Result<(), Box<dyn Error>> {
    cpu::pin(0)?;
    println!("| set-up | alone p50 | p99 | beside p50 | p99 | p99 beside ÷ alone | transfers |");
    println!("|---|---|---|---|---|---|---|");
    let runtime = runtime()?;
    for setting in SETTINGS {
        let mut server = Process::start(&["serve", setting.name], None)?;
        let addr: SocketAddr = server.read()?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(runtime.block_on(round(setting, addr, time))?);
        }
        println!("| {} | {} |", setting.name, summary(&rounds));
    }
    Ok(())
}

/// One round: alone, then beside transfers, on a connection of its own.
async fn round(
    setting: Setting,
    addr: SocketAddr,
    time: Duration,
) -> Result<(Sample, Sample), Box<dyn Error>> {
    let connector = setting.tcp().connector(addr);
    let channel = Channel::builder().limits(setting.limits()).connect(connector).await?;
    let client = StoreClient::new(channel);
    let moved = Arc::new(AtomicU64::new(0));
    let alone = measure(&client, &moved, time).await?;
    let transfers = [
        tokio::spawn(upload(client.clone(), Arc::clone(&moved))),
        tokio::spawn(download(client.clone(), Arc::clone(&moved))),
    ];
    // They are under way.
    client.load().await?;
    let beside = measure(&client, &moved, time).await?;
    for transfer in transfers {
        transfer.abort();
    }
    Ok((alone, beside))
}

async fn upload(client: StoreClient, moved: Arc<AtomicU64>) {
    let data = Bytes::from(vec![1; LARGE as usize]);
    while let Ok(bytes) = client.save(data.clone()).await {
        moved.fetch_add(bytes, Ordering::Relaxed);
    }
}

async fn download(client: StoreClient, moved: Arc<AtomicU64>) {
    while let Ok(data) = client.load().await {
        moved.fetch_add(data.len() as u64, Ordering::Relaxed);
    }
}

/// Calls again and again.
async fn measure(
    client: &StoreClient,
    moved: &AtomicU64,
    time: Duration,
) -> Result<Sample, Box<dyn Error>> {
    let (began, before) = (Instant::now(), moved.load(Ordering::Relaxed));
    let mut latencies = Vec::new();
    while began.elapsed() < time {
        let sent = Instant::now();
        client.small(1, 2).await?;
        latencies.push(sent.elapsed());
    }
    let bytes = moved.load(Ordering::Relaxed) - before;
    latencies.sort_unstable();
    let at = |per_cent: usize| latencies[(latencies.len() - 1) * per_cent / 100];
    Ok(Sample {
        p50: at(50),
        p99: at(99),
        calls: latencies.len(),
        transferred: bytes as f64 / began.elapsed().as_secs_f64() / 1e6,
    })
}

/// The medians, as the cells of a row.
fn summary(rounds: &[(Sample, Sample)]) -> String {
    let micros = |of: fn(&(Sample, Sample)) -> Duration| {
        median(rounds.iter().map(|round| of(round).as_secs_f64() * 1e6))
    };
    let ratio = median(rounds.iter().map(|(a, b)| b.p99.as_secs_f64() / a.p99.as_secs_f64()));
    let rate = median(rounds.iter().map(|(_, beside)| beside.transferred));
    let calls: usize = rounds.iter().map(|(_, beside)| beside.calls).sum();
    format!(
        "{:.0} µs | {:.0} µs | {:.0} µs | {:.0} µs | {ratio:.1} | {rate:.0} MB/s, {calls} calls",
        micros(|(alone, _)| alone.p50),
        micros(|(alone, _)| alone.p99),
        micros(|(_, beside)| beside.p50),
        micros(|(_, beside)| beside.p99),
    )
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
