//! The attempts of one connect: a race over addresses, and what became of each; no sockets.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use tokio::time::timeout;

/// How long one address has before the next is tried beside it (RFC 8305, section 8).
pub(super) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The attempts of one connect, in the order of their addresses.
pub(super) struct Attempts<Fut>(Vec<(SocketAddr, Progress<Fut>)>);

enum Progress<Fut> {
    Running(Pin<Box<Fut>>),
    Failed(io::Error),
}

impl<Fut> Default for Attempts<Fut> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, Fut: Future<Output = io::Result<T>>> Attempts<Fut> {
    /// Starts an attempt whenever the one before failed or is slow; the first to connect wins, and
    /// the others are given up.
    pub(super) async fn race(
        &mut self,
        addresses: Vec<SocketAddr>,
        attempt: impl Fn(SocketAddr) -> Fut,
    ) -> io::Result<(SocketAddr, T)> {
        let last = addresses.len().saturating_sub(1);
        for (n, address) in addresses.into_iter().enumerate() {
            self.0.push((address, Progress::Running(Box::pin(attempt(address)))));
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
    async fn next(&mut self) -> Option<(SocketAddr, T)> {
        poll_fn(|cx| {
            for (address, progress) in &mut self.0 {
                let Progress::Running(attempt) = progress else {
                    continue;
                };
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(connected)) => {
                        return Poll::Ready(Some((*address, connected)));
                    }
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
}

impl<Fut> Attempts<Fut> {
    /// What became of them; those that still run are given up.
    pub(super) fn attempted(&mut self) -> Attempted {
        let tried = self.0.drain(..).map(|(address, progress)| match progress {
            Progress::Failed(cause) => (address, Some(cause)),
            Progress::Running(_) => (address, None),
        });
        Attempted(tried.collect())
    }
}

/// Addresses that were tried, each with what became of it: an error, or no answer yet.
#[derive(Debug, Default)]
pub(super) struct Attempted(Vec<(SocketAddr, Option<io::Error>)>);

impl Attempted {
    /// Notes that `address` failed.
    pub(super) fn failed(&mut self, address: SocketAddr, cause: io::Error) {
        self.0.push((address, Some(cause)));
    }

    /// Whether nothing was tried.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The kind of the last failure.
    pub(super) fn kind(&self) -> io::ErrorKind {
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
