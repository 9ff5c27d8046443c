//! The length-prefix adaptor: makes a transport of any `AsyncRead + AsyncWrite`; no sockets.
//!
//! TCP, Unix sockets, TLS streams, pipes and `tokio::io::duplex` all go through it. Each side sends
//! a preface of 8 bytes, then frames, each behind a prefix with its length and lane. See
//! `spec/wire.md`, chapter *Stream framing*.

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

use std::{
    cell::Cell,
    fmt,
    future::Future,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::{
    Batch, InFrame, Inbox, Payload, Peer, RESERVE_BYTES, Received, Transport, TransportError,
};
use crate::frame::{self, Lane, PREFIX_BYTES};

/// The first bytes of each direction: a byte that no text protocol begins with, a name, a line end
/// that text mode would change, and the version of this framing. Spec: `r[stream.preface]`.
const PREFACE: [u8; 8] = [0x89, b'R', b'P', b'C', b'\r', b'\n', 0x1a, VERSION];

/// The version of the stream framing. Spec: `r[stream.version]`.
const VERSION: u8 = 1;

/// The frame size a byte stream wants: large enough that 12 bytes of prefix don't matter, small
/// enough that a small frame behind it waits for some 50 µs at 10 Gbit/s. A message of 64 KiB fits,
/// with its header.
const FRAME_BYTES: usize = 65 * 1024;

/// What one read takes at most. Every thread has one such buffer, connections have none.
const SCRATCH_BYTES: usize = 256 * 1024;

/// Frames from this size on that are incomplete are read into a buffer of their own.
const LARGE_BYTES: usize = 16 * 1024;

/// What is read beyond the end of a large frame: the prefix and the header of the next, which tell
/// where to receive it. More would have to be copied there.
const AHEAD_BYTES: usize = PREFIX_BYTES + frame::DATA_HEADER_BYTES;

/// Pieces of a batch that one vectored write takes.
const SLICES: usize = 32;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A transport over a byte stream.
///
/// It promises what [the contract](super) says as long as the stream delivers bytes in order and
/// unchanged. It keeps no buffer while no frame is half-way.
pub struct StreamTransport<S> {
    io: S,
    peer: Peer,
    /// How much of the preface has been sent.
    preface_sent: usize,
    preface_received: bool,
    /// The beginning of a frame, or of the preface, whose rest hasn't come yet.
    partial: Vec<u8>,
    /// A large frame whose rest hasn't come yet.
    large: Option<Large>,
    /// The last frame was a large one, and the next is likely to be.
    expects_large: bool,
    /// The peer broke the rules: whatever else it sends is dropped.
    deaf: bool,
}

struct Large {
    lane: Lane,
    end: bool,
    buffer: BytesMut,
    /// How long the frame is.
    bytes: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> StreamTransport<S> {
    /// Makes a transport of a connected stream. `peer` is what the caller knows about the other
    /// side of it.
    ///
    /// Hand in sockets with NODELAY set; `rpc_transport_tcp` does that by itself.
    #[must_use]
    pub fn new(io: S, peer: Peer) -> Self {
        Self {
            io,
            peer,
            preface_sent: 0,
            preface_received: false,
            partial: Vec::new(),
            large: None,
            expects_large: false,
            deaf: false,
        }
    }

    /// The stream.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// Sends one piece of what is to be sent. Returns how many bytes of the batch that was.
    fn poll_write(&mut self, cx: &mut Context<'_>, batch: &Batch) -> Poll<io::Result<usize>> {
        // r[impl stream.preface]
        let preface = PREFACE.get(self.preface_sent..).unwrap_or_default();
        let io = Pin::new(&mut self.io);
        let chunk = batch.chunk();
        let written = if preface.is_empty() && chunk.len() == batch.remaining() {
            ready!(io.poll_write(cx, chunk))?
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES];
            slices[0] = IoSlice::new(preface);
            let used = batch.chunks_vectored(&mut slices[1..]).saturating_add(1);
            let from = usize::from(preface.is_empty());
            ready!(io.poll_write_vectored(cx, slices.get(from..used).unwrap_or_default()))?
        };
        // r[impl stream.write-zero]
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let of_preface = written.min(preface.len());
        self.preface_sent = self.preface_sent.saturating_add(of_preface);
        Poll::Ready(Ok(written.saturating_sub(of_preface)))
    }

    /// Goes on with a large frame.
    fn poll_large<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        mut large: Large,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        let missing = large.bytes.saturating_add(AHEAD_BYTES).saturating_sub(large.buffer.len());
        // Memory grows with what has come, not with what was announced.
        if large.buffer.len() == large.buffer.capacity() {
            large.buffer.reserve(missing.min(large.buffer.len().max(RESERVE_BYTES)));
        }
        let mut room = (&mut large.buffer).limit(missing);
        match pin!(self.io.read_buf(&mut room)).poll(cx) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(TransportError::Truncated)),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            Poll::Pending => {
                self.large = Some(large);
                return Poll::Pending;
            }
        }
        if large.buffer.len() < large.bytes {
            self.large = Some(large);
            return Poll::Ready(Ok(Received::Some));
        }
        let Large { lane, end, mut buffer, bytes } = large;
        let (mut ahead, rest) = ([0; AHEAD_BYTES], buffer.get(bytes..).unwrap_or_default());
        let ahead = ahead.get_mut(..rest.len()).unwrap_or_default();
        ahead.copy_from_slice(rest);
        buffer.truncate(bytes);
        inbox.push(InFrame { lane, end, payload: Payload::Filled(buffer) });
        self.expects_large = true;
        let parsed = self.parse(ahead, inbox);
        self.deaf = parsed.is_err();
        Poll::Ready(parsed.map(|()| Received::Some))
    }

    /// Reads into the thread's scratch buffer, behind what is left from the last read.
    fn poll_scratch<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        let had = self.partial.len();
        let (left, rest) = scratch.split_at_mut(had);
        left.copy_from_slice(&self.partial);
        let most = if self.expects_large && !self.deaf { AHEAD_BYTES } else { rest.len() };
        let room = rest.get_mut(..most).unwrap_or_default();
        let mut buffer = ReadBuf::new(room);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        if read == 0 {
            // r[impl stream.truncated]
            let whole = self.partial.is_empty();
            return Poll::Ready(if whole {
                Ok(Received::End)
            } else {
                Err(TransportError::Truncated)
            });
        }
        if self.deaf {
            return Poll::Ready(Ok(Received::Some));
        }
        self.partial = Vec::new();
        let filled = scratch.get(..had.saturating_add(read)).unwrap_or_default();
        let parsed = self.parse(filled, inbox);
        self.deaf = parsed.is_err();
        Poll::Ready(parsed.map(|()| Received::Some))
    }

    /// Hands out the complete frames of `bytes`, and keeps the rest.
    fn parse<I: Inbox>(&mut self, mut bytes: &[u8], inbox: &mut I) -> Result<(), TransportError> {
        if !self.preface_received {
            let Some(rest) = check_preface(bytes)? else {
                self.partial = bytes.to_vec();
                return Ok(());
            };
            self.preface_received = true;
            bytes = rest;
        }
        let limit = inbox.frame_bytes_max();
        while let Some((length, end, lane)) = frame::decode_prefix(bytes) {
            // r[impl stream.frame-limit]
            if length > limit {
                return Err(TransportError::FrameTooLarge { bytes: length, limit });
            }
            let body = bytes.get(PREFIX_BYTES..).unwrap_or_default();
            match body.split_at_checked(length) {
                Some((frame, rest)) => {
                    inbox.push(InFrame { lane, end, payload: Payload::Borrowed(frame) });
                    self.expects_large = length >= LARGE_BYTES;
                    bytes = rest;
                }
                None if length >= LARGE_BYTES => {
                    let buffer = inbox.buffer(lane, length.saturating_add(AHEAD_BYTES), body);
                    self.large = Some(Large { lane, end, buffer, bytes: length });
                    return Ok(());
                }
                None => {
                    self.expects_large = false;
                    break;
                }
            }
        }
        self.partial = bytes.to_vec();
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for StreamTransport<S> {
    fn peer(&self) -> Peer {
        self.peer.clone()
    }

    fn frame_bytes(&self) -> usize {
        FRAME_BYTES
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        // r[impl transport.promises]
        while !batch.is_empty() {
            let written = ready!(self.poll_write(cx, batch))?;
            batch.advance(written);
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        if let Some(large) = self.large.take() {
            return self.poll_large(cx, large, inbox);
        }
        // Taken, not borrowed: a stream that itself reads through this adaptor gets its own.
        let mut scratch = SCRATCH.take();
        scratch.resize(SCRATCH_BYTES, 0);
        let received = self.poll_scratch(cx, &mut scratch, inbox);
        SCRATCH.set(scratch);
        received
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<S: fmt::Debug> fmt::Debug for StreamTransport<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamTransport")
            .field("io", &self.io)
            .field("peer", &self.peer)
            .field("partial_bytes", &self.partial.len())
            .finish_non_exhaustive()
    }
}

/// Checks the preface. Returns what follows it, or `None` when it isn't complete. A wrong byte is
/// told as soon as it is there.
fn check_preface(bytes: &[u8]) -> Result<Option<&[u8]>, TransportError> {
    let [magic @ .., _version] = &PREFACE;
    let same = bytes.iter().zip(magic).all(|(a, b)| a == b);
    // r[impl stream.not-ours]
    if !same {
        let mut began_with = [0; 8];
        began_with.iter_mut().zip(bytes).for_each(|(shown, byte)| *shown = *byte);
        return Err(TransportError::NotOurs { began_with });
    }
    let Some((preface, rest)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
    // r[impl stream.version]
    match *preface {
        [.., VERSION] => Ok(Some(rest)),
        [.., theirs] => Err(TransportError::Version { ours: VERSION, theirs }),
    }
}
