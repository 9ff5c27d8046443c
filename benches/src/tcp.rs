//! What the raw loops share: sockets with NODELAY, the two tasks of a client's connection, and
//! length-prefixed frames of `u64` fields.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::process;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Large enough that a read is nearly always short, which tells tokio that the socket is drained
/// without another system call.
const SCRATCH_BYTES: usize = 256 * 1024;

const LENGTH_BYTES: usize = size_of::<u32>();
const FIELD_BYTES: usize = size_of::<u64>();

pub(crate) async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Binds, and handles each connection in a task of its own; returns the bound address.
pub(crate) async fn serve<F>(addr: SocketAddr, handle: fn(TcpStream) -> F) -> io::Result<SocketAddr>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        if let Err(error) = accept_all(listener, handle).await {
            eprintln!("the server stopped accepting: {error}");
        }
    });
    Ok(addr)
}

async fn accept_all<F>(listener: TcpListener, handle: fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // Every connection ends in an error: the client's exit is the end of its stream.
        tokio::spawn(handle(stream));
    }
}

/// The two tasks of a client's connection; dropping this ends them, and the connection with them.
pub(crate) struct Pumps([AbortHandle; 2]);

impl Pumps {
    pub(crate) fn spawn(
        contender: &'static str,
        reading: impl Future<Output = io::Result<()>> + Send + 'static,
        writing: impl Future<Output = io::Result<()>> + Send + 'static,
    ) -> Self {
        let reading = tokio::spawn(async move { exit_on_loss(contender, reading.await) });
        let writing = tokio::spawn(async move { exit_on_loss(contender, writing.await) });
        Self([reading.abort_handle(), writing.abort_handle()])
    }
}

impl Drop for Pumps {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Without its connection a benchmark has nothing left to measure, and its callers would hang.
fn exit_on_loss(contender: &str, pumped: io::Result<()>) {
    if let Err(error) = pumped {
        eprintln!("{contender}: connection lost: {error}");
        process::exit(1);
    }
}

/// Lets every task that can run now run first, so that their requests join the batch.
///
/// The first request of a batch wakes the writer into tokio's LIFO slot, where it would run next
/// and write that request alone. Waking itself while it runs puts it at the end of the queue
/// instead. (`tokio::task::yield_now` would also wait for a poll of the I/O driver.)
pub(crate) async fn step_behind_runnable_tasks() {
    let mut stepped = false;
    poll_fn(|cx| {
        if mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Appends one frame: the length of what follows as a little-endian `u32`, then the fields.
pub(crate) fn push_frame<const N: usize>(out: &mut Vec<u8>, fields: [u64; N]) {
    let length = u32::try_from(N * FIELD_BYTES).expect("frames have a few fields");
    out.reserve(LENGTH_BYTES + N * FIELD_BYTES);
    out.extend_from_slice(&length.to_le_bytes());
    for field in fields {
        out.extend_from_slice(&field.to_le_bytes());
    }
}

/// Bytes that arrived and are not parsed yet.
pub(crate) struct Inbox {
    scratch: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { scratch: vec![0; SCRATCH_BYTES], start: 0, end: 0 }
    }

    /// Waits for bytes and takes all that one read gives; the end of the stream is an error.
    pub(crate) async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        self.scratch.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        match stream.read(&mut self.scratch[self.end..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }

    /// The next whole frame, parsed in place.
    pub(crate) fn next_frame<const N: usize>(&mut self) -> Option<[u64; N]> {
        let unread = &self.scratch[self.start..self.end];
        let (length, rest) = unread.split_first_chunk::<LENGTH_BYTES>()?;
        let length = u32::from_le_bytes(*length) as usize;
        assert_eq!(length, N * FIELD_BYTES, "both sides agree on the frame's fields");
        let (bytes, _) = rest.get(..length)?.as_chunks::<FIELD_BYTES>();
        let mut fields = [0; N];
        for (field, bytes) in fields.iter_mut().zip(bytes) {
            *field = u64::from_le_bytes(*bytes);
        }
        self.start += LENGTH_BYTES + length;
        Some(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_survive_any_cut() {
        let mut bytes = Vec::new();
        push_frame(&mut bytes, [1, u64::MAX]);
        push_frame(&mut bytes, [3, 4]);
        for cut in 1..bytes.len() {
            let (mut head, mut tail) = bytes.split_at(cut);
            let mut inbox = Inbox::new();
            let mut frames: Vec<[u64; 2]> = Vec::new();
            for part in [&mut head, &mut tail] {
                inbox.fill(part).await.expect("bytes to read");
                frames.extend(std::iter::from_fn(|| inbox.next_frame()));
            }
            assert_eq!(frames, [[1, u64::MAX], [3, 4]], "cut at {cut}");
        }
    }
}
