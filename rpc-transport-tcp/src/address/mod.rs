//! Addresses as users write them: parsing, resolving, and telling what became of each; no sockets.

use std::{
    fmt, io,
    net::{Ipv6Addr, SocketAddr},
};

use tokio::net::lookup_host;

/// How many addresses of one name are tried, in the order of the resolver. A name has a handful;
/// the limit keeps a resolver that answers with hundreds from making a connect open as many
/// sockets.
const ADDRESSES_MAX: usize = 16;

/// What to listen on or to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// An IP address and a port.
    Socket(SocketAddr),
    /// A host that the system's resolver knows, and a port.
    Name {
        /// Without brackets.
        host: String,
        /// In host order.
        port: u16,
    },
}

impl Target {
    /// Reads an address as a user writes it.
    ///
    /// # Errors
    /// `InvalidInput`, with what to write instead.
    pub(crate) fn parse(text: &str) -> io::Result<Self> {
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

    /// Its addresses, in the order in which to try them: never none.
    ///
    /// # Errors
    /// The name can't be resolved; the message names it.
    pub(crate) async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = match self {
            Self::Socket(address) => return Ok(vec![*address]),
            Self::Name { host, port } => (host, *port),
        };
        let found = lookup_host((host.as_str(), port))
            .await
            .map_err(|e| io::Error::new(e.kind(), format!("`{host}`: {e}")))?;
        let addresses = in_turn(found);
        if addresses.is_empty() {
            let reason = format!("`{host}`: the name has no addresses");
            return Err(io::Error::new(io::ErrorKind::NotFound, reason));
        }
        Ok(addresses)
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
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

/// Addresses that were tried, each with what became of it.
#[derive(Debug, Default)]
pub(crate) struct Attempted(Vec<(SocketAddr, Option<io::Error>)>);

impl Attempted {
    /// Notes that `address` failed.
    pub(crate) fn failed(&mut self, address: SocketAddr, cause: io::Error) {
        self.0.push((address, Some(cause)));
    }

    /// Notes that `address` hasn't answered yet.
    pub(crate) fn unanswered(&mut self, address: SocketAddr) {
        self.0.push((address, None));
    }

    /// Whether nothing was tried.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The kind of the last failure.
    pub(crate) fn kind(&self) -> io::ErrorKind {
        let last = self.0.iter().rev().find_map(|(_, cause)| cause.as_ref());
        last.map_or(io::ErrorKind::TimedOut, io::Error::kind)
    }
}

impl fmt::Display for Attempted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (address, cause)) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            match cause {
                Some(cause) => write!(f, "{separator}{address}: {cause}")?,
                None => write!(f, "{separator}{address}: no answer")?,
            }
        }
        Ok(())
    }
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
