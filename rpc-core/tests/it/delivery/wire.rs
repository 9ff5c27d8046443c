//! One end of a connection in raw bytes: frames by hand, and what the other end has sent in words.

use std::{fmt, time::Duration};

use rpc_core::service::MethodId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::timeout,
};

use crate::raw::{HELLO, hex};

/// Flags.
pub(super) const MORE: u8 = 1;
pub(super) const APP_ERROR: u8 = 2;
const ABORT: u8 = 2;

/// Where fields of the hello lie, from the first byte of the preface on.
pub(super) const VERSION: usize = 24;
pub(super) const CODEC: usize = 26;
pub(super) const MESSAGE_BYTES: usize = 52;
pub(super) const CALLS: usize = 56;
pub(super) const METADATA_BYTES: usize = 60;

/// The lane of the call with this sequence number in this slot, opened by the connecting side.
pub(super) const fn lane(sequence: u64, slot: u64) -> u64 {
    sequence << 24 | slot << 1
}

/// The preface and a hello.
pub(super) fn hello() -> Vec<u8> {
    hex(HELLO)
}

/// The same, with other bytes at `at`.
pub(super) fn hello_with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut hello = hello();
    hello[at..at + bytes.len()].copy_from_slice(bytes);
    hello
}

/// A frame. Its kind says where the end mark belongs.
fn frame(lane: u64, kind: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(4 + rest.len()).unwrap();
    let end = matches!(kind, 2 | 3 | 5) && flags & MORE == 0 || matches!(kind, 4 | 11);
    let word = length | u32::from(end) << 31;
    [&word.to_le_bytes()[..], &lane.to_le_bytes(), &[kind, flags, 0, 0], rest].concat()
}

pub(super) fn reply(lane: u64, flags: u8, body: &[u8]) -> Vec<u8> {
    frame(lane, 3, flags, body)
}

pub(super) fn data(lane: u64, flags: u8, body: &[u8]) -> Vec<u8> {
    frame(lane, 5, flags, body)
}

pub(super) fn abort(lane: u64) -> Vec<u8> {
    frame(lane, 5, ABORT, &[])
}

pub(super) fn error(lane: u64, code: u16, ran: u8) -> Vec<u8> {
    let [low, high] = code.to_le_bytes();
    frame(lane, 4, 0, &[low, high, ran, 0])
}

pub(super) fn cancel(lane: u64) -> Vec<u8> {
    frame(0, 7, 0, &lane.to_le_bytes())
}

pub(super) fn go_away(requests: u64) -> Vec<u8> {
    frame(0, 10, 0, &requests.to_le_bytes())
}

pub(super) fn close(code: u16) -> Vec<u8> {
    let [low, high] = code.to_le_bytes();
    frame(0, 11, 0, &[low, high, 0, 0])
}

/// A frame of a kind that nobody knows, and that must not be skipped.
pub(super) fn nonsense() -> Vec<u8> {
    frame(0, 127, 0, &[])
}

/// Bytes as codec 1 encodes them.
pub(super) fn octets(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat()
}

/// A REQUEST frame.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) lane: u64,
    pub(super) flags: u8,
    pub(super) timeout_ms: u32,
    pub(super) service: &'a str,
    pub(super) method: &'a str,
    pub(super) extensions: &'a [u8],
    pub(super) body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The first call of a connection, without a deadline.
    pub(super) fn of(method: &'a str) -> Self {
        let (extensions, body) = (&[][..], &[][..]);
        let timeout_ms = u32::MAX;
        Self { lane: lane(1, 0), flags: 0, timeout_ms, service: "Lab", method, extensions, body }
    }

    pub(super) fn frame(&self) -> Vec<u8> {
        let method = MethodId::of(self.service, self.method).number();
        let mut rest = self.timeout_ms.to_le_bytes().to_vec();
        rest.extend(method.to_le_bytes().iter().chain(self.extensions).chain(self.body));
        let mut frame = frame(self.lane, 2, self.flags, &rest);
        let length = u16::try_from(self.extensions.len()).unwrap();
        frame[14..16].copy_from_slice(&length.to_le_bytes());
        frame
    }
}

/// A frame that the other end has sent.
pub(super) struct Frame {
    pub(super) lane: u64,
    /// The frame, from its kind on.
    pub(super) bytes: Vec<u8>,
}

impl Frame {
    /// The sequence number of the call that it is about; 0 for the connection's own frames.
    pub(super) fn call(&self) -> u64 {
        let id = if self.bytes[0] == 7 { self.number() } else { self.lane };
        id >> 24
    }

    pub(super) fn is_hello(&self) -> bool {
        self.bytes[0] == 1
    }

    /// What CANCEL, PING, PONG and GO_AWAY carry.
    fn number(&self) -> u64 {
        u64::from_le_bytes(self.bytes[4..12].try_into().unwrap())
    }

    fn code(&self) -> u16 {
        u16::from_le_bytes([self.bytes[4], self.bytes[5]])
    }
}

/// In a word: an ellipsis stands for MORE, and what matters of the fields follows.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.bytes[1] & MORE == 0 { "" } else { "…" };
        match (self.bytes[0], self.bytes[1]) {
            (1, _) => f.write_str("hello"),
            (2, _) => write!(f, "request{more}"),
            (3, flags) if flags & APP_ERROR != 0 => write!(f, "app-error{more}"),
            (3, _) => write!(f, "reply{more}"),
            (4, _) => {
                let ran = ["never", "maybe", "ended"][usize::from(self.bytes[6])];
                write!(f, "error={}/{ran}", self.code())
            }
            (5, flags) if flags & ABORT != 0 => f.write_str("abort"),
            (5, _) => write!(f, "data{more}"),
            (7, _) => f.write_str("cancel"),
            (8, _) => f.write_str("ping"),
            (10, 0) => write!(f, "go-away={}", self.number()),
            (10, _) => write!(f, "go-away-answer={}", self.number()),
            (11, _) => write!(f, "close={}", self.code()),
            (128, _) => f.write_str("void"),
            (kind, _) => write!(f, "kind={kind}"),
        }
    }
}

/// The words of some frames, each run of equal ones once.
pub(super) fn words(frames: impl IntoIterator<Item = Frame>) -> String {
    let mut words: Vec<_> = frames.into_iter().map(|frame| frame.to_string()).collect();
    words.dedup();
    words.join(" ")
}

/// The test's end of a connection.
pub(super) struct Wire {
    io: DuplexStream,
    /// Everything that came.
    pub(super) received: Vec<u8>,
    /// How much of it was looked at.
    seen: usize,
    /// Whether the other end has ended its direction.
    pub(super) ended: bool,
}

impl Wire {
    /// A pipe that holds `bytes` in each direction: the test's end of it, and the other one.
    pub(super) fn pipe(bytes: usize) -> (Self, DuplexStream) {
        let (io, other) = duplex(bytes);
        (Self { io, received: Vec::new(), seen: 0, ended: false }, other)
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.io.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Ends the test's direction.
    pub(super) async fn end(&mut self) {
        self.io.shutdown().await.unwrap();
    }

    /// Takes exactly this much of what comes.
    pub(super) async fn take(&mut self, bytes: usize) {
        let mut buffer = vec![0; bytes];
        self.io.read_exact(&mut buffer).await.unwrap();
        self.received.extend(buffer);
    }

    /// All frames that came since the last look, when nothing more comes.
    pub(super) async fn frames(&mut self) -> Vec<Frame> {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read) = timeout(Duration::from_millis(1), self.io.read(&mut buffer)).await {
            let read = read.unwrap();
            self.received.extend_from_slice(&buffer[..read]);
            self.ended = read == 0;
            if self.ended {
                break;
            }
        }
        if self.seen == 0 && self.received.len() >= 8 {
            self.seen = 8;
        }
        std::iter::from_fn(|| self.next_frame()).collect()
    }

    fn next_frame(&mut self) -> Option<Frame> {
        let rest = &self.received[self.seen..];
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (lane, rest) = rest.split_first_chunk::<8>()?;
        let length = (u32::from_le_bytes(*length) & 0x7fff_ffff) as usize;
        let bytes = rest.get(..length)?.to_vec();
        self.seen += 12 + length;
        Some(Frame { lane: u64::from_le_bytes(*lane), bytes })
    }

    /// The same in words, but for the hello.
    pub(super) async fn words(&mut self) -> String {
        let frames = self.frames().await;
        words(frames.into_iter().filter(|frame| !frame.is_hello()))
    }
}
