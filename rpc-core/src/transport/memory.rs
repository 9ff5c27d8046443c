//! The memory transport: frames move between two tasks of one process; no bytes, no sockets.
//!
//! Names stand for addresses, in a registry of the process, so that tests and examples swap a real
//! transport for this one with a `use` line.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt, io, mem,
    sync::{Arc, LazyLock, Mutex as StdMutex, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use super::{
    Address, Batch, Connector, InFrame, Inbox, Listener, OutFrame, Payload, Peer, Received,
    Transport, TransportError,
};
use crate::sync::{Mutex, MutexGuard};

/// How many bytes one direction holds before its sender waits.
const PIPE_BYTES: usize = 256 * 1024;

/// Connections that may wait to be accepted.
const BACKLOG: usize = 1024;

/// The frame size it asks for: the same as a byte stream's, so that both are used alike.
const FRAME_BYTES: usize = 65 * 1024;

/// One end of a connection in memory.
pub struct MemoryTransport {
    outgoing: Arc<Pipe>,
    incoming: Arc<Pipe>,
    peer: Peer,
    /// Frames taken from the pipe, kept only for its memory.
    taken: VecDeque<OutFrame>,
}

/// One direction: a bounded queue of frames.
#[derive(Default)]
struct Pipe {
    state: Mutex<PipeState>,
}

#[derive(Default)]
struct PipeState {
    frames: VecDeque<OutFrame>,
    bytes: usize,
    /// Nothing more will be sent.
    finished: bool,
    /// One of the ends is gone.
    broken: bool,
    sender: Option<Waker>,
    receiver: Option<Waker>,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, PipeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_after(&self, change: impl FnOnce(&mut PipeState)) {
        let mut state = self.lock();
        change(&mut state);
        let wakers = [state.sender.take(), state.receiver.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// Two connected ends, without a name.
#[must_use]
pub fn pair() -> (MemoryTransport, MemoryTransport) {
    pair_of(Address::Unnamed, Address::Unnamed)
}

/// Two connected ends. The first sees `to` as its peer, the second `from`.
fn pair_of(to: Address, from: Address) -> (MemoryTransport, MemoryTransport) {
    let (a, b) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
    let end = |outgoing: &Arc<Pipe>, incoming: &Arc<Pipe>, peer| MemoryTransport {
        outgoing: Arc::clone(outgoing),
        incoming: Arc::clone(incoming),
        peer: Peer::new(peer),
        taken: VecDeque::new(),
    };
    (end(&a, &b, to), end(&b, &a, from))
}

impl Transport for MemoryTransport {
    fn peer(&self) -> Peer {
        self.peer.clone()
    }

    fn frame_bytes(&self) -> usize {
        FRAME_BYTES
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        let mut pipe = self.outgoing.lock();
        if pipe.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // r[impl transport.promises]
        while pipe.bytes < PIPE_BYTES {
            let Some(frame) = batch.next_frame() else { break };
            pipe.bytes += frame.payload.len();
            pipe.frames.push_back(frame);
        }
        let receiver = pipe.receiver.take();
        let done = batch.is_empty();
        if !done {
            pipe.sender = Some(cx.waker().clone());
        }
        drop(pipe);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
        if done { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        let mut pipe = self.incoming.lock();
        if pipe.frames.is_empty() {
            if pipe.finished {
                return Poll::Ready(Ok(Received::End));
            }
            if pipe.broken {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionReset).into()));
            }
            pipe.receiver = Some(cx.waker().clone());
            return Poll::Pending;
        }
        mem::swap(&mut pipe.frames, &mut self.taken);
        pipe.bytes = 0;
        let sender = pipe.sender.take();
        drop(pipe);
        if let Some(sender) = sender {
            sender.wake();
        }
        for OutFrame { lane, end, payload } in self.taken.drain(..) {
            let limit = inbox.frame_bytes_max();
            if payload.len() > limit {
                return Poll::Ready(Err(TransportError::FrameTooLarge {
                    bytes: payload.len(),
                    limit,
                }));
            }
            inbox.push(InFrame { lane, end, payload: Payload::Owned(payload) });
        }
        Poll::Ready(Ok(Received::Some))
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.wake_after(|pipe| pipe.finished = true);
        Poll::Ready(Ok(()))
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.outgoing.wake_after(|pipe| pipe.broken = true);
        self.incoming.wake_after(|pipe| pipe.broken = true);
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransport").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// The listeners of this process, by name. The lock is std's in models, too: it outlives their runs.
static REGISTRY: LazyLock<StdMutex<HashMap<String, Weak<Queue>>>> =
    LazyLock::new(StdMutex::default);

/// Connections that wait to be accepted.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<MemoryTransport>,
    acceptor: Option<Waker>,
    /// Whether no more may come.
    closed: bool,
}

/// Listens under a name of this process. A name that ends in `:0` gets a free number instead of
/// the zero, as a TCP port does.
///
/// # Cancel safety
/// It never waits.
///
/// # Errors
/// [`AddrInUse`](io::ErrorKind::AddrInUse) when something listens under this name already.
#[expect(clippy::unused_async, reason = "every transport's `listen` is async")]
pub async fn listen(name: impl ToString) -> io::Result<MemoryListener> {
    let name = name.to_string();
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    registry.retain(|_, queue| queue.strong_count() > 0);
    let name = match name.strip_suffix(":0") {
        None => name,
        Some(host) => (1..)
            .map(|number: u64| format!("{host}:{number}"))
            .find(|name| !registry.contains_key(name))
            .unwrap_or(name),
    };
    match registry.entry(name.clone()) {
        Entry::Occupied(_) => {
            let text = format!("something listens as memory \"{name}\" in this process already");
            Err(io::Error::new(io::ErrorKind::AddrInUse, text))
        }
        Entry::Vacant(entry) => {
            let queue = Arc::new(Queue::default());
            entry.insert(Arc::downgrade(&queue));
            Ok(MemoryListener { name, queue })
        }
    }
}

/// Connects to whatever listens under this name when a connection is made.
#[must_use]
pub fn connector(name: impl ToString) -> MemoryConnector {
    MemoryConnector { name: name.to_string() }
}

/// Accepts connections in memory. Dropping it frees the name.
pub struct MemoryListener {
    name: String,
    queue: Arc<Queue>,
}

impl MemoryListener {
    /// The name it listens under.
    #[must_use]
    pub fn local_addr(&self) -> Address {
        Address::Memory(self.name.clone())
    }
}

impl Listener for MemoryListener {
    type Transport = MemoryTransport;

    fn local_addr(&self) -> Address {
        self.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<MemoryTransport>> {
        let mut state = self.queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(transport) = state.waiting.pop_front() {
            return Poll::Ready(Ok(transport));
        }
        state.acceptor = Some(cx.waker().clone());
        Poll::Pending
    }

    fn refuse_more(&mut self) {
        self.queue.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
    }
}

impl fmt::Debug for MemoryListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryListener").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Makes connections in memory.
#[derive(Debug, Clone)]
pub struct MemoryConnector {
    name: String,
}

impl Connector for MemoryConnector {
    type Transport = MemoryTransport;

    fn target(&self) -> Address {
        Address::Memory(self.name.clone())
    }

    async fn connect(&self) -> io::Result<MemoryTransport> {
        let queue = {
            let registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
            registry.get(&self.name).and_then(Weak::upgrade)
        };
        let refused = |text: &str| io::Error::new(io::ErrorKind::ConnectionRefused, text);
        let queue = queue.ok_or_else(|| refused("nothing in this process listens by that name"))?;
        let mut state = queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(refused("what listens by that name accepts nobody any more"));
        }
        if state.waiting.len() >= BACKLOG {
            return Err(refused("too many connections wait to be accepted"));
        }
        let (ours, theirs) = pair_of(self.target(), Address::Unnamed);
        state.waiting.push_back(theirs);
        let acceptor = state.acceptor.take();
        drop(state);
        if let Some(acceptor) = acceptor {
            acceptor.wake();
        }
        Ok(ours)
    }
}
