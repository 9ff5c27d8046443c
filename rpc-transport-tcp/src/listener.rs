//! The listening socket: binding and accepting; no back-off, the server's accept loop has that.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
};

use rpc_core::transport::{Address, Listener, ip::Target};

use crate::{TcpOptions, TcpTransport};

/// A listening TCP socket, for `ServerBuilder::listen`.
///
/// Made by [`listen`](crate::listen) or [`TcpOptions::listen`], or from a socket that was made
/// elsewhere (by systemd, say).
#[derive(Debug)]
pub struct TcpListener {
    inner: tokio::net::TcpListener,
    local_addr: SocketAddr,
    /// What accepted sockets get beside NODELAY; `None` for a socket that was handed in.
    options: Option<TcpOptions>,
}

impl TcpListener {
    /// Uses a listening socket, blocking or not. It keeps its options, and so do the connections it
    /// accepts, except that `TCP_NODELAY` is set on them.
    ///
    /// # Errors
    /// The socket can't be made non-blocking or registered with the runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Self::from_tokio(tokio::net::TcpListener::from_std(listener)?)
    }

    /// Uses a listening socket. It keeps its options, and so do the connections it accepts, except
    /// that `TCP_NODELAY` is set on them.
    ///
    /// # Errors
    /// The system can't tell the socket's address.
    pub fn from_tokio(listener: tokio::net::TcpListener) -> io::Result<Self> {
        let local_addr = listener.local_addr()?;
        Ok(Self { inner: listener, local_addr, options: None })
    }

    /// Where it listens, with the port that the system chose if that was 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Binds the first address of `target` that it can.
    pub(crate) async fn bind(target: &Target, options: TcpOptions) -> io::Result<Self> {
        let listener = target.bind(|address| Self::bind_to(address, &options)).await?;
        Ok(Self { options: Some(options), ..listener })
    }

    fn bind_to(address: SocketAddr, options: &TcpOptions) -> io::Result<Self> {
        let socket = options.listening_socket(address)?;
        socket.bind(address)?;
        Self::from_tokio(socket.listen(options.backlog_clamped())?)
    }
}

impl Listener for TcpListener {
    type Transport = TcpTransport;

    fn local_addr(&self) -> Address {
        Address::Socket(self.local_addr)
    }

    /// # Errors
    /// The accept failed, or the connection was reset before its options could be set. Either way
    /// the next call goes on with the next connection.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TcpTransport>> {
        let (stream, peer) = ready!(self.inner.poll_accept(cx))?;
        if let Some(options) = &self.options
            && !INHERITS
        {
            options.apply(&stream)?;
        }
        Poll::Ready(TcpTransport::new(stream, peer))
    }

    /// On Linux the system answers no further handshakes, so that none ends after the last accept: such a
    /// client would count as connected and be reset. It asks again after a second, and is refused, or
    /// finds the next server. A socket that was handed in is left alone: others may have it too.
    fn refuse_more(&mut self) {
        if self.options.is_some() {
            // Without it clients of the last moment are reset.
            let _ = drop_handshakes(&self.inner);
        }
    }
}

/// Has the system drop what begins a handshake (SYN without ACK) before the socket sees it. What ends one
/// passes, and so does all of the connections that are accepted, which inherit this.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn drop_handshakes(listener: &tokio::net::TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};

    /// Classic BPF, which sees the segment from the TCP header on (`tcp_filter` in the kernel).
    const PROGRAM: [SockFilter; 5] = [
        // The flags, and of them SYN and ACK.
        SockFilter::new(0x30, 0, 0, 13),
        SockFilter::new(0x54, 0, 0, 0x12),
        SockFilter::new(0x15, 0, 1, 0x02),
        // Nothing of it is kept, or all.
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    SockRef::from(listener).attach_filter(&PROGRAM)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn drop_handshakes(_: &tokio::net::TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether accepted sockets inherit every option of ours from the listening socket. Setting them
/// again would cost 1.5 µs per connection.
const INHERITS: bool = cfg!(any(target_os = "linux", target_os = "android"));
