//! The limit with payloads: what the raw multiplexer does when bodies are large.
//!
//! Frames are a length, an id and a body. What makes it fast:
//! - bodies of 16 KiB and more are read into a buffer of their size and written from where they
//!   lie, many with one system call;
//! - such a buffer goes back to the connection when its last handle is dropped;
//! - smaller ones are copied into the batch, as headers are.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use slab::Slab;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};

use crate::harness::{Echoes, Target};
use crate::tcp::{self, Pumps};

const HEADER_BYTES: usize = size_of::<u32>() + size_of::<u64>();

/// From here on a body isn't copied.
const LARGE_BYTES: usize = 16 * 1024;

/// What is read of small frames at once.
const SCRATCH_BYTES: usize = 256 * 1024;

/// Buffers that a connection keeps: as many as any scenario has in flight.
const BUFFERS_KEPT: usize = 16;

/// Slices of one write.
const SLICES_MAX: usize = 64;

pub(crate) async fn serve(addr: SocketAddr) -> io::Result<SocketAddr> {
    tcp::serve(addr, answer).await
}

/// Answers all that one read brought with one write.
async fn answer(stream: TcpStream) -> io::Result<()> {
    let (read_half, mut write_half) = stream.into_split();
    let mut reader = Reader::new(read_half);
    let mut batch = Batch::default();
    loop {
        let (id, body) = reader.read_frame().await?;
        batch.push(id, body);
        if !reader.has_whole_frame() {
            batch.write_to(&mut write_half).await?;
        }
    }
}

#[derive(Clone)]
pub(crate) struct Client {
    shared: Arc<Shared>,
    _pumps: Arc<Pumps>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    queued: Notify,
}

#[derive(Default)]
struct State {
    /// A call's id is its index here.
    calls: Slab<oneshot::Sender<Bytes>>,
    /// Requests that the writer has not taken yet.
    out: Batch,
}

impl Target for Client {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let (read_half, write_half) = tcp::connect(addr).await?.into_split();
        let shared = Arc::new(Shared::default());
        let reading = read_replies(Arc::clone(&shared), read_half);
        let writing = write_requests(Arc::clone(&shared), write_half);
        Ok(Self { shared, _pumps: Arc::new(Pumps::spawn("raw-echo", reading, writing)) })
    }
}

impl Echoes for Client {
    async fn echo(&self, payload: Bytes) -> Bytes {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            let id = state.calls.insert(sender) as u64;
            state.out.push(id, payload);
        }
        self.shared.queued.notify_one();
        receiver.await.expect("the server answers")
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write_requests(shared: Arc<Shared>, mut stream: OwnedWriteHalf) -> io::Result<()> {
    loop {
        shared.queued.notified().await;
        tcp::step_behind_runnable_tasks().await;
        let mut batch = mem::take(&mut shared.lock().out);
        batch.write_to(&mut stream).await?;
    }
}

async fn read_replies(shared: Arc<Shared>, stream: OwnedReadHalf) -> io::Result<()> {
    let mut reader = Reader::new(stream);
    loop {
        let (id, body) = reader.read_frame().await?;
        let id = usize::try_from(id).expect("an id of ours");
        let caller = shared.lock().calls.remove(id);
        // A caller that has given up needs no answer.
        let _ = caller.send(body);
    }
}

/// Frames on their way out: small ones copied together, large bodies between them.
#[derive(Default)]
struct Batch(VecDeque<Bytes>, Vec<u8>);

impl Batch {
    fn push(&mut self, id: u64, body: Bytes) {
        let Self(parts, copied) = self;
        let length = u32::try_from(body.len()).expect("bodies below 4 GiB");
        copied.extend_from_slice(&length.to_le_bytes());
        copied.extend_from_slice(&id.to_le_bytes());
        if body.len() < LARGE_BYTES {
            copied.extend_from_slice(&body);
        } else {
            parts.extend([mem::take(copied).into(), body]);
        }
    }

    async fn write_to(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let Self(parts, copied) = self;
        if parts.is_empty() {
            // All of it is small, and the buffer stays.
            stream.write_all(copied).await?;
            copied.clear();
            return Ok(());
        }
        parts.push_back(mem::take(copied).into());
        while !parts.is_empty() {
            let slices: Vec<_> =
                parts.iter().take(SLICES_MAX).map(|part| IoSlice::new(part)).collect();
            let mut written = stream.write_vectored(&slices).await?;
            while let Some(first) = parts.front_mut() {
                if written < first.len() {
                    let _ = first.split_to(written);
                    break;
                }
                written -= first.len();
                parts.pop_front();
            }
        }
        Ok(())
    }
}

/// Reads frames. A large body is read into its own buffer, and the header behind it with the same
/// system call; small frames are read many at a time.
struct Reader {
    stream: OwnedReadHalf,
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
    scratch: Vec<u8>,
    /// Where in the scratch lies what is not parsed yet.
    ahead: Range<usize>,
    /// How much to read ahead: after a large body only the header of the next one, which is likely
    /// to be large as well and would have to be copied.
    read_ahead: usize,
}

impl Reader {
    fn new(stream: OwnedReadHalf) -> Self {
        let scratch = vec![0; SCRATCH_BYTES];
        Self { stream, buffers: Arc::default(), scratch, ahead: 0..0, read_ahead: SCRATCH_BYTES }
    }

    async fn read_frame(&mut self) -> io::Result<(u64, Bytes)> {
        self.fill(HEADER_BYTES).await?;
        let (id, length) = self.header().expect("it has just been read");
        self.ahead.start += HEADER_BYTES;
        if length >= LARGE_BYTES {
            self.read_ahead = HEADER_BYTES;
            return Ok((id, self.read_large(length).await?));
        }
        self.read_ahead = SCRATCH_BYTES;
        self.fill(length).await?;
        let body = Bytes::copy_from_slice(&self.scratch[self.ahead.start..][..length]);
        self.ahead.start += length;
        Ok((id, body))
    }

    /// Waits until so many bytes are there to be parsed: a header or a small body.
    async fn fill(&mut self, bytes: usize) -> io::Result<()> {
        if self.ahead.len() < bytes {
            self.scratch.copy_within(self.ahead.clone(), 0);
            self.ahead = 0..self.ahead.len();
        }
        while self.ahead.len() < bytes {
            let room = &mut self.scratch[self.ahead.end..self.read_ahead.max(bytes)];
            self.ahead.end += not_the_end(self.stream.read(room).await?)?;
        }
        Ok(())
    }

    async fn read_large(&mut self, length: usize) -> io::Result<Bytes> {
        let mut body = Pooled::take(&self.buffers, length);
        let mut filled = self.ahead.len().min(length);
        body.bytes[..filled].copy_from_slice(&self.scratch[self.ahead.start..][..filled]);
        self.ahead.start += filled;
        while filled < length {
            self.stream.readable().await?;
            let header = &mut self.scratch[..HEADER_BYTES];
            let mut parts = [&mut body.bytes[filled..], header].map(IoSliceMut::new);
            match self.stream.try_read_vectored(&mut parts) {
                Ok(count) => filled += not_the_end(count)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.ahead = 0..filled.saturating_sub(length);
        }
        Ok(Bytes::from_owner(body))
    }

    fn has_whole_frame(&self) -> bool {
        self.header().is_some_and(|(_, length)| self.ahead.len() >= HEADER_BYTES + length)
    }

    /// The next frame's, if it is there.
    fn header(&self) -> Option<(u64, usize)> {
        self.scratch[self.ahead.clone()].first_chunk().map(decode_header)
    }
}

fn not_the_end(count: usize) -> io::Result<usize> {
    if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
}

/// The id, and the length of the body.
fn decode_header(header: &[u8; HEADER_BYTES]) -> (u64, usize) {
    let (length, id) = header.split_first_chunk().expect("the length's bytes");
    let id = id.try_into().expect("what is left is the id");
    (u64::from_le_bytes(id), u32::from_le_bytes(*length) as usize)
}

/// A buffer that goes back where it came from.
struct Pooled {
    bytes: Vec<u8>,
    home: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Pooled {
    fn take(home: &Arc<Mutex<Vec<Vec<u8>>>>, length: usize) -> Self {
        let kept = home.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut bytes = kept.unwrap_or_default();
        bytes.resize(length, 0);
        Self { bytes, home: Arc::clone(home) }
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        if home.len() < BUFFERS_KEPT {
            home.push(mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn payloads_of_all_sizes_come_back_whole() {
        let addr = serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a listener");
        let client = Client::connect(addr).await.expect("a connection");
        let sizes = [0, 1, LARGE_BYTES - 1, LARGE_BYTES, 3, 1 << 20, 100_000, 100_000, 7, 200];
        let calls = sizes.into_iter().cycle().take(100).enumerate().map(|(number, size)| {
            let payload = Bytes::from(vec![u8::try_from(number).expect("a byte"); size]);
            let client = client.clone();
            tokio::spawn(async move { assert!(client.echo(payload.clone()).await == payload) })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.expect("the same payload");
        }
    }
}
