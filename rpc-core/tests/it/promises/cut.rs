//! One session over a byte stream, cut at every byte of either direction.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use rpc_core::{
    testing::promises::{Kit, Network},
    transport::{
        Address, Batch, Connector, Inbox, Listener, Peer, Received, Transport, TransportError,
        stream::StreamTransport,
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    sync::mpsc,
};

/// The frame size that the transport asks for: a large message then has several frames, and the
/// session no more bytes than can all be tried.
const FRAME_BYTES: usize = 1100;

/// Bytes of a large message: three frames.
const LARGE_BYTES: usize = 2300;

/// What a pipe holds before its writer waits.
const PIPE_BYTES: usize = 64 * 1024;

/// The first session of the kit, which has a call of each sort, and one with items in all directions.
/// `RPC_SESSIONS=n` cuts so many sessions, `RPC_SESSION=x` that one.
#[tokio::test(start_paused = true)]
async fn a_session_cut_at_any_byte_leaves_books_that_balance() {
    let variable = |name| std::env::var(name).ok()?.parse().ok();
    let sessions = match (variable("RPC_SESSION"), variable("RPC_SESSIONS")) {
        (Some(session), _) => vec![session],
        (None, Some(sessions)) => (0..sessions).collect(),
        (None, None) => vec![0, STREAMS],
    };
    let (count, mut cuts) = (sessions.len(), 0);
    for session in sessions {
        cuts += cut_everywhere(session).await;
    }
    eprintln!("FIGURE cut.bytes={cuts}");
    eprintln!("FIGURE cut.sessions={count}");
}

/// The session with streams in all directions at once.
const STREAMS: usize = 12;

/// Returns how often that was.
async fn cut_everywhere(session: usize) -> usize {
    let bytes = Arc::default();
    let kit = Kit::new().nth_session(session).large_bytes(LARGE_BYTES);
    let whole = kit.clone().seeds(1).run(|_| Pipes::new(None, &bytes)).await;
    if session == 0 {
        let ends = ["value", "error of the handler", "dropped"].map(|end| whole.ended(end));
        assert_eq!(ends, [5, 1, 1], "the whole session: {whole}");
    }
    let bytes: [usize; 2] = *bytes.lock().unwrap();
    let mut cuts = Vec::new();
    for direction in [TO_SERVER, TO_CLIENT] {
        for at in 0..bytes[direction] {
            cuts.extend([Manner::End, Manner::Error].map(|manner| Cut { direction, at, manner }));
        }
    }
    let tally = kit
        .seeds(cuts.len() as u64)
        .run(|seed| {
            let cut = usize::try_from(seed).ok().and_then(|seed| cuts.get(seed));
            Pipes::new(cut.copied(), &Arc::default())
        })
        .await;
    eprintln!("session {session}: {whole}");
    eprintln!("session {session}, {} cuts in {bytes:?} bytes: {tally}", cuts.len());
    let lost = ["NotSent", "Unknown"].map(|how| tally.ended(&format!("connection lost, {how}")));
    assert!(lost[0] > 0, "no call was lost before it was sent: {tally}");
    assert!(lost[1] > 0, "no call was lost with an unknown end: {tally}");
    cuts.len()
}

const TO_SERVER: usize = 0;
const TO_CLIENT: usize = 1;

/// Where a connection is cut.
#[derive(Debug, Clone, Copy)]
struct Cut {
    direction: usize,
    /// How many bytes of that direction still get through.
    at: usize,
    manner: Manner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Who was sending is gone: what it had sent arrives, then an end.
    End,
    /// Everything under way is lost, and both ends get an error.
    Error,
}

/// A network of pipes, the first of which is cut.
struct Pipes {
    cut: Mutex<Option<Cut>>,
    breaks: bool,
    /// Bytes that went in each direction of the first connection.
    bytes: Mutex<Option<Arc<Mutex<[usize; 2]>>>>,
    server: Accepting,
}

/// Where the server that listens takes its connections from.
type Accepting = Arc<Mutex<Option<mpsc::UnboundedSender<DuplexEnd>>>>;

impl Pipes {
    fn new(cut: Option<Cut>, bytes: &Arc<Mutex<[usize; 2]>>) -> Self {
        Self {
            cut: Mutex::new(cut),
            breaks: cut.is_some(),
            bytes: Mutex::new(Some(Arc::clone(bytes))),
            server: Accepting::default(),
        }
    }
}

impl Network for Pipes {
    async fn listen(&self, _: Option<&Address>) -> io::Result<impl Listener> {
        let (pipes, accepted) = mpsc::unbounded_channel();
        *self.server.lock().unwrap() = Some(pipes);
        Ok(PipeListener(accepted))
    }

    fn connector(&self, _: &Address) -> impl Connector {
        PipeConnector {
            // Only the first channel is used.
            cut: Mutex::new(self.cut.lock().unwrap().take()),
            bytes: Mutex::new(self.bytes.lock().unwrap().take()),
            server: Arc::clone(&self.server),
        }
    }

    fn breaks(&self) -> bool {
        self.breaks
    }
}

struct PipeListener(mpsc::UnboundedReceiver<DuplexEnd>);

impl Listener for PipeListener {
    type Transport = SmallFrames;

    fn local_addr(&self) -> Address {
        Address::Unnamed
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<SmallFrames>> {
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(end)) => Poll::Ready(Ok(SmallFrames::new(end))),
            _ => Poll::Pending,
        }
    }
}

struct PipeConnector {
    cut: Mutex<Option<Cut>>,
    bytes: Mutex<Option<Arc<Mutex<[usize; 2]>>>>,
    server: Accepting,
}

impl Connector for PipeConnector {
    type Transport = SmallFrames;

    fn target(&self) -> Address {
        Address::Unnamed
    }

    async fn connect(&self) -> io::Result<SmallFrames> {
        let (client, server) = duplex(PIPE_BYTES);
        let pipe = Arc::new(Mutex::new(Pipe {
            cut: self.cut.lock().unwrap().take(),
            bytes: self.bytes.lock().unwrap().take().unwrap_or_default(),
            ..Pipe::default()
        }));
        let end = |io, sends| DuplexEnd { io, sends, pipe: Arc::clone(&pipe) };
        let server = end(server, TO_CLIENT);
        let accepting = self.server.lock().unwrap().clone().unwrap();
        accepting.send(server).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(SmallFrames::new(end(client, TO_SERVER)))
    }
}

/// What the two ends of a connection know together.
#[derive(Default)]
struct Pipe {
    cut: Option<Cut>,
    /// Who cut it, once it is cut.
    dead: Option<Cut>,
    bytes: Arc<Mutex<[usize; 2]>>,
    /// Who waits to read.
    readers: [Option<Waker>; 2],
}

/// One end of a connection.
struct DuplexEnd {
    io: DuplexStream,
    /// The direction it sends in.
    sends: usize,
    pipe: Arc<Mutex<Pipe>>,
}

impl DuplexEnd {
    fn lock(&self) -> MutexGuard<'_, Pipe> {
        self.pipe.lock().unwrap()
    }

    /// Whether anything may still be written: how many bytes of so many.
    fn allowed(&self, bytes: usize) -> io::Result<usize> {
        let pipe = self.lock();
        if pipe.dead.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let sent = pipe.bytes.lock().unwrap()[self.sends];
        let cut = pipe.cut.filter(|cut| cut.direction == self.sends);
        Ok(cut.map_or(bytes, |cut| bytes.min(cut.at - sent)))
    }

    /// Cuts the connection, if it is time.
    fn cut_if_due(&mut self, cx: &mut Context<'_>, written: usize) {
        let mut pipe = self.lock();
        let mut bytes = pipe.bytes.lock().unwrap();
        bytes[self.sends] += written;
        let due = pipe.cut.filter(|c| c.direction == self.sends && c.at == bytes[self.sends]);
        drop(bytes);
        if due.is_some() {
            pipe.dead = due;
            let readers = std::mem::take(&mut pipe.readers);
            drop(pipe);
            // The other end reads to the end of what was written.
            let _ready = Pin::new(&mut self.io).poll_shutdown(cx);
            readers.into_iter().flatten().for_each(Waker::wake);
        }
    }
}

impl AsyncRead for DuplexEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let sends = self.sends;
        let dead = {
            let mut pipe = self.lock();
            pipe.readers[sends] = Some(cx.waker().clone());
            pipe.dead
        };
        match dead {
            Some(Cut { manner: Manner::Error, .. }) => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            Some(Cut { direction, .. }) if direction == sends => Poll::Ready(Ok(())),
            _ => Pin::new(&mut self.io).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for DuplexEnd {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let allowed = self.allowed(bytes.len())?;
        if allowed == 0 {
            self.cut_if_due(cx, 0);
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = Pin::new(&mut self.io).poll_write(cx, &bytes[..allowed]);
        if let Poll::Ready(Ok(written)) = written {
            self.cut_if_due(cx, written);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A stream transport that asks for small frames.
struct SmallFrames(StreamTransport<DuplexEnd>);

impl SmallFrames {
    fn new(end: DuplexEnd) -> Self {
        Self(StreamTransport::new(end, Peer::new(Address::Unnamed)))
    }
}

impl Transport for SmallFrames {
    fn peer(&self) -> Peer {
        self.0.peer()
    }

    fn frame_bytes(&self) -> usize {
        FRAME_BYTES
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        self.0.poll_send(cx, batch)
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        self.0.poll_recv(cx, inbox)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(cx)
    }
}
