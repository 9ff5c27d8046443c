//! Peers that break the rules, in raw bytes, against servers and channels: what they may cost, and
//! that nobody else notices.
//!
//! Every attack ends with the same question: do other calls, and other connections, go on?

mod bodies;
mod drain;
mod floods;
mod frames;
mod hello;
mod ids;
mod liars;
mod preface;
mod texts;
mod unread;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rpc_core::{
    Channel, Limits, RpcError, Server, ServerBuilder,
    service::MethodId,
    transport::{Address, Connector, stream::StreamTransport},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{Mutex, mpsc},
};

use crate::raw::{HELLO, PIPE_BYTES, PipeConnector, Pipes, Raw, call_id, framed, transport};

// Kinds of frames.
const REQUEST: u8 = 2;
const REPLY: u8 = 3;
const ERROR: u8 = 4;
const DATA: u8 = 5;
const CREDIT: u8 = 6;
const CANCEL: u8 = 7;
const PING: u8 = 8;
const PONG: u8 = 9;
const GO_AWAY: u8 = 10;
const CLOSE: u8 = 11;

/// The flag of frames whose message goes on.
const MORE: u8 = 1;

/// The timeout of a request that has none.
const NO_TIMEOUT: u32 = u32::MAX;

#[rpc_core::service]
pub(crate) trait Victim {
    async fn echo(&self, text: String) -> String;
    async fn large(&self, bytes: u32) -> Vec<u8>;
    async fn forever(&self);
}

/// How many handlers were started, run now, and ran at a time at most.
#[derive(Debug, Default)]
struct Gauge {
    started: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
}

struct Running(Arc<Gauge>);

impl Gauge {
    fn enter(self: &Arc<Self>) -> Running {
        self.started.fetch_add(1, Ordering::SeqCst);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        Running(Arc::clone(self))
    }

    fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    async fn nothing_runs(&self) {
        while self.running() > 0 {
            a_moment().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Handlers(Arc<Gauge>);

impl Victim for Handlers {
    async fn echo(&self, text: String) -> String {
        let _running = self.0.enter();
        text
    }
    async fn large(&self, bytes: u32) -> Vec<u8> {
        let _running = self.0.enter();
        vec![7; bytes as usize]
    }
    async fn forever(&self) {
        let _running = self.0.enter();
        std::future::pending::<()>().await;
    }
}

/// A server under attack, and an honest client of it.
struct Target {
    server: Server,
    pipes: mpsc::UnboundedSender<DuplexStream>,
    honest: VictimClient,
    gauge: Arc<Gauge>,
}

impl Target {
    async fn start() -> Self {
        Self::with(|server| server).await
    }

    async fn limited(limits: Limits) -> Self {
        Self::with(|server| server.limits(limits)).await
    }

    async fn with(settings: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let gauge = Arc::new(Gauge::default());
        let (pipes, accepted) = mpsc::unbounded_channel();
        let server = Server::builder().service(VictimServer::new(Handlers(Arc::clone(&gauge))));
        let server = settings(server).listen(Pipes(accepted)).start().unwrap();
        let honest = honest(&pipes);
        assert_eq!(honest.echo("first".into()).await.as_deref(), Ok("first"));
        Self { server, pipes, honest, gauge }
    }

    /// A connection on which nothing was said yet.
    fn stranger(&self) -> Raw {
        self.stranger_with(PIPE_BYTES)
    }

    /// The same, with a pipe that holds so many bytes in each direction.
    fn stranger_with(&self, bytes: usize) -> Raw {
        let (ours, theirs) = duplex(bytes);
        self.pipes.send(theirs).unwrap();
        Raw { io: ours, server: None }
    }

    /// A connection on which both have said hello.
    async fn attacker(&self) -> Raw {
        let mut raw = self.stranger();
        raw.greet().await;
        raw
    }

    /// Other connections go on, those that there were and new ones.
    async fn others_go_on(&self) {
        assert_eq!(self.honest.echo("old".into()).await.as_deref(), Ok("old"));
        let another = honest(&self.pipes);
        assert_eq!(another.echo("new".into()).await.as_deref(), Ok("new"));
    }

    /// Waits until so many connections are left.
    async fn connections(&self, count: usize) {
        while self.server.connections() != count {
            a_moment().await;
        }
    }
}

/// Makes connections to a target.
struct Dial(mpsc::UnboundedSender<DuplexStream>);

impl Connector for Dial {
    type Transport = StreamTransport<DuplexStream>;

    fn target(&self) -> Address {
        Address::Unnamed
    }

    async fn connect(&self) -> io::Result<Self::Transport> {
        let (ours, theirs) = duplex(PIPE_BYTES);
        self.0.send(theirs).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(transport(ours))
    }
}

/// Between two looks at something that is about to happen. A clock that is paused goes on.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A client that keeps to the rules.
fn honest(pipes: &mpsc::UnboundedSender<DuplexStream>) -> VictimClient {
    VictimClient::new(Channel::lazy(Dial(pipes.clone())))
}

/// A channel whose server lies, one connection after the other.
struct Prey {
    channel: Channel,
    client: VictimClient,
    pipes: mpsc::UnboundedSender<DuplexStream>,
}

type Outcome = tokio::task::JoinHandle<Result<String, RpcError>>;

impl Prey {
    fn new() -> Self {
        Self::limited(Limits::default())
    }

    fn limited(limits: Limits) -> Self {
        let (pipes, made) = mpsc::unbounded_channel();
        // Pauses of milliseconds at most, however many connections in a row are lies.
        let backoff = (Duration::from_nanos(50), Duration::from_secs(5));
        let channel = Channel::builder().backoff(backoff.0, backoff.1).limits(limits);
        let channel = channel.lazy(PipeConnector(Mutex::new(made)));
        Self { client: VictimClient::new(channel.clone()), channel, pipes }
    }

    /// The server's end of the channel's next connection.
    fn liar(&self) -> Raw {
        self.liar_with(PIPE_BYTES)
    }

    /// The same, with a pipe that holds so many bytes in each direction.
    fn liar_with(&self, bytes: usize) -> Raw {
        let (ours, theirs) = duplex(bytes);
        self.pipes.send(theirs).unwrap();
        Raw { io: ours, server: None }
    }

    /// Begins a call.
    fn call(&self, text: &str) -> Outcome {
        tokio::spawn(self.client.echo(text.to_owned()))
    }

    /// A new connection with a call on it whose request has arrived, and that call's id.
    async fn called(&self) -> (Raw, Outcome, u64) {
        let mut raw = self.liar();
        let call = self.call("?");
        raw.greet().await;
        let id = raw.asked().await;
        (raw, call, id)
    }

    /// The channel gets an answer: on this connection, or on a new one if that is gone.
    async fn goes_on(&self, raw: Option<&mut Raw>) {
        let mut fresh = self.liar();
        let call = self.call("honest");
        let id = match raw {
            Some(raw) => {
                let id = raw.asked().await;
                raw.put(&framed(id, REPLY, 0, &text_body("honest"))).await;
                id
            }
            None => {
                fresh.greet().await;
                let id = fresh.asked().await;
                fresh.put(&framed(id, REPLY, 0, &text_body("honest"))).await;
                id
            }
        };
        assert_eq!(call.await.unwrap().as_deref(), Ok("honest"), "call {id:x}");
    }
}

impl Raw {
    /// Sends bytes to a peer that may have had enough.
    async fn io_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await
    }

    /// Reads up to the next REQUEST, and returns its call.
    async fn asked(&mut self) -> u64 {
        loop {
            let (lane, frame) = self.frame().await;
            if frame[0] == REQUEST {
                return lane;
            }
        }
    }

    /// Makes a call that has an answer, and reads up to that.
    async fn good_call(&mut self, id: u64) {
        self.put(&request(id, "echo", NO_TIMEOUT, &text_body("fine"))).await;
        assert_eq!(self.answer(id).await, (REPLY, [&[0; 3], &text_body("fine")[..]].concat()));
    }

    /// Reads up to the first frame of a call: its kind, and what follows that.
    async fn answer(&mut self, id: u64) -> (u8, Vec<u8>) {
        loop {
            let (lane, frame) = self.frame().await;
            assert_ne!(frame[0], CLOSE, "{}", String::from_utf8_lossy(&frame[8..]));
            if lane == id {
                return (frame[0], frame[1..].to_vec());
            }
        }
    }

    /// Reads up to the ERROR of a call: its code, and what it says about the handler.
    async fn refusal(&mut self, id: u64) -> (u8, u8) {
        let (kind, rest) = self.answer(id).await;
        assert_eq!(kind, ERROR, "{rest:x?}");
        (rest[3], rest[5])
    }

    /// The peer is gone, and has said nothing more.
    async fn ends_silently(&mut self) {
        let mut rest = Vec::new();
        self.io.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"", "{}", String::from_utf8_lossy(&rest));
    }
}

/// A REQUEST, complete in one frame.
fn request(id: u64, method: &str, timeout_ms: u32, body: &[u8]) -> Vec<u8> {
    framed(id, REQUEST, 0, &[&request_fields(method, timeout_ms)[..], body].concat())
}

/// The first frame of a request that goes on.
fn request_begins(id: u64, method: &str, body: &[u8]) -> Vec<u8> {
    framed(id, REQUEST, MORE, &[&request_fields(method, NO_TIMEOUT)[..], body].concat())
}

fn request_fields(method: &str, timeout_ms: u32) -> Vec<u8> {
    let method = MethodId::of("Victim", method).number();
    [&timeout_ms.to_le_bytes()[..], &method.to_le_bytes()].concat()
}

fn cancel(id: u64) -> Vec<u8> {
    framed(0, CANCEL, 0, &id.to_le_bytes())
}

/// A text as codec 1 has it.
fn text_body(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// The preface and the hello that the specification's example has.
fn hello() -> Vec<u8> {
    crate::raw::hex(HELLO)
}

/// The id of the attacker's call number `sequence` in slot 0.
fn nth(sequence: u64) -> u64 {
    call_id(sequence, 0)
}
