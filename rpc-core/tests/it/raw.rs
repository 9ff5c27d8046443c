//! A peer that knows nothing but the specification: raw bytes to a server, or to a channel.

use std::{
    io,
    task::{Context, Poll},
};

use rpc_core::{
    Channel, Server, ServerBuilder,
    service::MethodId,
    transport::{Address, Connector, Listener, Peer, stream::StreamTransport},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{Mutex, mpsc},
};

/// What a pipe holds in each direction.
pub(crate) const PIPE_BYTES: usize = 1024 * 1024;

/// The preface and a hello with the default limits, as the specification's example has them; but
/// with a window so large that a test needn't grant anything.
pub(crate) const HELLO: &str = "8952 5043 0d0a 1a01
    30000000 0000000000000000 01000000 0100 0100 00000000
    efcdab8967452301efcdab8967452301 00000100 00000004 00040000 00200000 ffffff7f";

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

pub(crate) fn show(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Streams that a test hands to a server, or a channel, as if they had been accepted or made.
pub(crate) struct Pipes(pub(crate) mpsc::UnboundedReceiver<DuplexStream>);

pub(crate) fn transport(io: DuplexStream) -> StreamTransport<DuplexStream> {
    StreamTransport::new(io, Peer::new(Address::Unnamed))
}

impl Listener for Pipes {
    type Transport = StreamTransport<DuplexStream>;

    fn local_addr(&self) -> Address {
        Address::Unnamed
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Transport>> {
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(io)) => Poll::Ready(Ok(transport(io))),
            _ => Poll::Pending,
        }
    }
}

pub(crate) struct PipeConnector(pub(crate) Mutex<mpsc::UnboundedReceiver<DuplexStream>>);

impl Connector for PipeConnector {
    type Transport = StreamTransport<DuplexStream>;

    fn target(&self) -> Address {
        Address::Name("a pipe".into())
    }

    async fn connect(&self) -> io::Result<Self::Transport> {
        let next = self.0.lock().await.recv().await;
        next.map(transport).ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }
}

/// One end of a connection, on which a test writes and reads bytes. At the other is a server that
/// it started, or a channel.
pub(crate) struct Raw {
    pub(crate) io: DuplexStream,
    pub(crate) server: Option<Server>,
}

impl Raw {
    /// Starts a server with one connection, the other end of which is the test's.
    pub(crate) fn to(server: ServerBuilder) -> Self {
        let (pipes, accepted) = mpsc::unbounded_channel();
        let server = server.listen(Pipes(accepted)).start().unwrap();
        let (ours, theirs) = duplex(PIPE_BYTES);
        pipes.send(theirs).unwrap();
        Self { io: ours, server: Some(server) }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.io.write_all(&hex(text)).await.unwrap();
    }

    /// Reads exactly what is expected.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) -> impl Future<Output = ()> {
        let expected = hex(text);
        let caller = std::panic::Location::caller();
        async move {
            let mut read = vec![0; expected.len()];
            self.io.read_exact(&mut read).await.unwrap();
            assert_eq!(show(&read), show(&expected), "at {caller}");
        }
    }

    /// Sends our hello, and takes the server's.
    pub(crate) async fn greet(&mut self) {
        self.send(HELLO).await;
        let mut hello = [0; 8 + 12 + 48];
        self.io.read_exact(&mut hello).await.unwrap();
        assert_eq!(show(&hello[..28]), show(&hex(HELLO)[..28]), "preface, HELLO, version, codec");
    }

    /// Reads one frame: its lane, and its bytes from the kind on.
    pub(crate) async fn frame(&mut self) -> (u64, Vec<u8>) {
        let length = self.io.read_u32_le().await.unwrap() & 0x7fff_ffff;
        let lane = self.io.read_u64_le().await.unwrap();
        let mut frame = vec![0; length as usize];
        self.io.read_exact(&mut frame).await.unwrap();
        (lane, frame)
    }

    /// Sends bytes that are made by a test, all of them.
    pub(crate) async fn put(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    /// Reads up to the CLOSE frame, and checks that the stream ends behind it. Returns its code and
    /// its text.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            let (lane, frame) = self.frame().await;
            if frame[0] == 11 {
                assert_eq!(lane, 0);
                assert_eq!(self.io.read(&mut [0; 1]).await.unwrap(), 0, "CLOSE is the last frame");
                let code = u16::from_le_bytes([frame[4], frame[5]]);
                return (code, String::from_utf8(frame[8..].to_vec()).unwrap());
            }
        }
    }

    /// Reads an ERROR frame of the first call: its code, and what it says about the handler.
    pub(crate) async fn error(&mut self) -> (u8, u8, String) {
        let (lane, frame) = self.frame().await;
        assert_eq!((lane, frame[0]), (0x100_0000, 4), "{}", show(&frame));
        (frame[4], frame[6], String::from_utf8(frame[8..].to_vec()).unwrap())
    }
}

/// One frame and its prefix. The end mark stays clear: receivers go by the flag MORE.
pub(crate) fn framed(lane: u64, kind: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(4 + rest.len()).unwrap();
    let head = [&length.to_le_bytes()[..], &lane.to_le_bytes(), &[kind, flags, 0, 0]].concat();
    [&head, rest].concat()
}

/// The id of a call of the connecting side's.
pub(crate) fn call_id(sequence: u64, slot: u64) -> u64 {
    sequence << 24 | slot << 1
}

/// A request of the first call, for any method, with any body.
pub(crate) fn request(service: &str, method: &str, body: &str) -> String {
    let id = MethodId::of(service, method).number();
    let body = hex(body);
    let length = u32::try_from(16 + body.len()).unwrap() | 1 << 31;
    let (length, method) = (show(&length.to_le_bytes()), show(&id.to_le_bytes()));
    format!("{length} 0000000100000000 02000000 e8030000 {method} {}", show(&body))
}

/// A channel that fails fast, and the other end of its only connection.
pub(crate) async fn channel() -> (Channel, Raw) {
    let (pipes, made) = mpsc::unbounded_channel();
    let (ours, theirs) = duplex(PIPE_BYTES);
    pipes.send(theirs).unwrap();
    let connector = PipeConnector(Mutex::new(made));
    let channel = Channel::builder().fail_fast(true).connect(connector).await.unwrap();
    (channel, Raw { io: ours, server: None })
}
