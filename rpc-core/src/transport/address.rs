//! Addresses, and what a transport knows about the other side; nothing that a peer merely claims.

use std::{fmt, net::SocketAddr, path::PathBuf};

/// Where a peer is reached, or where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and port.
    Socket(SocketAddr),
    /// A host name and port, or any other name that is looked up when it is used.
    Name(String),
    /// The path of a Unix socket.
    Path(PathBuf),
    /// A name in the process-wide registry of the memory transport.
    Memory(String),
    /// A peer without an address: one end of an unnamed pair.
    Unnamed,
}

impl Address {
    /// The IP address and port, if it is one.
    #[must_use]
    pub fn as_socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(address) => Some(*address),
            _ => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name(name) | Self::Memory(name) => name.fmt(f),
            Self::Path(path) => path.display().fmt(f),
            Self::Unnamed => f.write_str("(unnamed)"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

/// Evidence: what the transport itself knows about the other side. What the peer wrote about itself
/// is [`Metadata`](crate::Metadata), a different type on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    address: Address,
}

impl Peer {
    /// Evidence that consists of an address.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self { address }
    }

    /// The peer's address.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }
}
