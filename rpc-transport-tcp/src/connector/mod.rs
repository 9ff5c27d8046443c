//! Connecting: one target, all its addresses, one time limit; no retries, the channel has those.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use rpc_core::transport::{Address, Connector};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    TcpOptions, TcpTransport,
    address::{Attempted, Target},
};

/// How long one address has before the next is tried beside it (RFC 8305, section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

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
        match Target::parse(&self.target) {
            Ok(Target::Socket(address)) => Address::Socket(address),
            _ => Address::Name(self.target.clone()),
        }
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
        if target.port() == 0 {
            let reason = format!("`{target}` names port 0: write the port that the server tells");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let limit = self.options.connect_timeout;
        let mut attempts = Attempts::default();
        match timeout(limit, attempts.run(&target, &self.options)).await {
            Ok(Ok((address, stream))) => TcpTransport::new(stream, address),
            Ok(Err(cause)) => Err(cause),
            Err(_) => Err(attempts.timed_out(&target, limit)),
        }
    }
}

/// The attempts of one connect, in the order of their addresses.
#[derive(Default)]
struct Attempts(Vec<(SocketAddr, Progress)>);

enum Progress {
    Running(Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>),
    Failed(io::Error),
}

impl Attempts {
    async fn run(
        &mut self,
        target: &Target,
        options: &TcpOptions,
    ) -> io::Result<(SocketAddr, TcpStream)> {
        let addresses = target.resolve().await?;
        self.race(addresses, options).await
    }

    /// Starts an attempt whenever the one before failed or is slow; the first connection wins, and
    /// the others are given up.
    async fn race(
        &mut self,
        addresses: Vec<SocketAddr>,
        options: &TcpOptions,
    ) -> io::Result<(SocketAddr, TcpStream)> {
        let last = addresses.len().saturating_sub(1);
        for (n, address) in addresses.into_iter().enumerate() {
            let attempt = Box::pin(connect_to(address, options.clone()));
            self.0.push((address, Progress::Running(attempt)));
            if n == last {
                break;
            }
            if let Ok(Some(won)) = timeout(ATTEMPT_DELAY, self.next()).await {
                return Ok(won);
            }
        }
        while self.running() {
            if let Some(won) = self.next().await {
                return Ok(won);
            }
        }
        let attempted = self.attempted();
        Err(io::Error::new(attempted.kind(), attempted.to_string()))
    }

    fn running(&self) -> bool {
        self.0.iter().any(|(_, progress)| matches!(progress, Progress::Running(_)))
    }

    /// Waits until an attempt connects, or until one fails, which gives `None`.
    async fn next(&mut self) -> Option<(SocketAddr, TcpStream)> {
        poll_fn(|cx| {
            for (address, progress) in &mut self.0 {
                let Progress::Running(attempt) = progress else {
                    continue;
                };
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Some((*address, stream))),
                    Poll::Ready(Err(cause)) => {
                        *progress = Progress::Failed(cause);
                        return Poll::Ready(None);
                    }
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await
    }

    fn attempted(&mut self) -> Attempted {
        let mut attempted = Attempted::default();
        for (address, progress) in self.0.drain(..) {
            match progress {
                Progress::Failed(cause) => attempted.failed(address, cause),
                Progress::Running(_) => attempted.unanswered(address),
            }
        }
        attempted
    }

    fn timed_out(&mut self, target: &Target, limit: Duration) -> io::Error {
        let attempted = self.attempted();
        let reason = if attempted.is_empty() {
            format!("no connection within {limit:?}: `{target}` is still being resolved")
        } else {
            format!("no connection within {limit:?}: {attempted}")
        };
        io::Error::new(io::ErrorKind::TimedOut, reason)
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
mod tests;
