//! Connecting: one target, all its addresses, one time limit; no retries, the channel has those.

use std::{io, net::SocketAddr};

use rpc_core::transport::{Address, Connector, ip::Target};
use tokio::net::TcpStream;

use crate::{TcpOptions, TcpTransport};

/// Connects to one address, for `Channel::connect`.
///
/// Made by [`connector`](crate::connector()) or [`TcpOptions::connector`].
#[derive(Debug, Clone)]
pub struct TcpConnector {
    /// As the user wrote it.
    target: String,
    options: TcpOptions,
}

impl TcpConnector {
    pub(crate) fn new(target: String, options: TcpOptions) -> Self {
        Self { target, options }
    }
}

impl Connector for TcpConnector {
    type Transport = TcpTransport;

    fn target(&self) -> Address {
        Target::address(&self.target)
    }

    /// # Errors
    /// - `InvalidInput`: the address is malformed; trying again is pointless.
    /// - `TimedOut`: the connect timeout has passed.
    /// - Otherwise that of the last address tried, or the resolver's.
    ///
    /// The message names each address tried, with its cause.
    ///
    /// # Cancel safety
    /// Dropping the future closes the sockets it has opened.
    async fn connect(&self) -> io::Result<TcpTransport> {
        let target = Target::parse(&self.target)?;
        let attempt = |address| connect_to(address, self.options.clone());
        let (address, stream) = target.connect(self.options.connect_timeout, attempt).await?;
        TcpTransport::new(stream, address)
    }
}

async fn connect_to(address: SocketAddr, options: TcpOptions) -> io::Result<TcpStream> {
    let stream = options.connecting_socket(address)?.connect(address).await?;
    refuse_itself(&stream)?;
    Ok(stream)
}

/// A socket whose own port happens to be the target's connects to itself when nobody listens.
fn refuse_itself(stream: &TcpStream) -> io::Result<()> {
    let reached_itself = match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) => local == peer,
        _ => false,
    };
    if reached_itself {
        let reason = "nothing listens there (the socket reached itself)";
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpSocket;

    use super::*;

    #[tokio::test]
    async fn a_connection_to_itself_is_refused() -> io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let own = socket.local_addr()?;
        let stream = socket.connect(own).await?;
        let error = refuse_itself(&stream).expect_err("it reached itself");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        Ok(())
    }
}
