//! The framing of byte streams: whole directions of one, in pieces of every size.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::*;
use crate::{
    outbox::{Batch, Outbox},
    transport::{
        Address, InFrame, Inbox, Peer, Received, Transport, TransportError, stream::StreamTransport,
    },
};

/// A stream of which one direction is given, and the other takes `takes` bytes at a time.
struct Script {
    incoming: Vec<u8>,
    /// How many bytes one read gives.
    piece: usize,
    at: usize,
    outgoing: Vec<u8>,
    takes: usize,
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let end = (self.at + self.piece.min(buffer.remaining())).min(self.incoming.len());
        buffer.put_slice(&self.incoming[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = self.takes.min(bytes.len());
        self.outgoing.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn transport(incoming: &[u8], piece: usize, takes: usize) -> StreamTransport<Script> {
    let incoming = incoming.to_vec();
    let script = Script { incoming, piece, at: 0, outgoing: Vec::new(), takes };
    StreamTransport::new(script, Peer::new(Address::Unnamed))
}

/// Collects frames: lane, end mark, bytes.
#[derive(Default)]
struct Frames(Vec<(Lane, bool, Vec<u8>)>);

impl Inbox for Frames {
    fn push(&mut self, frame: InFrame<'_>) {
        self.0.push((frame.lane, frame.end, frame.payload.as_slice().to_vec()));
    }

    fn frame_bytes_max(&self) -> usize {
        64 * 1024
    }
}

/// Everything that comes out of a direction, and how it ended.
async fn received(incoming: &[u8], piece: usize) -> (Frames, Result<(), TransportError>) {
    let mut transport = transport(incoming, piece, usize::MAX);
    let mut frames = Frames::default();
    loop {
        match poll_fn(|cx| transport.poll_recv(cx, &mut frames)).await {
            Ok(Received::Some | Received::Part) => {}
            Ok(Received::End) => return (frames, Ok(())),
            Err(error) => return (frames, Err(error)),
        }
    }
}

fn reason_of(error: &TransportError) -> &'static str {
    match error {
        TransportError::NotOurs { .. } => "not-ours",
        TransportError::Version { .. } => "version",
        TransportError::FrameTooLarge { .. } => "frame-too-large",
        TransportError::Truncated => "truncated",
        TransportError::Io(_) | TransportError::Reset { .. } => panic!("{error}"),
    }
}

fn listed<T>(items: impl Iterator<Item = T>, show: impl Fn(T) -> String) -> Option<String> {
    Some(items.map(show).collect::<Vec<_>>().join(",")).filter(|text| !text.is_empty())
}

// r[verify stream.preface] r[verify stream.not-ours] r[verify stream.version]
// r[verify stream.prefix] r[verify stream.frame-limit] r[verify stream.truncated]
#[tokio::test]
async fn every_stream_vector_reads_as_it_says_in_pieces_of_any_size() {
    for Vector { name, fields, bytes } in Vector::read("stream") {
        for piece in [1, 2, 3, 7, 11, 12, 13, usize::MAX] {
            let (frames, ended) = received(&bytes, piece).await;
            let reason = ended.as_ref().err().map(reason_of);
            assert_eq!(reason, fields.refused(), "{name}, {piece} at a time");
            let frames = frames.0;
            assert_eq!(frames.len() as u64, fields.u64("frames"), "{name}, {piece} at a time");
            if reason.is_some() {
                continue;
            }
            let lanes = listed(frames.iter(), |frame| format!("{:#x}", frame.0.number()));
            let ends = listed(frames.iter(), |frame| u8::from(frame.1).to_string());
            assert_eq!(lanes.as_deref(), fields.find("lanes"), "{name}, {piece} at a time");
            assert_eq!(ends.as_deref(), fields.find("ends"), "{name}, {piece} at a time");
        }
    }
}

/// What a side sends: a hello, a request of many frames, a reply.
fn outbox() -> Outbox {
    let mut outbox = Outbox::default();
    for file in ["hello", "request"] {
        let first = Vector::read(file).remove(0).bytes;
        outbox.append(|out| out.extend_from_slice(&first));
    }
    let mut header = Vec::new();
    encode_reply_header(&mut header, false, false);
    let body = (0..100_000u32).map(|i| i.to_le_bytes()[0]).collect::<Vec<_>>();
    outbox.push_bulk(
        CallId::new(3, 1, Role::Acceptor),
        header,
        [body.into(), bytes::Bytes::new()],
        true,
    );
    outbox
}

// r[verify stream.preface] r[verify stream.prefix] r[verify lane.end] r[verify message.frames]
// r[verify transport.promises]
#[tokio::test]
async fn what_is_sent_is_what_is_received() {
    for takes in [1, 5, 12, 4096, usize::MAX] {
        let mut transport = transport(&[], 1, takes);
        let (mut outbox, mut batch) = (outbox(), Batch::default());
        outbox.draw(&mut batch, 16 * 1024, |_| {});
        poll_fn(|cx| transport.poll_send(cx, &mut batch)).await.unwrap();
        assert!(batch.is_empty() && outbox.is_empty());
        let sent = &transport.get_ref().outgoing;
        assert_eq!(sent[..8], [0x89, b'R', b'P', b'C', b'\r', b'\n', 0x1a, 1]);

        let (frames, ended) = received(sent, 1000).await;
        assert!(ended.is_ok());
        let frames = frames.0;
        assert_eq!(frames.len(), 2 + 100_004_usize.div_ceil(16 * 1024 - COMMON_BYTES));
        let (lane, of_reply) = (CallId::new(3, 1, Role::Acceptor).lane(), &frames[2..]);
        let mut body: Vec<u8> = Vec::new();
        for (i, (on, end, bytes)) in of_reply.iter().enumerate() {
            let last = i + 1 == of_reply.len();
            assert_eq!((*on, *end), (lane, last));
            match Frame::decode(*on, bytes) {
                Ok(Frame::Reply { more, body: part, .. }) if i == 0 && more => body.extend(part),
                Ok(Frame::Data { more, abort: false, body: part }) if i > 0 && more != last => {
                    body.extend(part);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(body.iter().enumerate().all(|(i, byte)| *byte == i.to_le_bytes()[0]));
        assert_eq!(body.len(), 100_000);
    }
}

// r[verify stream.write-zero]
#[tokio::test]
async fn a_stream_that_takes_nothing_is_broken() {
    let mut transport = transport(&[], 1, 0);
    let (mut outbox, mut batch) = (outbox(), Batch::default());
    outbox.draw(&mut batch, 16 * 1024, |_| {});
    let sent = poll_fn(|cx| transport.poll_send(cx, &mut batch)).await;
    assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::WriteZero);
}

// r[verify stream.not-ours]
#[tokio::test]
async fn a_wrong_byte_is_told_before_the_rest_has_come() {
    let (ours, mut theirs) = tokio::io::duplex(64);
    let mut transport = StreamTransport::new(ours, Peer::new(Address::Unnamed));
    theirs.write_all(b"\x89HTTP").await.unwrap();
    let mut frames = Frames::default();
    let error = poll_fn(|cx| transport.poll_recv(cx, &mut frames)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the peer does not speak this protocol: it began with \"\\x89HTTP\\x00\\x00\\x00\""
    );
}
