//! Fuzz target: what `stream` makes of any bytes, cut into pieces as they come, is what a plain reading
//! of all of them says.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Address, InFrame, Inbox, Lane, Peer, Received, Transport, TransportError,
    stream::StreamTransport,
};
use crate::{
    frame::{PREFIX_BYTES, decode_prefix, encode_prefix},
    fuzz::Input,
};

/// The largest frame that is accepted.
const FRAME_BYTES_MAX: usize = 40_000;

/// The first bytes of a direction, as `spec/wire.md` has them.
const PREFACE: [u8; 8] = *b"\x89RPC\r\n\x1a\x01";

/// A frame of which only the length matters: lane, end mark, bytes.
type Seen = (Lane, bool, Vec<u8>);

/// Makes a direction of a byte stream, and reads it in pieces.
///
/// # Panics
/// If something is wrong.
pub fn framing(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut piece = [1, 3, 11, 13, 1000, 20_000, usize::MAX][input.size(7)];
    let incoming = direction(&mut input);
    if incoming.len() > 2000 {
        // A byte at a time would take all the time.
        piece = piece.max(997);
    }
    let (frames, ending) = read(&incoming, piece);
    let (expected, expected_ending) = expected(&incoming);
    assert_eq!(ending, expected_ending);
    assert!(frames == expected, "other frames than there are");
}

/// Bytes of a peer that begins as it should, or not, and goes on with frames, or not.
fn direction(input: &mut Input<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    if input.u8() < 250 {
        out.extend_from_slice(&PREFACE);
    }
    while !input.is_empty() && out.len() < 100_000 {
        match input.u8() % 4 {
            0 => {
                let count = usize::from(input.u8());
                out.extend_from_slice(input.bytes(count));
            }
            // As long as it says, and rarely more than is accepted.
            choice @ (1 | 2) => {
                let (lane, end) = (Lane::new(input.u8().into()), input.u8() & 1 == 1);
                let length = input.size(if choice == 1 { 100 } else { FRAME_BYTES_MAX + 9 });
                let filler = input.u8();
                encode_prefix(&mut out, lane, length, end);
                out.resize(out.len() + length, filler);
            }
            _ => {
                out.extend_from_slice(&input.u32().to_le_bytes());
                out.extend_from_slice(&input.u64().to_le_bytes());
            }
        }
    }
    out
}

/// What a reader that has everything at once would say.
fn expected(bytes: &[u8]) -> (Vec<Seen>, &'static str) {
    let mut frames = Vec::new();
    let known = bytes.len().min(7);
    if bytes[..known] != PREFACE[..known] {
        return (frames, "not ours");
    }
    let Some((preface, mut rest)) = bytes.split_first_chunk::<8>() else {
        return (frames, if bytes.is_empty() { "end" } else { "truncated" });
    };
    if *preface != PREFACE {
        return (frames, "version");
    }
    while let Some((length, end, lane)) = decode_prefix(rest) {
        if length > FRAME_BYTES_MAX {
            return (frames, "too large");
        }
        let Some(frame) = rest.get(PREFIX_BYTES..PREFIX_BYTES + length) else {
            return (frames, "truncated");
        };
        frames.push((lane, end, frame.to_vec()));
        rest = &rest[PREFIX_BYTES + length..];
    }
    (frames, if rest.is_empty() { "end" } else { "truncated" })
}

fn read(incoming: &[u8], piece: usize) -> (Vec<Seen>, &'static str) {
    let script = Script { incoming: incoming.to_vec(), piece, at: 0 };
    let mut transport = StreamTransport::new(script, Peer::new(Address::Unnamed));
    let mut frames = Frames(Vec::new());
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..=incoming.len() + 1 {
        let ending = match transport.poll_recv(&mut cx, &mut frames) {
            Poll::Ready(Ok(Received::Some | Received::Part)) => continue,
            Poll::Ready(Ok(Received::End)) => "end",
            Poll::Ready(Err(error)) => match error {
                TransportError::NotOurs { .. } => "not ours",
                TransportError::Version { .. } => "version",
                TransportError::FrameTooLarge { .. } => "too large",
                TransportError::Truncated => "truncated",
                TransportError::Io(_) | TransportError::Reset { .. } => panic!("{error}"),
            },
            Poll::Pending => panic!("it waits for a stream that is ready"),
        };
        return (frames.0, ending);
    }
    panic!("it reads more often than there are bytes");
}

struct Frames(Vec<Seen>);

impl Inbox for Frames {
    fn push(&mut self, frame: InFrame<'_>) {
        self.0.push((frame.lane, frame.end, frame.payload.as_slice().to_vec()));
    }

    fn frame_bytes_max(&self) -> usize {
        FRAME_BYTES_MAX
    }
}

/// A stream of which one direction is given.
struct Script {
    incoming: Vec<u8>,
    /// How many bytes one read gives.
    piece: usize,
    at: usize,
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.piece.min(buffer.remaining()).min(self.incoming.len() - self.at);
        buffer.put_slice(&self.incoming[self.at..self.at + count]);
        self.at += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
