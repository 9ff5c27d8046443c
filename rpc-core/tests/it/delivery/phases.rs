//! Brings a call into each phase that the table names, between a channel and a peer of raw bytes.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use rpc_core::{
    Call, Channel, ChannelBuilder,
    transport::{Address, Connector, Peer, stream::StreamTransport},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    sync::{Mutex, mpsc},
};

use super::{
    LabClient, Running, settle,
    wire::{self, CALLS, MORE, Wire, lane, octets},
};
use crate::raw::PIPE_BYTES;

/// What a small call echoes.
pub(super) const SMALL: usize = 10;

/// What a large one does: more than goes into one batch, so that a part of it stays queued.
pub(super) const LARGE: usize = 1024 * 1024;

/// A message of several frames, which goes into one batch, and may be sent before the hello.
pub(super) const MEDIUM: usize = 200 * 1024;

/// A pipe that the first frame of a message fills.
pub(super) const NARROW: usize = 1024;

/// The size of the preface and the hello, and of the frame of a small call.
const OPENING: usize = 8 + 12 + 48;
const SMALL_FRAME: usize = 12 + 16 + 8 + SMALL;

/// The phases of the table, each in all its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting: there is no connection.
    Connection,
    /// Waiting: the message is too large to be sent before the peer's hello.
    Hello,
    /// Waiting: there was a connection, and this one's hello hasn't come.
    Again,
    /// Waiting: the peer accepts one call at a time, and there is one.
    Place,
    /// Queued: nothing of the only frame has left.
    Queued,
    /// Queued: nothing of many frames has left.
    QueuedLarge,
    /// Queued: some frames have left.
    LeftInPart,
    /// Queued: of the only frame, all but the last byte has left.
    AllButOneByte,
    /// Sent, as one frame.
    Sent,
    /// Sent, as several frames.
    SentMedium,
    /// The first of two frames of the reply has come: [`reply_begin`], then [`reply_end`].
    Replying,
}

pub(super) const WAITING: [Phase; 4] =
    [Phase::Connection, Phase::Hello, Phase::Again, Phase::Place];
pub(super) const SENT: [Phase; 3] = [Phase::Sent, Phase::SentMedium, Phase::Replying];

/// The two halves of the reply to a small call.
pub(super) fn reply_begin() -> Vec<u8> {
    octets(&[7; SMALL])[..SMALL].to_vec()
}

pub(super) fn reply_end() -> Vec<u8> {
    octets(&[7; SMALL])[SMALL..].to_vec()
}

/// How a call is brought into its phase.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) channel: ChannelBuilder,
    pub(super) timeout: Option<Duration>,
    /// Whether the peer says hello, unless the phase is about that.
    pub(super) greet: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self { channel: channel(), timeout: None, greet: true }
    }
}

/// A channel that says nothing by itself, and doesn't pause between attempts to connect.
pub(super) fn channel() -> ChannelBuilder {
    Channel::builder().no_keepalive().no_timeout().backoff(Duration::ZERO, Duration::from_secs(5))
}

/// A channel, and the queue of what its attempts to connect come to.
pub(super) struct Client {
    pub(super) lab: LabClient,
    attempts: mpsc::UnboundedSender<io::Result<Pipe>>,
}

impl Client {
    pub(super) fn new(channel: ChannelBuilder) -> Self {
        let (attempts, queue) = mpsc::unbounded_channel();
        Self { lab: LabClient::new(channel.lazy(Dial(Mutex::new(queue)))), attempts }
    }

    /// The next connection: its other end, and a switch that breaks it.
    pub(super) fn line(&self, pipe_bytes: usize) -> (Wire, Arc<AtomicBool>) {
        let (wire, io) = Wire::pipe(pipe_bytes);
        let broken = Arc::new(AtomicBool::new(false));
        self.attempts.send(Ok(Pipe { io, broken: Arc::clone(&broken) })).unwrap();
        (wire, broken)
    }

    /// The next attempt to connect fails.
    pub(super) fn refuse(&self) {
        self.attempts.send(Err(io::ErrorKind::ConnectionRefused.into())).unwrap();
    }

    pub(super) fn start(&self, bytes: usize, timeout: Option<Duration>) -> Running {
        tokio::spawn(limited(self.lab.echo(vec![7; bytes]), timeout))
    }
}

fn limited<T>(call: Call<T>, timeout: Option<Duration>) -> Call<T> {
    match timeout {
        Some(timeout) => call.timeout(timeout),
        None => call,
    }
}

/// A call in its phase.
pub(super) struct Scene {
    pub(super) phase: Phase,
    pub(super) client: Client,
    pub(super) wire: Wire,
    broken: Arc<AtomicBool>,
    /// Whether the test's preface is still to be sent.
    silent: bool,
    /// The call.
    pub(super) call: Running,
    /// Its lane, if it has one.
    pub(super) lane: u64,
    /// The call that is in its way.
    pub(super) other: Option<Running>,
}

impl Phase {
    pub(super) async fn reach(self) -> Scene {
        self.reach_with(Setting::default()).await
    }

    /// A connection of whatever the phase needs, and the calls.
    pub(super) async fn reach_with(self, setting: Setting) -> Scene {
        let Setting { channel, timeout, greet } = setting;
        let client = Client::new(channel);
        if self == Self::Again {
            use_up_a_connection(&client).await;
        }
        let pipe_bytes = match self {
            Self::Queued | Self::QueuedLarge | Self::LeftInPart => NARROW,
            Self::AllButOneByte => OPENING + SMALL_FRAME - 1,
            _ => PIPE_BYTES,
        };
        let (mut wire, broken) = match self {
            Self::Connection => (Wire::pipe(1).0, Arc::default()),
            _ => client.line(pipe_bytes),
        };
        let silent = matches!(self, Self::Connection | Self::Hello | Self::Again) || !greet;
        if self == Self::Place {
            wire.send(wire::hello_with(CALLS, &[1, 0, 0, 0])).await;
        } else if !silent {
            wire.send(wire::hello()).await;
        }
        let other = match self {
            Self::Place => Some(client.start(SMALL, None)),
            Self::Queued | Self::QueuedLarge => Some(client.start(MEDIUM, None)),
            _ => None,
        };
        settle().await;
        let bytes = match self {
            Self::Hello | Self::QueuedLarge | Self::LeftInPart => LARGE,
            Self::SentMedium => MEDIUM,
            _ => SMALL,
        };
        let call = client.start(bytes, timeout);
        settle().await;
        let lane = match self {
            Self::Queued | Self::QueuedLarge => lane(2, 1),
            Self::Place => lane(2, 0),
            _ => lane(1, 0),
        };
        if self == Self::Replying {
            wire.send(wire::reply(lane, MORE, &reply_begin())).await;
            settle().await;
        }
        Scene { phase: self, client, wire, broken, silent, call, lane, other }
    }

    /// What its request looks like on the wire if it is sent whole.
    pub(super) fn request(self) -> &'static str {
        match self {
            Self::Hello | Self::QueuedLarge | Self::LeftInPart | Self::SentMedium => {
                "request… data… data"
            }
            _ => "request",
        }
    }

    /// The size of what is to be echoed.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Hello | Self::QueuedLarge | Self::LeftInPart => LARGE,
            Self::SentMedium => MEDIUM,
            _ => SMALL,
        }
    }
}

/// Makes a call, answers it, and ends the connection.
async fn use_up_a_connection(client: &Client) {
    let (mut wire, _) = client.line(PIPE_BYTES);
    wire.send(wire::hello()).await;
    let call = client.start(SMALL, None);
    settle().await;
    wire.send(wire::reply(lane(1, 0), 0, &octets(&[]))).await;
    call.await.unwrap().unwrap();
    wire.end().await;
    settle().await;
}

/// How a connection is lost without a CLOSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// The peer ends its direction between two frames.
    End,
    /// It does so within a frame.
    Truncated,
    /// The layer below fails.
    Broken,
}

pub(super) const LOSSES: [Loss; 3] = [Loss::End, Loss::Truncated, Loss::Broken];

impl Scene {
    /// Whoever sends anything sends the preface first.
    pub(super) async fn send_preface(&mut self) {
        if std::mem::take(&mut self.silent) {
            self.wire.send(&wire::hello()[..8]).await;
        }
    }

    pub(super) async fn lose(&mut self, how: Loss) {
        match how {
            Loss::End => self.wire.end().await,
            Loss::Truncated => {
                self.send_preface().await;
                self.wire.send(&wire::close(0)[..13]).await;
                self.wire.end().await;
            }
            Loss::Broken => {
                self.broken.store(true, Ordering::SeqCst);
                // Whatever comes wakes the reader.
                self.wire.send([0]).await;
            }
        }
        settle().await;
    }

    /// Another connection is made, of which the test says nothing yet.
    pub(super) fn next_line(&mut self) {
        (self.wire, self.broken) = self.client.line(PIPE_BYTES);
        self.silent = true;
    }

    /// What has left since the last look, in words: about this call, and of the connection's own
    /// frames all but the hello.
    pub(super) async fn left(&mut self) -> String {
        let sequence = self.lane >> 24;
        let frames = self.wire.frames().await.into_iter();
        let ours = |frame: &wire::Frame| {
            !frame.is_hello() && (frame.call() == sequence || frame.call() == 0)
        };
        wire::words(frames.filter(ours))
    }

    /// Makes another call on the same connection, which goes well.
    pub(super) async fn works_on(&mut self) {
        self.wire.frames().await;
        let call = self.client.start(SMALL, None);
        settle().await;
        let frames = self.wire.frames().await;
        let request = frames.iter().find(|frame| frame.to_string() == "request").unwrap();
        self.wire.send(wire::reply(request.lane, 0, &octets(b"works"))).await;
        assert_eq!(call.await.unwrap().unwrap(), b"works", "{:?}", self.phase);
    }

    /// Another connection is made, for the call that waits, and answers it.
    pub(super) async fn goes_elsewhere(&mut self) {
        assert!(!self.call.is_finished(), "{:?}", self.phase);
        let (mut wire, _) = self.client.line(PIPE_BYTES);
        wire.send(wire::hello()).await;
        assert_eq!(wire.words().await, self.phase.request(), "{:?}", self.phase);
        wire.send(wire::reply(lane(1, 0), 0, &octets(b"there"))).await;
        let call = &mut self.call;
        assert_eq!(call.await.unwrap().unwrap(), b"there", "{:?}", self.phase);
        // Whoever is dropped too early looks like a lost connection.
        assert!(!wire.ended);
    }
}

/// A channel's end of a pipe, which a test can break: it fails then as a socket does.
struct Pipe {
    io: DuplexStream,
    broken: Arc<AtomicBool>,
}

impl Pipe {
    fn check(&self) -> io::Result<()> {
        match self.broken.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Connects to whatever comes next out of a queue.
struct Dial(Mutex<mpsc::UnboundedReceiver<io::Result<Pipe>>>);

impl Connector for Dial {
    type Transport = StreamTransport<Pipe>;

    fn target(&self) -> Address {
        Address::Name("a pipe".into())
    }

    async fn connect(&self) -> io::Result<Self::Transport> {
        let Some(next) = self.0.lock().await.recv().await else {
            // The test is over. Without pauses, failing would keep the channel busy for ever.
            return std::future::pending().await;
        };
        Ok(StreamTransport::new(next?, Peer::new(Address::Unnamed)))
    }
}
