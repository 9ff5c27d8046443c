//! The two ends under attack, each beside somebody honest, and what a raw peer does to them.

use std::{io, sync::Arc, time::Duration};

use rpc_core::{
    Channel, Limits, RpcError, Server, ServerBuilder,
    transport::{Address, Connector, stream::StreamTransport},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{Mutex, mpsc},
};

use super::{
    CLOSE, ERROR, Gauge, Handlers, NO_TIMEOUT, REPLY, REQUEST, VictimClient, VictimServer, request,
    text_body,
};
use crate::raw::{PIPE_BYTES, PipeConnector, Pipes, Raw, framed, transport};

/// A server under attack, and an honest client of it.
pub(super) struct Target {
    pub(super) server: Server,
    pipes: mpsc::UnboundedSender<DuplexStream>,
    honest: VictimClient,
    pub(super) gauge: Arc<Gauge>,
}

impl Target {
    pub(super) async fn start() -> Self {
        Self::with(|server| server).await
    }

    pub(super) async fn limited(limits: Limits) -> Self {
        Self::with(|server| server.limits(limits)).await
    }

    pub(super) async fn with(settings: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let gauge = Arc::new(Gauge::default());
        let (pipes, accepted) = mpsc::unbounded_channel();
        let server = Server::builder().service(VictimServer::new(Handlers(Arc::clone(&gauge))));
        let server = settings(server).listen(Pipes(accepted)).start().unwrap();
        let honest = honest(&pipes);
        assert_eq!(honest.echo("first".into()).await.as_deref(), Ok("first"));
        Self { server, pipes, honest, gauge }
    }

    /// A connection on which nothing was said yet.
    pub(super) fn stranger(&self) -> Raw {
        self.stranger_with(PIPE_BYTES)
    }

    /// The same, with a pipe that holds so many bytes in each direction.
    pub(super) fn stranger_with(&self, bytes: usize) -> Raw {
        let (ours, theirs) = duplex(bytes);
        self.pipes.send(theirs).unwrap();
        Raw { io: ours, server: None }
    }

    /// A connection on which both have said hello.
    pub(super) async fn attacker(&self) -> Raw {
        let mut raw = self.stranger();
        raw.greet().await;
        raw
    }

    /// Other connections go on, those that there were and new ones.
    pub(super) async fn others_go_on(&self) {
        self.old_goes_on().await;
        let another = self.client();
        assert_eq!(another.echo("new".into()).await.as_deref(), Ok("new"));
    }

    /// Another client that keeps to the rules.
    pub(super) fn client(&self) -> VictimClient {
        honest(&self.pipes)
    }

    /// The connection that there was goes on.
    pub(super) async fn old_goes_on(&self) {
        assert_eq!(self.honest.echo("old".into()).await.as_deref(), Ok("old"));
    }

    /// Waits until so many connections are left.
    pub(super) async fn connections(&self, count: usize) {
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
pub(super) async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A client that keeps to the rules.
fn honest(pipes: &mpsc::UnboundedSender<DuplexStream>) -> VictimClient {
    VictimClient::new(Channel::lazy(Dial(pipes.clone())))
}

/// A channel whose server lies, one connection after the other.
pub(super) struct Prey {
    pub(super) channel: Channel,
    pub(super) client: VictimClient,
    pipes: mpsc::UnboundedSender<DuplexStream>,
}

pub(super) type Outcome = tokio::task::JoinHandle<Result<String, RpcError>>;

impl Prey {
    pub(super) fn new() -> Self {
        Self::limited(Limits::default())
    }

    pub(super) fn limited(limits: Limits) -> Self {
        let (pipes, made) = mpsc::unbounded_channel();
        // Pauses of milliseconds at most, however many connections in a row are lies.
        let backoff = (Duration::from_nanos(50), Duration::from_secs(5));
        let channel = Channel::builder().backoff(backoff.0, backoff.1).limits(limits);
        let channel = channel.lazy(PipeConnector(Mutex::new(made)));
        Self { client: VictimClient::new(channel.clone()), channel, pipes }
    }

    /// The server's end of the channel's next connection.
    pub(super) fn liar(&self) -> Raw {
        self.liar_with(PIPE_BYTES)
    }

    /// The same, with a pipe that holds so many bytes in each direction.
    pub(super) fn liar_with(&self, bytes: usize) -> Raw {
        let (ours, theirs) = duplex(bytes);
        self.pipes.send(theirs).unwrap();
        Raw { io: ours, server: None }
    }

    /// Begins a call.
    pub(super) fn call(&self, text: &str) -> Outcome {
        tokio::spawn(self.client.echo(text.to_owned()))
    }

    /// A new connection with a call on it whose request has arrived, and that call's id.
    pub(super) async fn called(&self) -> (Raw, Outcome, u64) {
        let mut raw = self.liar();
        let call = self.call("?");
        raw.greet().await;
        let id = raw.asked().await;
        (raw, call, id)
    }

    /// The channel gets an answer: on this connection, or on a new one if that is gone.
    pub(super) async fn goes_on(&self, raw: Option<&mut Raw>) {
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
    pub(super) async fn io_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await
    }

    /// Reads up to the next REQUEST, and returns its call.
    pub(super) async fn asked(&mut self) -> u64 {
        loop {
            let (lane, frame) = self.frame().await;
            if frame[0] == REQUEST {
                return lane;
            }
        }
    }

    /// Makes a call that has an answer, and reads up to that.
    pub(super) async fn good_call(&mut self, id: u64) {
        self.put(&request(id, "echo", NO_TIMEOUT, &text_body("fine"))).await;
        assert_eq!(self.answer(id).await, (REPLY, [&[0; 3], &text_body("fine")[..]].concat()));
    }

    /// Reads up to the first frame of a call: its kind, and what follows that.
    pub(super) async fn answer(&mut self, id: u64) -> (u8, Vec<u8>) {
        loop {
            let (lane, frame) = self.frame().await;
            assert_ne!(frame[0], CLOSE, "{}", String::from_utf8_lossy(&frame[8..]));
            if lane == id {
                return (frame[0], frame[1..].to_vec());
            }
        }
    }

    /// Reads up to the ERROR of a call: its code, and what it says about the handler.
    pub(super) async fn refusal(&mut self, id: u64) -> (u8, u8) {
        let (kind, rest) = self.answer(id).await;
        assert_eq!(kind, ERROR, "{rest:x?}");
        (rest[3], rest[5])
    }

    /// Sends all of it, as far as the peer reads, and returns the code that it closes with, and how many
    /// bytes it has sent.
    pub(super) async fn flood(&mut self, bytes: &[u8]) -> (u16, usize) {
        let (mut from, mut to) = tokio::io::split(&mut self.io);
        let mut answers = Vec::new();
        let receiving = from.read_to_end(&mut answers);
        let sending = to.write_all(bytes);
        let (_it_may_have_had_enough, received) = tokio::join!(sending, receiving);
        received.unwrap();
        let close = [&[0x80, 0, 0, 0, 0, 0, 0, 0, 0][..], &[11, 0, 0, 0]].concat();
        let at = answers.windows(close.len()).position(|at| at == close).expect("it says why");
        let code = at + close.len();
        (u16::from_le_bytes([answers[code], answers[code + 1]]), answers.len())
    }

    /// The peer is gone, and has said nothing more.
    pub(super) async fn ends_silently(&mut self) {
        let mut rest = Vec::new();
        self.io.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"", "{}", String::from_utf8_lossy(&rest));
    }
}
