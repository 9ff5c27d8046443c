//! The limit of UDP: a datagram for each message, as many with one system call as the kernel takes
//! (GSO), and read as it puts them together (GRO). Nothing is repeated that is lost.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use slab::Slab;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, oneshot};

use crate::harness::{Adds, Target};
use crate::raw_udp::{self, FIELD_BYTES};
use crate::tcp::{self, Pumps};

/// An id and two numbers.
const REQUEST_BYTES: usize = 3 * FIELD_BYTES;

/// An id and a sum.
const REPLY_BYTES: usize = 2 * FIELD_BYTES;

/// What one receive buffer takes: as much as the kernel puts together.
const BUFFER_BYTES: usize = 64 * 1024;

/// Buffers of one receive call. A few: whoever sends many at once sends them as one.
const BUFFERS: usize = 8;

pub(crate) async fn serve(addr: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Batched::new(raw_udp::bind(addr).await?)?;
    let addr = socket.socket.local_addr()?;
    tokio::spawn(async move {
        let mut inbox = Inbox::new();
        let mut replies = Vec::new();
        loop {
            let received = match socket.receive(&mut inbox).await {
                Ok(count) => count,
                Err(error) => return eprintln!("udp-gso: the server's socket: {error}"),
            };
            for index in 0..received {
                let (from, requests) = inbox.received(index);
                replies.clear();
                for [id, a, b] in requests.filter_map(raw_udp::fields) {
                    replies.extend(raw_udp::datagram([id, a + b]));
                }
                // A client that is gone needs no answer.
                let _ = socket.send(&replies, REPLY_BYTES, from).await;
            }
        }
    });
    Ok(addr)
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
    calls: Slab<oneshot::Sender<u64>>,
    /// Requests that are not sent yet.
    out: Vec<u8>,
}

impl Target for Client {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = Arc::new(Batched::new(raw_udp::bind((addr.ip(), 0).into()).await?)?);
        let shared = Arc::new(Shared::default());
        let receiving = receive_replies(Arc::clone(&shared), Arc::clone(&socket));
        let sending = send_requests(Arc::clone(&shared), socket, addr);
        Ok(Self { shared, _pumps: Arc::new(Pumps::spawn("udp-gso", receiving, sending)) })
    }
}

impl Adds for Client {
    async fn add(&self, a: u64, b: u64) -> u64 {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            let id = state.calls.insert(sender) as u64;
            state.out.extend(raw_udp::datagram([id, a, b]));
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

async fn send_requests(
    shared: Arc<Shared>,
    socket: Arc<Batched>,
    addr: SocketAddr,
) -> io::Result<()> {
    let mut batch = Vec::new();
    loop {
        shared.queued.notified().await;
        tcp::step_behind_runnable_tasks().await;
        std::mem::swap(&mut batch, &mut shared.lock().out);
        socket.send(&batch, REQUEST_BYTES, addr).await?;
        batch.clear();
    }
}

async fn receive_replies(shared: Arc<Shared>, socket: Arc<Batched>) -> io::Result<()> {
    let mut inbox = Inbox::new();
    let mut answered = Vec::new();
    loop {
        let received = socket.receive(&mut inbox).await?;
        {
            let mut state = shared.lock();
            for index in 0..received {
                for [id, sum] in inbox.received(index).1.filter_map(raw_udp::fields) {
                    let id = usize::try_from(id).expect("an id of ours");
                    answered.extend(state.calls.try_remove(id).map(|caller| (caller, sum)));
                }
            }
        }
        for (caller, sum) in answered.drain(..) {
            // A caller that has given up needs no answer.
            let _ = caller.send(sum);
        }
    }
}

struct Batched {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Batched {
    fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket, state })
    }

    /// Sends datagrams of one size that lie one behind the other.
    async fn send(&self, datagrams: &[u8], size: usize, to: SocketAddr) -> io::Result<()> {
        for contents in datagrams.chunks(size * self.state.max_gso_segments()) {
            let segment_size = (contents.len() > size).then_some(size);
            let transmit =
                Transmit { destination: to, ecn: None, contents, segment_size, src_ip: None };
            let send = || self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
            self.socket.async_io(Interest::WRITABLE, send).await?;
        }
        Ok(())
    }

    /// Waits until something came; returns how many buffers of the inbox have something.
    async fn receive(&self, inbox: &mut Inbox) -> io::Result<usize> {
        let mut chunks = inbox.scratch.chunks_exact_mut(BUFFER_BYTES).map(IoSliceMut::new);
        let mut buffers: [_; BUFFERS] =
            std::array::from_fn(|_| chunks.next().expect("a chunk for each buffer"));
        let receive =
            || self.state.recv(UdpSockRef::from(&self.socket), &mut buffers, &mut inbox.metas);
        self.socket.async_io(Interest::READABLE, receive).await
    }
}

/// What was received last.
struct Inbox {
    scratch: Vec<u8>,
    metas: [RecvMeta; BUFFERS],
}

impl Inbox {
    fn new() -> Self {
        let metas = [RecvMeta::default(); BUFFERS];
        Self { scratch: vec![0; BUFFERS * BUFFER_BYTES], metas }
    }

    /// Where the content of a buffer is from, and its datagrams.
    fn received(&self, index: usize) -> (SocketAddr, impl Iterator<Item = &[u8]>) {
        let meta = &self.metas[index];
        let bytes = &self.scratch[index * BUFFER_BYTES..][..meta.len];
        (meta.addr, bytes.chunks(meta.stride.max(1)))
    }
}
