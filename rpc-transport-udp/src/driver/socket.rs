//! Sockets that send and receive many datagrams with one system call; no sessions.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
};

use quinn_udp::{EcnCodepoint, RecvMeta, UdpSockRef, UdpSocketState};

use socket2::SockRef;

use super::{clock::SleepWatch, ready::Ready};
use crate::proto::session::Transmit;

/// What one receive buffer takes: what the kernel puts together of datagrams that came in a row.
const BUFFER_BYTES: usize = 64 * 1024;

/// Buffers of one receive call. A few: whoever sends many at once sends them as one.
const BUFFERS: usize = 8;

/// The same while one datagram comes at a time. One more than that, so that it says that it was all; each
/// costs some hundred instructions whether it is filled or not.
const BUFFERS_CALM: usize = 2;

/// Receive errors in a row, with nothing received and never nothing to receive between them, that
/// are no news of the network any more: so fast nobody tells it. The socket is of no use then.
const ERRORS_MAX: u32 = 10_000;

thread_local! {
    /// Every thread has one set of receive buffers, sockets have none.
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch::new()) };
}

/// What is received into.
#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    metas: Vec<RecvMeta>,
}

impl Scratch {
    const fn new() -> Self {
        Self { bytes: Vec::new(), metas: Vec::new() }
    }

    /// Receives once into `N` buffers. Returns how many have something now.
    fn receive<const N: usize>(
        &mut self,
        state: &UdpSocketState,
        socket: &UdpSocket,
    ) -> io::Result<usize> {
        self.bytes.resize(BUFFERS * BUFFER_BYTES, 0);
        self.metas.resize(BUFFERS, RecvMeta::default());
        let mut rest = self.bytes.chunks_exact_mut(BUFFER_BYTES);
        let mut buffers: [_; N] =
            std::array::from_fn(|_| IoSliceMut::new(rest.next().unwrap_or_default()));
        state.recv(UdpSockRef::from(socket), &mut buffers, &mut self.metas)
    }

    /// What is in the first `count` buffers.
    fn pieces(&self, count: usize) -> impl Iterator<Item = Piece<'_>> {
        let buffers = self.bytes.chunks_exact(BUFFER_BYTES);
        self.metas.iter().zip(buffers).take(count).map(|(meta, buffer)| Piece {
            from: meta.addr,
            to: meta.dst_ip,
            marked: meta.ecn == Some(EcnCodepoint::Ce),
            bytes: buffer.get(..meta.len).unwrap_or_default(),
            stride: meta.stride.max(1),
        })
    }
}

/// Waits until a socket takes datagrams again.
pub(crate) type Writable = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Where datagrams go, and where they come from.
pub(crate) trait Datagrams: fmt::Debug + Send + Sync + 'static {
    /// Where it is bound.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Sends, from `source` if this has several addresses.
    ///
    /// # Errors
    /// `WouldBlock` when it takes no more at present; then [`writable`](Self::writable) waits.
    fn try_send(&self, transmit: &Transmit, source: Option<IpAddr>) -> io::Result<()>;

    /// Waits until it takes datagrams again.
    fn writable(self: Arc<Self>) -> Writable;

    /// Receives what has come, and hands it out piece by piece. Only one task receives.
    ///
    /// # Errors
    /// Those that the system has a number for say what became of a datagram that was sent, such as
    /// `ConnectionRefused`: nothing listens there. All others say that the socket is broken.
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(Piece<'_>),
    ) -> Poll<io::Result<()>>;

    /// How many datagrams one transmission may have.
    fn segments_max(&self) -> usize;

    /// A random number that nobody can guess. Networks of tests have their own.
    ///
    /// # Errors
    /// The system has none.
    fn secret(&self) -> io::Result<u64> {
        getrandom::u64().map_err(io::Error::other)
    }

    /// A random number that need not be a secret: what a session draws follows from it.
    fn seed(&self) -> u64 {
        fastrand::u64(..)
    }

    /// Begins to watch whether the machine sleeps.
    fn sleep_watch(&self) -> SleepWatch {
        SleepWatch::new()
    }
}

/// Datagrams that came from one address, one behind the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) from: SocketAddr,
    /// The address at which they came in, if that is known.
    pub(crate) to: Option<IpAddr>,
    /// Whether a router on their way was congested.
    pub(crate) marked: bool,
    pub(crate) bytes: &'a [u8],
    /// How long each is; the last may be shorter.
    pub(crate) stride: usize,
}

/// Has the system say of every datagram of a socket that routers may mark it instead of dropping it.
fn mark_all(socket: &UdpSocket) -> io::Result<()> {
    // r[impl congestion.ecn]
    let ect0 = EcnCodepoint::Ect0 as u32;
    let socket = SockRef::from(socket);
    match socket.local_addr()?.as_socket() {
        Some(SocketAddr::V4(_)) => socket.set_tos_v4(ect0),
        #[cfg(target_os = "linux")]
        Some(SocketAddr::V6(_)) => socket.set_tclass_v6(ect0),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// A socket of the operating system.
#[derive(Debug)]
pub(crate) struct Kernel {
    socket: Ready,
    state: UdpSocketState,
    /// What need not be said with each datagram, if the system says with all of them that routers may mark
    /// them. Each option that is said costs time.
    known: Option<Known>,
    /// How many receive errors there were in a row.
    errors: AtomicU32,
    /// Whether the last receive call had no use for more than one buffer.
    is_calm: AtomicBool,
}

/// What the system knows of a socket's datagrams by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    /// Where they go. Then the system has the route at hand, too.
    to: Option<SocketAddr>,
    /// Where they come from, if that is one address.
    from: Option<IpAddr>,
}

impl Known {
    fn of(socket: &UdpSocket) -> io::Result<Self> {
        let (to, from) = (socket.peer_addr().ok(), socket.local_addr()?.ip());
        // Such a socket has two kinds of options, those of IPv4 and those of IPv6.
        let is_mapped = matches!(from, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
        if is_mapped {
            return Err(io::ErrorKind::Unsupported.into());
        }
        mark_all(socket)?;
        Ok(Self { to, from: (!from.is_unspecified()).then_some(from) })
    }

    /// Whether datagrams go from there anyway.
    fn comes_from(&self, source: Option<IpAddr>) -> bool {
        source.is_none_or(|source| self.from == Some(source))
    }
}

impl Kernel {
    /// Uses a bound socket.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let known = Known::of(&socket).ok();
        Ok(Self {
            socket: Ready::new(socket)?,
            state,
            known,
            errors: AtomicU32::new(0),
            is_calm: AtomicBool::new(false),
        })
    }

    /// Whether a receive error is one too many in a row.
    fn is_broken(&self) -> bool {
        self.errors.fetch_add(1, Ordering::Relaxed) >= ERRORS_MAX
    }

    /// Receives once there is something. Returns how many buffers have something now.
    fn poll_recv_into(
        &self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut received = None;
            let outcome = ready!(self.socket.poll_recv(cx, |socket| {
                let is_calm = self.is_calm.load(Ordering::Relaxed);
                let (count, room) = if is_calm {
                    (scratch.receive::<BUFFERS_CALM>(&self.state, socket)?, BUFFERS_CALM)
                } else {
                    (scratch.receive::<BUFFERS>(&self.state, socket)?, BUFFERS)
                };
                received = Some(count);
                self.is_calm.store(count < BUFFERS_CALM, Ordering::Relaxed);
                // Fewer than there was room for: that was all. The next datagram will say so.
                if count < room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            }));
            match (received, outcome) {
                (Some(count), _) => {
                    self.errors.store(0, Ordering::Relaxed);
                    return Poll::Ready(Ok(count));
                }
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.errors.store(0, Ordering::Relaxed);
                }
                (None, Err(error)) if self.is_broken() => {
                    return Poll::Ready(Err(io::Error::other(error)));
                }
                (None, outcome) => return Poll::Ready(outcome.map(|()| 0)),
            }
        }
    }
}

impl Datagrams for Kernel {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.socket().local_addr()
    }

    fn try_send(&self, transmit: &Transmit, source: Option<IpAddr>) -> io::Result<()> {
        let contents: &[u8] = &transmit.bytes;
        let is_single = contents.len() <= transmit.segment_bytes;
        if let Some(known) = self.known.filter(|known| is_single && known.comes_from(source)) {
            return self.socket.try_send(|socket| {
                if known.to == Some(transmit.to) {
                    socket.send(contents)
                } else {
                    socket.send_to(contents, transmit.to)
                }
                .map(drop)
            });
        }
        let transmit = quinn_udp::Transmit {
            destination: transmit.to,
            // r[impl congestion.ecn]
            ecn: Some(EcnCodepoint::Ect0),
            contents,
            segment_size: (!is_single).then_some(transmit.segment_bytes),
            src_ip: source,
        };
        self.socket.try_send(|socket| self.state.try_send(UdpSockRef::from(socket), &transmit))
    }

    fn writable(self: Arc<Self>) -> Writable {
        Box::pin(async move { self.socket.writable().await })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(Piece<'_>),
    ) -> Poll<io::Result<()>> {
        let mut scratch = SCRATCH.take();
        let received = self.poll_recv_into(cx, &mut scratch);
        let received = received.map_ok(|count| scratch.pieces(count).for_each(take));
        SCRATCH.set(scratch);
        received
    }

    fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Receives until there is nothing more. Returns how many pieces came.
    fn pieces(kernel: &Kernel) -> usize {
        let (mut cx, mut count) = (Context::from_waker(std::task::Waker::noop()), 0);
        while kernel.poll_recv(&mut cx, &mut |_| count += 1).is_ready() {}
        count
    }

    /// One call has no room for all, and no further wake-up comes for the rest.
    #[tokio::test]
    async fn a_socket_that_was_calm_misses_nothing_of_what_comes_at_once() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = receiver.local_addr().unwrap();
        receiver.set_nonblocking(true).unwrap();
        let kernel = Kernel::new(receiver).unwrap();
        // Of different senders, so that the kernel puts nothing together.
        let senders = [0; 2 * BUFFERS + 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        for at_once in [1, BUFFERS_CALM, 1, BUFFERS_CALM + 1, 1, BUFFERS, 1, senders.len()] {
            for sender in senders.iter().take(at_once) {
                sender.send_to(&[7; 10], to).unwrap();
            }
            let ready = std::future::poll_fn(|cx| kernel.socket.poll_recv(cx, |_| Ok(())));
            ready.await.unwrap();
            assert_eq!(pieces(&kernel), at_once);
            // So what follows comes at few buffers.
            assert!(kernel.is_calm.load(Ordering::Relaxed) || at_once > 1);
        }
    }

    // r[verify congestion.ecn]
    #[tokio::test]
    async fn every_datagram_says_that_it_may_be_marked() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let receiver = UdpSocket::bind(address).unwrap();
            let state = UdpSocketState::new(UdpSockRef::from(&receiver)).unwrap();
            receiver.set_nonblocking(false).unwrap();
            let (to, contents) = (receiver.local_addr().unwrap(), Bytes::from_static(&[7; 100]));
            for is_connected in [true, false] {
                let socket = UdpSocket::bind(address).unwrap();
                socket.set_nonblocking(true).unwrap();
                if is_connected {
                    socket.connect(to).unwrap();
                }
                let kernel = Kernel::new(socket).unwrap();
                assert_eq!(kernel.known.expect("it is marked").to, is_connected.then_some(to));
                // One datagram, and two at once.
                for (segment_bytes, source) in [(100, None), (100, Some(to.ip())), (50, None)] {
                    let transmit = Transmit { to, bytes: contents.clone(), segment_bytes };
                    kernel.try_send(&transmit, source).unwrap();
                    let mut meta = [RecvMeta::default()];
                    let mut buffer = [0; 200];
                    let mut buffers = [IoSliceMut::new(&mut buffer)];
                    state.recv(UdpSockRef::from(&receiver), &mut buffers, &mut meta).unwrap();
                    // A fault of quinn-udp 0.6.3: of datagrams that the kernel puts together, the
                    // mark doesn't fit behind all else that is told of them, and is lost.
                    let is_put_together = segment_bytes < 100;
                    let expected = (!is_put_together).then_some(EcnCodepoint::Ect0);
                    assert_eq!(meta[0].ecn, expected, "{to}, {segment_bytes} bytes each");
                    assert_eq!((meta[0].len, meta[0].stride), (100, segment_bytes));
                }
            }
        }
    }
}
