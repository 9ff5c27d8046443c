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
///
/// Here the simulated sockets are real ones:
///
/// ```
/// use std::{io, net::SocketAddr, task::{Context, Poll, ready}};
/// use rpc_core::{Channel, Server};
/// use rpc_transport_udp::testing::{SimulatedSocket, Simulator, simulated};
/// use tokio::{io::ReadBuf, net::UdpSocket};
///
/// #[derive(Debug)]
/// struct Kernel;
///
/// #[derive(Debug)]
/// struct Socket(UdpSocket);
///
/// impl Simulator for Kernel {
///     type Socket = Socket;
///
///     fn bind(&self, local: SocketAddr) -> io::Result<Socket> {
///         let socket = std::net::UdpSocket::bind(local)?;
///         socket.set_nonblocking(true)?;
///         Ok(Socket(UdpSocket::from_std(socket)?))
///     }
///
///     fn random(&self) -> u64 {
///         fastrand::u64(..)
///     }
/// }
///
/// impl SimulatedSocket for Socket {
///     fn local_addr(&self) -> io::Result<SocketAddr> {
///         self.0.local_addr()
///     }
///
///     fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
///         self.0.try_send_to(datagram, to).map(drop)
///     }
///
///     fn poll_recv_from(
///         &self,
///         cx: &mut Context<'_>,
///         buffer: &mut [u8],
///     ) -> Poll<io::Result<(usize, SocketAddr)>> {
///         let mut buffer = ReadBuf::new(buffer);
///         let from = ready!(self.0.poll_recv_from(cx, &mut buffer))?;
///         Poll::Ready(Ok((buffer.filled().len(), from)))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = simulated(Kernel).listen("127.0.0.1:0").await?;
/// let address = listener.local_addr();
/// let server = Server::builder().listen(listener).start()?;
/// let channel = Channel::connect(simulated(Kernel).connector(address)).await?;
/// # drop((server, channel));
/// # Ok(())
/// # }
/// ```
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

/// A socket of a [`Simulator`]. Dropping it frees its address.
pub trait SimulatedSocket: fmt::Debug + Send + Sync + 'static {
    /// Where it is bound.
    ///
    /// # Errors
    /// There is no such address: `listen` ends with it.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Sends one datagram, which may get lost. Nobody waits until there is room for it.
    ///
    /// # Errors
    /// Those that the system has for it, with its numbers. As there, most only say that this datagram is
    /// lost, and so does [`WouldBlock`](io::ErrorKind::WouldBlock).
    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()>;

    /// Receives one datagram into the beginning of `buffer`, as much of it as there is room for: a longer one
    /// is none of this protocol. Returns how many bytes that are, and where it came from.
    ///
    /// # Errors
    /// Those with a number of the system ([`raw_os_error`](io::Error::raw_os_error)), and
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), say what became of a datagram that was sent,
    /// and end the attempt to connect that waits for an answer. All others say that the socket is of no use
    /// any more.
    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>>;
}

/// Options whose listeners and connectors have the sockets of a simulator. Those of sockets have no effect:
/// buffers, [`only_v6`](UdpOptions::only_v6), [`public`](UdpOptions::public).
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
        let sent = datagrams.try_for_each(|datagram| self.socket.send_to(datagram, transmit.to));
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent,
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Takes two datagrams; there is no room for more.
    #[derive(Debug, Default)]
    struct Small(Mutex<Vec<Vec<u8>>>);

    #[derive(Debug)]
    struct Smalls;

    impl Simulator for Smalls {
        type Socket = Small;

        fn bind(&self, _: SocketAddr) -> io::Result<Small> {
            Ok(Small::default())
        }

        fn random(&self) -> u64 {
            4
        }
    }

    impl SimulatedSocket for Small {
        fn local_addr(&self) -> io::Result<SocketAddr> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn send_to(&self, datagram: &[u8], _: SocketAddr) -> io::Result<()> {
            let mut sent = self.0.lock().unwrap();
            if sent.len() == 2 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            sent.push(datagram.to_vec());
            Ok(())
        }

        fn poll_recv_from(
            &self,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<(usize, SocketAddr)>> {
            Poll::Pending
        }
    }

    #[test]
    fn what_a_simulated_socket_has_no_room_for_is_lost_and_nobody_waits() {
        let simulator = Arc::new(Smalls);
        let port = Port { socket: Small::default(), simulator };
        let bytes = b"aaabbbcccd".to_vec();
        let to = SocketAddr::from((Ipv6Addr::LOCALHOST, 7));
        let transmit = Transmit { to, segment_bytes: 3, bytes: bytes.into() };
        assert!(port.try_send(&transmit, None).is_ok());
        assert_eq!(*port.socket.0.lock().unwrap(), [b"aaa", b"bbb"]);
    }
}
