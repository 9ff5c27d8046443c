//! How fast 64 MiB go one way, beside loops that move the same bytes over bare sockets.
//!
//! ```sh
//! cargo run --release --bin upload [ROUNDS [DOCUMENT]]
//! ```
//!
//! Server and client are two processes on loopback, one runtime thread and one core each, with every
//! default. Ours is one call whose argument are the 64 MiB. The raw loop over TCP writes them and
//! waits for one byte; the one over UDP sends datagrams by the 64 KiB with segmentation offload and
//! waits for a datagram after every 512 KiB, so that nothing is lost: it neither checks nor repeats
//! anything. Rounds of the four take turns, several transfers each; ratios are paired within a round.
//! With a document, its table is filled.

#[allow(dead_code, reason = "`compare` uses the rest")]
mod cpu;
#[allow(dead_code, reason = "`compare` uses the rest")]
mod process;

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    io::{self, BufRead, IoSliceMut},
    net::SocketAddr,
    time::Instant,
};

use bytes::Bytes;
use process::Process;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rpc_core::{
    Channel, Server,
    transport::{Connector, Listener},
};
use rpc_transport_tcp as tcp;
use rpc_transport_udp as udp;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{TcpListener, TcpStream, UdpSocket},
    runtime::{Builder, Runtime},
};

/// 64 MiB with what is around it.
const BYTES: usize = (64 << 20) - 64;

/// Transfers of each contender in a round.
const TRANSFERS: usize = 5;

const CONTENDERS: [&str; 4] = ["raw-tcp", "ours", "raw-udp", "ours-udp"];

/// What the raw datagrams carry: as much as fits Ethernet, and how many make one transmission.
const DATAGRAM_BYTES: usize = 1452;
const SEGMENTS: usize = 44;

/// After so many transmissions the raw loop over UDP waits for the receiver.
const UNANSWERED: usize = 8;

#[rpc_core::service]
trait Store {
    async fn save(&self, data: Bytes) -> u64;
}

struct Counting;

impl Store for Counting {
    async fn save(&self, data: Bytes) -> u64 {
        data.len() as u64
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", contender, ..] => serve(contender),
        [] => compare(5).map(|table| println!("{table}")),
        [rounds] => compare(rounds.parse()?).map(|table| println!("{table}")),
        [rounds, document] => fill(document, &compare(rounds.parse()?)?),
        _ => Err("usage: upload [ROUNDS [DOCUMENT]]".into()),
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// Prints its address, ends with its input.
fn serve(contender: &str) -> Result<(), Box<dyn Error>> {
    cpu::pin(1)?;
    let runtime = runtime()?;
    match contender {
        "raw-tcp" => drop(runtime.spawn(serve_raw_tcp())),
        "raw-udp" => drop(runtime.spawn(serve_raw_udp())),
        "ours" => runtime.block_on(async { serve_ours(tcp::listen("127.0.0.1:0").await?) })?,
        _ => runtime.block_on(async { serve_ours(udp::listen("127.0.0.1:0").await?) })?,
    }
    while io::stdin().lock().read_line(&mut String::new())? > 0 {}
    Ok(())
}

fn serve_ours(listener: impl Listener) -> io::Result<()> {
    println!("{}", listener.local_addr());
    let server = Server::builder().service(StoreServer::new(Counting)).listen(listener);
    let mut server = server.start().map_err(io::Error::other)?;
    tokio::spawn(async move { server.wait().await });
    Ok(())
}

async fn serve_raw_tcp() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let (mut io, _) = listener.accept().await?;
    let mut data = vec![0; BYTES];
    while io.read_exact(&mut data).await.is_ok() {
        io.write_u8(0).await?;
    }
    Ok(())
}

async fn serve_raw_udp() -> io::Result<()> {
    let socket = raw_socket().await?;
    println!("{}", socket.local_addr()?);
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    let mut buffers = vec![vec![0; 64 * 1024]; 8];
    let mut came = 0;
    loop {
        let mut metas = [RecvMeta::default(); 8];
        let count = socket
            .async_io(Interest::READABLE, || {
                let mut slices: Vec<_> = buffers.iter_mut().map(|it| IoSliceMut::new(it)).collect();
                state.recv(UdpSockRef::from(&socket), &mut slices, &mut metas)
            })
            .await?;
        for meta in &metas[..count] {
            let before = came / (UNANSWERED * SEGMENTS * DATAGRAM_BYTES);
            came += meta.len;
            if came / (UNANSWERED * SEGMENTS * DATAGRAM_BYTES) > before {
                socket.send_to(&[0], meta.addr).await?;
            }
        }
    }
}

async fn raw_socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    SockRef::from(&socket).set_recv_buffer_size(4 * 1024 * 1024)?;
    SockRef::from(&socket).set_send_buffer_size(4 * 1024 * 1024)?;
    Ok(socket)
}

/// The client's side of one contender.
enum Client {
    Tcp(TcpStream, Bytes),
    Udp(UdpSocket, UdpSocketState, SocketAddr),
    Ours(StoreClient, Bytes),
}

impl Client {
    async fn connect(contender: &str, addr: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let data = Bytes::from(vec![7; BYTES]);
        Ok(match contender {
            "raw-tcp" => Self::Tcp(TcpStream::connect(addr).await?, data),
            "raw-udp" => {
                let socket = raw_socket().await?;
                let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
                Self::Udp(socket, state, addr)
            }
            "ours" => Self::ours(tcp::connector(addr), data).await?,
            _ => Self::ours(udp::connector(addr), data).await?,
        })
    }

    async fn ours(connector: impl Connector, data: Bytes) -> Result<Self, Box<dyn Error>> {
        Ok(Self::Ours(StoreClient::new(Channel::connect(connector).await?), data))
    }

    async fn upload(&mut self) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Tcp(io, data) => {
                io.write_all(data).await?;
                io.read_u8().await?;
            }
            Self::Udp(socket, state, addr) => upload_raw_udp(socket, state, *addr).await?,
            Self::Ours(client, data) => {
                assert_eq!(client.save(data.clone()).await?, BYTES as u64);
            }
        }
        Ok(())
    }
}

async fn upload_raw_udp(
    socket: &UdpSocket,
    state: &UdpSocketState,
    destination: SocketAddr,
) -> io::Result<()> {
    let contents = &vec![7; SEGMENTS * DATAGRAM_BYTES];
    let transmit = Transmit {
        destination,
        ecn: None,
        contents,
        segment_size: Some(DATAGRAM_BYTES),
        src_ip: None,
    };
    let rounds = BYTES / (UNANSWERED * contents.len());
    for round in 0..=rounds {
        for _ in 0..UNANSWERED {
            let send = || state.try_send(UdpSockRef::from(socket), &transmit);
            socket.async_io(Interest::WRITABLE, send).await?;
        }
        // The answer to the round before: one is always under way.
        if round > 0 {
            socket.recv(&mut [0]).await?;
        }
    }
    socket.recv(&mut [0]).await.map(drop)
}

/// Between which lines of a document the table is.
const BEGIN: &str = "<!-- one way: written by `upload`, not by hand -->\n";
const END: &str = "<!-- end of one way -->";

fn fill(document: &str, table: &str) -> Result<(), Box<dyn Error>> {
    let before = fs::read_to_string(document)?;
    let missing = || format!("{document} has no place for the table: {BEGIN}{END}");
    let (head, rest) = before.split_once(BEGIN).ok_or_else(missing)?;
    let (_, tail) = rest.split_once(END).ok_or_else(missing)?;
    Ok(fs::write(document, format!("{head}{BEGIN}\n{table}\n{END}{tail}"))?)
}

/// The table, as Markdown.
fn compare(rounds: usize) -> Result<String, Box<dyn Error>> {
    cpu::pin(0)?;
    let runtime = runtime()?;
    let mut processes = Vec::new();
    let mut clients = Vec::new();
    for contender in CONTENDERS {
        let mut process = Process::start(&["serve", contender], None)?;
        let addr = process.read()?;
        clients.push(runtime.block_on(Client::connect(contender, addr))?);
        processes.push(process);
    }
    let mut rates = [const { Vec::new() }; CONTENDERS.len()];
    for _ in 0..rounds {
        for (client, rates) in clients.iter_mut().zip(&mut rates) {
            rates.push(runtime.block_on(measure(client))?);
        }
    }
    let mut table = format!(
        "{rounds} rounds of {TRANSFERS} transfers\n\n\
         | 64 MiB one way | GB/s | of all rounds | ÷ the raw loop | of all rounds |\n\
         |---|---:|---|---:|---|\n"
    );
    for (at, contender) in CONTENDERS.iter().enumerate() {
        // Each of ours comes behind the raw loop over the same protocol.
        let raw = &rates[at / 2 * 2];
        let ratios = rates[at].iter().zip(raw).map(|(ours, raw)| ours / raw).collect();
        let [rate, slowest, fastest] = median_and_range(rates[at].clone());
        let [ratio, least, most] = median_and_range(ratios);
        writeln!(
            table,
            "| `{contender}` | {rate:.2} | {slowest:.2} to {fastest:.2} | **{ratio:.2}** | \
             {least:.2} to {most:.2} |"
        )?;
    }
    Ok(table)
}

/// Bytes in a nanosecond.
async fn measure(client: &mut Client) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    for _ in 0..TRANSFERS {
        client.upload().await?;
    }
    Ok((TRANSFERS * BYTES) as f64 / began.elapsed().as_secs_f64() / 1e9)
}

fn median_and_range(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_unstable_by(f64::total_cmp);
    [values[values.len() / 2], values[0], values[values.len() - 1]]
}
