//! Sockets that send and receive many datagrams with one system call; no sessions.

#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::{
    cell::Cell,
    fmt,
    future::Future,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::RangeInclusive,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
};

use quinn_udp::{EcnCodepoint, RecvMeta, UdpSockRef, UdpSocketState};

use socket2::SockRef;

use super::{clock::SleepWatch, ready::Ready};
use crate::proto::{joined, packet::DATAGRAM_BYTES_MAX, session::Transmit};

/// What one receive buffer takes: what the kernel puts together of datagrams that came in a row.
const BUFFER_BYTES: usize = 64 * 1024;

/// Buffers of one receive call. A few: whoever sends many at once sends them as one.
const BUFFERS: usize = 8;

/// The same while one datagram comes at a time. One more than that, so that it says that it was all; each
/// costs some hundred instructions whether it is filled or not.
const BUFFERS_CALM: usize = 2;

/// How many such datagrams in a row are received bare: their bytes, and nothing of what else the system
/// knows of them. That takes half the time. Of the next one it is asked whether routers were congested.
/// Drawn each time, so that of peers that take turns none is left out.
// r[impl congestion.ecn]
const BARE_IN_A_ROW: RangeInclusive<u8> = 1..=13;

/// How long such a datagram is at most. What is longer is a part of something large, whose sender goes as
/// fast as routers let it.
const BARE_BYTES_MAX: usize = 1000;

/// How many of those have to come behind something large before any is received bare: within something large
/// there are single ones, too.
const BARE_BEHIND: u8 = 4;

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

    /// Receives the bytes of one datagram, or of several that the system has put together.
    fn receive_bare(&mut self, known: Known, socket: &UdpSocket) -> io::Result<usize> {
        self.bytes.resize(BUFFERS * BUFFER_BYTES, 0);
        self.metas.resize(BUFFERS, RecvMeta::default());
        let buffer = self.bytes.get_mut(..BUFFER_BYTES).unwrap_or_default();
        let (len, addr) = match known.to {
            Some(peer) => (socket.recv(buffer)?, peer),
            None => socket.recv_from(buffer)?,
        };
        // What is shorter is looked at only if it turns out to be nothing as a whole.
        let is_several = len > DATAGRAM_BYTES_MAX;
        let stride =
            if is_several { joined::stride(buffer.get(..len).unwrap_or_default()) } else { len };
        if let Some(meta) = self.metas.first_mut() {
            *meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride, meta.dst_ip) = (addr, len, stride, known.from);
        }
        Ok(1)
    }

    /// Whether the first buffer has one datagram, and no more.
    fn is_single(&self) -> bool {
        self.metas.first().is_some_and(|meta| meta.len <= meta.stride)
    }

    /// Whether it may have a part of something large.
    fn is_large(&self) -> bool {
        self.metas.first().is_some_and(|meta| meta.len > BARE_BYTES_MAX)
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
    /// How long each is, as far as is known; the last may be shorter.
    pub(crate) stride: usize,
}

impl Piece<'_> {
    /// The same; if they seem to be one, this looks: perhaps the system wasn't asked.
    pub(crate) fn told_apart(self) -> Self {
        if self.bytes.len() > self.stride {
            return self;
        }
        Self { stride: joined::stride(self.bytes).max(1), ..self }
    }
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
    /// How many receive calls may be bare, and whether the last one was and there may be more.
    bare: AtomicU8,
    may_be_more: AtomicBool,
    /// How many lone, short datagrams have come since something large, of which the system was asked; up to
    /// `BARE_BEHIND`.
    lone: AtomicU8,
}

/// Whether the system refused a datagram because of its size.
pub(crate) fn is_too_large(error: &io::Error) -> bool {
    #[cfg(windows)]
    const EMSGSIZE: i32 = 10040;
    #[cfg(not(windows))]
    const EMSGSIZE: i32 = libc::EMSGSIZE;
    error.raw_os_error() == Some(EMSGSIZE)
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

    /// Whether it need not be asked where a datagram comes from and goes to, or the call says so.
    fn says_all(&self) -> bool {
        self.to.is_some() || self.from.is_some()
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
            bare: AtomicU8::new(0),
            may_be_more: AtomicBool::new(false),
            lone: AtomicU8::new(0),
        })
    }

    /// Whether a receive error is one too many in a row.
    fn is_broken(&self) -> bool {
        self.errors.fetch_add(1, Ordering::Relaxed) >= ERRORS_MAX
    }

    /// Receives once. Returns how many buffers have something now, and for how many there was room.
    fn receive(&self, scratch: &mut Scratch, socket: &UdpSocket) -> io::Result<(usize, usize)> {
        let bare = self.bare.load(Ordering::Relaxed);
        if bare > 0
            && let Some(known) = self.known.filter(Known::says_all)
        {
            let count = scratch.receive_bare(known, socket)?;
            let is_lone = scratch.is_single() && !self.may_be_more.swap(true, Ordering::Relaxed);
            self.is_calm.store(is_lone, Ordering::Relaxed);
            let is_large = scratch.is_large();
            self.bare.store(if is_lone && !is_large { bare - 1 } else { 0 }, Ordering::Relaxed);
            if is_large {
                self.lone.store(0, Ordering::Relaxed);
            }
            return Ok((count, count));
        }
        let (count, room) = if self.is_calm.load(Ordering::Relaxed) {
            (scratch.receive::<BUFFERS_CALM>(&self.state, socket)?, BUFFERS_CALM)
        } else {
            (scratch.receive::<BUFFERS>(&self.state, socket)?, BUFFERS)
        };
        self.may_be_more.store(false, Ordering::Relaxed);
        let is_calm = count < BUFFERS_CALM;
        self.is_calm.store(is_calm, Ordering::Relaxed);
        let is_lone = is_calm && scratch.is_single() && !scratch.is_large();
        let lone = match self.lone.load(Ordering::Relaxed) {
            _ if scratch.is_large() => 0,
            lone if is_lone => BARE_BEHIND.min(lone + 1),
            lone => lone,
        };
        self.lone.store(lone, Ordering::Relaxed);
        let may_be_bare = is_lone && lone == BARE_BEHIND;
        let bare = if may_be_bare { fastrand::u8(BARE_IN_A_ROW) } else { 0 };
        self.bare.store(bare, Ordering::Relaxed);
        Ok((count, room))
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
                let (count, room) = self.receive(scratch, socket)?;
                received = Some(count);
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
                    self.may_be_more.store(false, Ordering::Relaxed);
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
