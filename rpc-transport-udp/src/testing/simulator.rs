//! Sockets of a simulator that isn't ours, as the driver uses them.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::Sockets;
use crate::{
    UdpOptions,
    driver::{
        clock::SleepWatch,
        socket::{Datagrams, Piece, Writable},
    },
    proto::{packet::DATAGRAM_BYTES_MAX, session::Transmit},
};

/// A simulated network that has sockets of its own, such as turmoil's.
///
/// The transport's own code runs over it, down to where it would make system calls. Time is tokio's, and
/// the machine never sleeps. With the same random numbers, and the same network, it does the same again.
pub trait Simulator: fmt::Debug + Send + Sync + 'static {
    /// A socket of it.
    type Socket: SimulatedSocket;

    /// Makes a socket. A server's address is what [`UdpOptions::listen`] was told; a client's is
    /// unspecified, and its port 0, which stands for any that is free.
    ///
    /// # Errors
    /// Those of binding a socket: `listen` and `connect` end with them.
    fn bind(&self, local: SocketAddr) -> io::Result<Self::Socket>;

    /// A random number, for all that the transport draws: keys, the numbers of sessions, pauses.
    fn random(&self) -> u64;
}

/// A socket of a [`Simulator`], which never blocks when it sends. Dropping it frees its address.
pub trait SimulatedSocket: fmt::Debug + Send + Sync + 'static {
    /// Where it is bound.
    ///
    /// # Errors
    /// There is no such address: `listen` ends with it.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Sends one datagram, which may get lost.
    ///
    /// # Errors
    /// Those that the system has for it. As there, most only say that this datagram is lost.
    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()>;

    /// Receives one datagram into the beginning of `buffer`. Returns how long it is, and where it came
    /// from.
    ///
    /// # Errors
    /// Without a number of the system ([`raw_os_error`](io::Error::raw_os_error)): the socket is of no use
    /// any more.
    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>>;
}

/// Options whose listeners and connectors have the sockets of a simulator.
pub fn simulated(simulator: impl Simulator) -> UdpOptions {
    UdpOptions::new().over(Arc::new(Foreign(Arc::new(simulator))))
}

#[derive(Debug)]
struct Foreign<S>(Arc<S>);

impl<S: Simulator> Sockets for Foreign<S> {
    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn Datagrams>> {
        let (socket, simulator) = (self.0.bind(address)?, Arc::clone(&self.0));
        Ok(Arc::new(Port { socket, simulator }))
    }

    fn connect(&self, server: SocketAddr) -> io::Result<Arc<dyn Datagrams>> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        self.bind((any, 0).into())
    }
}

#[derive(Debug)]
struct Port<S: Simulator> {
    socket: S::Socket,
    simulator: Arc<S>,
}

impl<S: Simulator> Datagrams for Port<S> {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn try_send(&self, transmit: &Transmit, _: Option<IpAddr>) -> io::Result<()> {
        let mut datagrams = transmit.bytes.chunks(transmit.segment_bytes.max(1));
        datagrams.try_for_each(|datagram| self.socket.send_to(datagram, transmit.to))
    }

    fn writable(self: Arc<Self>) -> Writable {
        Box::pin(async { Ok(()) })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(Piece<'_>),
    ) -> Poll<io::Result<()>> {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let (len, from) = ready!(self.socket.poll_recv_from(cx, &mut buffer))?;
        let bytes = buffer.get(..len).unwrap_or_default();
        take(Piece { from, to: None, marked: false, bytes, stride: len.max(1) });
        Poll::Ready(Ok(()))
    }

    fn segments_max(&self) -> usize {
        1
    }

    fn secret(&self) -> io::Result<u64> {
        Ok(self.simulator.random())
    }

    fn seed(&self) -> u64 {
        self.simulator.random()
    }

    fn sleep_watch(&self) -> SleepWatch {
        SleepWatch::Never
    }
}
