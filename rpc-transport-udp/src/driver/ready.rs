//! A UDP socket that tells when it has datagrams, and only when asked when it takes some.
//!
//! tokio's own `UdpSocket` is told of both all the time. For UDP that is a wake-up for each datagram
//! that has left: the peer takes it, its memory is free, the socket takes more, the sleeping thread
//! wakes up, finds nothing to do and goes to sleep again, just before the reply comes. That costs a
//! third of the time of a call.

#[cfg(unix)]
pub(super) use unix::Ready;

#[cfg(not(unix))]
pub(super) use other::Ready;

#[cfg(unix)]
mod unix {
    use std::{
        io,
        net::UdpSocket,
        task::{Context, Poll, ready},
    };

    use tokio::io::{Interest, unix::AsyncFd};

    #[derive(Debug)]
    pub(in super::super) struct Ready(AsyncFd<UdpSocket>);

    impl Ready {
        /// Uses a socket that doesn't block.
        pub(in super::super) fn new(socket: UdpSocket) -> io::Result<Self> {
            register(socket, Interest::READABLE).map(Self)
        }

        pub(in super::super) fn socket(&self) -> &UdpSocket {
            self.0.get_ref()
        }

        /// Receives, when there may be something. `WouldBlock` from `receive` means that it has
        /// taken all there was.
        pub(in super::super) fn poll_recv(
            &self,
            cx: &mut Context<'_>,
            receive: impl FnOnce(&UdpSocket) -> io::Result<()>,
        ) -> Poll<io::Result<()>> {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let received = guard.try_io(|socket| receive(socket.get_ref()));
            Poll::Ready(received.unwrap_or_else(|_| Err(io::ErrorKind::WouldBlock.into())))
        }

        pub(in super::super) fn try_send(
            &self,
            send: impl FnOnce(&UdpSocket) -> io::Result<()>,
        ) -> io::Result<()> {
            send(self.socket())
        }

        /// Waits until the socket takes datagrams: through a second handle, which is asked for that
        /// alone.
        pub(in super::super) async fn writable(&self) -> io::Result<()> {
            let handle = self.socket().try_clone()?;
            let writable = register(handle, Interest::WRITABLE)?;
            writable.writable().await.map(drop)
        }
    }

    // What replaces it is an unsafe function, for types that say now one descriptor and now another.
    // A socket of std's has one for life.
    #[allow(deprecated, reason = "sound for sockets of std's; older versions know no other")]
    fn register(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
        AsyncFd::with_interest(socket, interest)
    }
}

#[cfg(not(unix))]
mod other {
    use std::{
        io,
        task::{Context, Poll, ready},
    };

    use tokio::{io::Interest, net::UdpSocket};

    #[derive(Debug)]
    pub(in super::super) struct Ready(UdpSocket);

    impl Ready {
        pub(in super::super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
            UdpSocket::from_std(socket).map(Self)
        }

        pub(in super::super) fn socket(&self) -> &UdpSocket {
            &self.0
        }

        pub(in super::super) fn poll_recv(
            &self,
            cx: &mut Context<'_>,
            receive: impl FnOnce(&UdpSocket) -> io::Result<()>,
        ) -> Poll<io::Result<()>> {
            ready!(self.0.poll_recv_ready(cx))?;
            Poll::Ready(self.0.try_io(Interest::READABLE, || receive(&self.0)))
        }

        pub(in super::super) fn try_send(
            &self,
            send: impl FnOnce(&UdpSocket) -> io::Result<()>,
        ) -> io::Result<()> {
            self.0.try_io(Interest::WRITABLE, || send(&self.0))
        }

        pub(in super::super) async fn writable(&self) -> io::Result<()> {
            self.0.writable().await
        }
    }
}
