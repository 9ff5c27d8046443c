//! The limit with payloads: what the raw multiplexer does when bodies are large.
//!
//! Frames are a length, an id and a body. What makes it fast:
//! - bodies of 16 KiB and more are read into a buffer of their size and written from where they
//!   lie, many with one system call;
//! - such a buffer goes back to the connection when its last handle is dropped;
//! - smaller ones are copied into the batch, as headers are.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use slab::Slab;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};

use crate::harness::{Echoes, Target};
use crate::tcp::{self, Pumps};

const HEADER_BYTES: usize = size_of::<u32>() + size_of::<u64>();

/// From here on a body isn't copied.
const LARGE_BYTES: usize = 16 * 1024;

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

struct Reader<R> {
    stream: BufReader<R>,
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Whether the body before was large, so that the next one should not be read ahead.
    was_large: bool,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    fn new(stream: R) -> Self {
        let stream = BufReader::with_capacity(LARGE_BYTES, stream);
        Self { stream, buffers: Arc::default(), was_large: false }
    }

    async fn read_frame(&mut self) -> io::Result<(u64, Bytes)> {
        let mut header = [0; HEADER_BYTES];
        if self.was_large && self.stream.buffer().is_empty() {
            self.stream.get_mut().read_exact(&mut header).await?;
        } else {
            self.stream.read_exact(&mut header).await?;
        }
        let (id, length) = decode_header(&header);
        self.was_large = length >= LARGE_BYTES;
        if !self.was_large {
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await?;
            return Ok((id, body.into()));
        }
        let mut body = Pooled::take(&self.buffers, length);
        let ahead = self.stream.buffer().len().min(length);
        self.stream.read_exact(&mut body.bytes[..ahead]).await?;
        self.stream.get_mut().read_exact(&mut body.bytes[ahead..]).await?;
        Ok((id, Bytes::from_owner(body)))
    }

    fn has_whole_frame(&self) -> bool {
        let ahead = self.stream.buffer();
        let header = ahead.first_chunk::<HEADER_BYTES>();
        header.is_some_and(|header| ahead.len() - HEADER_BYTES >= decode_header(header).1)
    }
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
