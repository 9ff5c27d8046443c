//! Addresses as users write them, for transports over IP: parsing, resolving, and one connect or
//! listen over all addresses of a name; no sockets, those are the transport's.
//!
//! ```
//! use std::{io, net::SocketAddr, time::Duration};
//!
//! use rpc_core::transport::ip::Target;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> io::Result<()> {
//! let listener = Target::parse("127.0.0.1:0")?.bind(|address| std::net::TcpListener::bind(address)).await?;
//! let target = Target::parse(&listener.local_addr()?.to_string())?;
//! let limit = Duration::from_secs(5);
//! let (address, stream) = target.connect(limit, tokio::net::TcpStream::connect).await?;
//! # assert_eq!(address, stream.peer_addr()?);
//! # Ok(())
//! # }
//! ```

mod attempts;

use std::{
    fmt,
    future::Future,
    io,
    net::{Ipv6Addr, SocketAddr, ToSocketAddrs},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};

use self::attempts::{Attempted, Attempts};
use super::Address;

/// How many addresses of one name are tried, in the order of the resolver. A name has a handful;
/// the limit keeps a resolver that answers with hundreds from making a connect open as many
/// sockets.
const ADDRESSES_MAX: usize = 16;

/// What to listen on or to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// An IP address and a port.
    Socket(SocketAddr),
    /// A host that the system's resolver knows, and a port.
    Name {
        /// Without brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Target {
    /// Reads an address as a user writes it: a host and a port, `127.0.0.1:7000`, `[::1]:7000`,
    /// `localhost:7000`, `[fe80::1%eth0]:7000`.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), with what to write instead.
    pub fn parse(text: &str) -> io::Result<Self> {
        Self::try_parse(text).map_err(|reason| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("`{text}` {reason}"))
        })
    }

    fn try_parse(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Socket(address));
        }
        if is_v6(text) {
            return Err(format!("is an IPv6 address without a port: write `[{text}]:7000`"));
        }
        if text.parse::<u16>().is_ok() {
            return Err(format!("names no host: write `localhost:{text}`"));
        }
        if text.contains('/') {
            return Err(
                "is a URL or a path: write a host and a port, as in `localhost:7000`".into()
            );
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && !port.ends_with(']') => (host, port),
            _ => {
                let host = text.trim_end_matches(':');
                let host = if host.is_empty() { "localhost" } else { host };
                return Err(format!("names no port: write `{host}:7000`"));
            }
        };
        if host.is_empty() {
            return Err(format!(
                "names no host: write `localhost:{port}`, or `[::]:{port}` to listen on every \
                 address"
            ));
        }
        // `u16::from_str` alone would accept a sign.
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let Some(port) = port.parse().ok().filter(|_| digits) else {
            return Err(format!(
                "names the port `{port}`: write a number up to 65535, as in `{host}:7000`"
            ));
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bracketed {
            Some(host) if is_v6(host) => Ok(Self::Name { host: host.into(), port }),
            None if !host.contains([':', '[', ']']) => Ok(Self::Name { host: host.into(), port }),
            None if is_v6(host) => {
                Err(format!("has an IPv6 address without brackets: write `[{host}]:{port}`"))
            }
            _ => Err("is no address: write a host and a port, as in `localhost:7000`, or an IPv6 \
                      address in brackets, as in `[::1]:7000`"
                .into()),
        }
    }

    /// What `text` stands for in [`Connector::target`](super::Connector::target): the socket address
    /// that it is, or else a name.
    #[must_use]
    pub fn address(text: &str) -> Address {
        match Self::parse(text) {
            Ok(Self::Socket(address)) => Address::Socket(address),
            _ => Address::Name(text.to_owned()),
        }
    }

    /// Its addresses, in the order in which to try them: never none, and 16 at most. IPv6 and IPv4
    /// take turns (RFC 8305, section 4).
    ///
    /// # Errors
    /// The name can't be resolved; the message names it.
    ///
    /// # Panics
    /// Outside a tokio runtime, when it is a name.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the resolver of the system to itself.
    pub async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = match self {
            Self::Socket(address) => return Ok(vec![*address]),
            Self::Name { host, port } => (host, *port),
        };
        let found = look_up(host.clone(), port)
            .await
            .map_err(|e| io::Error::new(e.kind(), format!("`{host}`: {e}")))?;
        let addresses = in_turn(found);
        if addresses.is_empty() {
            let reason = format!("`{host}`: the name has no addresses");
            return Err(io::Error::new(io::ErrorKind::NotFound, reason));
        }
        Ok(addresses)
    }

    /// Connects through `attempt` to whichever of its addresses answers first, within `limit` for
    /// resolving and all attempts together. When an address has neither answered nor failed within
    /// 250 ms, the next is tried beside it; those that didn't win are dropped (RFC 8305, section 5).
    ///
    /// # Errors
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): it names port 0, which is no port.
    /// - [`TimedOut`](io::ErrorKind::TimedOut): the limit has passed.
    /// - Otherwise that of the last address tried, or the resolver's.
    ///
    /// The message names each address tried, with its cause. `attempt` needn't name it.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempts that it has begun.
    pub async fn connect<T, Fut>(
        &self,
        limit: Duration,
        attempt: impl Fn(SocketAddr) -> Fut,
    ) -> io::Result<(SocketAddr, T)>
    where
        Fut: Future<Output = io::Result<T>>,
    {
        if self.port() == 0 {
            let reason = format!("`{self}` names port 0: write the port that the server tells");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let mut attempts = Attempts::default();
        let connecting = async { attempts.race(self.resolve().await?, attempt).await };
        match timeout(limit, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(self.timed_out(&attempts.attempted(), limit)),
        }
    }

    /// Binds the first of its addresses that `bind` can.
    ///
    /// # Errors
    /// The name can't be resolved, or none of its addresses can be bound: `cannot listen on`, and
    /// each address with its cause. The kind is that of the last.
    ///
    /// # Panics
    /// Outside a tokio runtime, when it is a name.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    pub async fn bind<T>(&self, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
        let cannot = |kind, cause: &dyn fmt::Display| {
            io::Error::new(kind, format!("cannot listen on {cause}"))
        };
        let addresses = self.resolve().await.map_err(|e| cannot(e.kind(), &e))?;
        let mut attempted = Attempted::default();
        for address in addresses {
            match bind(address) {
                Ok(bound) => return Ok(bound),
                Err(cause) => attempted.failed(address, cause),
            }
        }
        Err(cannot(attempted.kind(), &attempted))
    }

    fn timed_out(&self, attempted: &Attempted, limit: Duration) -> io::Error {
        let reason = if attempted.is_empty() {
            format!("no connection within {limit:?}: `{self}` is still being resolved")
        } else {
            format!("no connection within {limit:?}: {attempted}")
        };
        io::Error::new(io::ErrorKind::TimedOut, reason)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Socket(address) => address.port(),
            Self::Name { port, .. } => *port,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Asks the system's resolver, which blocks. tokio's own way to ask it is the same, and comes with
/// sockets that this crate has no use for.
async fn look_up(host: String, port: u16) -> io::Result<impl Iterator<Item = SocketAddr>> {
    spawn_blocking(move || (host.as_str(), port).to_socket_addrs()).await?
}

/// Whether it is an IPv6 address, perhaps with an interface (`fe80::1%eth0`).
fn is_v6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "-"));
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && !zone.contains(':')
}

/// The families alternately, beginning with the resolver's favourite (RFC 8305, section 4), and
/// otherwise in its order; each address once.
fn in_turn(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut unique: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !unique.contains(&address) && unique.len() < ADDRESSES_MAX {
            unique.push(address);
        }
    }
    let first_is_v6 = unique.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        unique.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut in_turn = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return in_turn;
        }
        in_turn.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests;
