//! What a tokio UDP socket does with a datagram for each message: fields of `u64`, nothing repeated
//! that is lost. On loopback nothing is, with buffers that hold all calls in flight.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use slab::Slab;
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::harness::{Adds, Target};

pub(crate) const FIELD_BYTES: usize = size_of::<u64>();

/// What sockets hold of datagrams that wait to be read: the default is full with the calls in flight
/// of some scenarios, and nothing here repeats what is lost.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Answers each datagram of an id and two numbers with the id and their sum.
pub(crate) async fn serve(addr: SocketAddr) -> io::Result<SocketAddr> {
    let socket = bind(addr).await?;
    let addr = socket.local_addr()?;
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        loop {
            let Ok((bytes, from)) = socket.recv_from(&mut buffer).await else { continue };
            if let Some([id, a, b]) = fields(&buffer[..bytes]) {
                // A client that is gone needs no answer.
                let _ = socket.send_to(&datagram([id, a + b]), from).await;
            }
        }
    });
    Ok(addr)
}

async fn connect(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = bind((addr.ip(), 0).into()).await?;
    socket.connect(addr).await?;
    Ok(socket)
}

pub(crate) async fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(addr).await?;
    SockRef::from(&socket).set_recv_buffer_size(BUFFER_BYTES)?;
    Ok(socket)
}

pub(crate) fn datagram<const N: usize>(fields: [u64; N]) -> Vec<u8> {
    fields.iter().flat_map(|field| field.to_le_bytes()).collect()
}

pub(crate) fn fields<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let (fields, []) = bytes.as_chunks::<FIELD_BYTES>() else { return None };
    let fields: &[_; N] = fields.try_into().ok()?;
    Some(fields.map(u64::from_le_bytes))
}

/// One call at a time. The lock makes calls take turns; with one caller it is never contended.
#[derive(Clone)]
pub(crate) struct InTurns(Arc<tokio::sync::Mutex<UdpSocket>>);

impl Target for InTurns {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self(Arc::new(tokio::sync::Mutex::new(connect(addr).await?))))
    }
}

impl Adds for InTurns {
    async fn add(&self, a: u64, b: u64) -> u64 {
        let socket = self.0.lock().await;
        let mut buffer = [0; 64];
        socket.send(&datagram([0, a, b])).await.expect("loopback takes it");
        let bytes = socket.recv(&mut buffer).await.expect("the server answers");
        let [_, sum] = fields(&buffer[..bytes]).expect("two numbers");
        sum
    }
}

/// Many calls at a time, told apart by ids.
#[derive(Clone)]
pub(crate) struct Client {
    shared: Arc<Shared>,
    _receiving: Arc<Receiving>,
}

/// The task that receives; ends with the client.
struct Receiving(AbortHandle);

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Shared {
    socket: UdpSocket,
    calls: Mutex<Slab<oneshot::Sender<u64>>>,
}

impl Target for Client {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { socket: connect(addr).await?, calls: Mutex::new(Slab::new()) });
        let receiving = tokio::spawn(receive(Arc::clone(&shared))).abort_handle();
        Ok(Self { shared, _receiving: Arc::new(Receiving(receiving)) })
    }
}

impl Adds for Client {
    async fn add(&self, a: u64, b: u64) -> u64 {
        let (sender, receiver) = oneshot::channel();
        let id = self.shared.lock().insert(sender) as u64;
        self.shared.socket.send(&datagram([id, a, b])).await.expect("loopback takes it");
        receiver.await.expect("the server answers")
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Slab<oneshot::Sender<u64>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn receive(shared: Arc<Shared>) {
    let mut buffer = [0; 64];
    loop {
        let bytes = shared.socket.recv(&mut buffer).await.expect("the socket holds");
        let Some([id, sum]) = fields(&buffer[..bytes]) else { continue };
        let id = usize::try_from(id).expect("an id of ours");
        if let Some(caller) = shared.lock().try_remove(id) {
            // A caller that has given up needs no answer.
            let _ = caller.send(sum);
        }
    }
}
