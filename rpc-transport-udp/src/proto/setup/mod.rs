//! How a client sets a session up: INIT until INIT_ACK comes; no session, no sockets.

#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    packet::{self, Epoch, Init, InitAck, Kind, Nonce, Params, Peek, Reset, ResetReason, Versions},
    session::{Agreed, Side},
};

/// The time until the first INIT is sent again; it doubles each time (RFC 9002, section 6.2.2).
const FIRST_TIMEOUT: Duration = Duration::from_millis(333);

/// The attempt to set up one session.
#[derive(Debug)]
pub(crate) struct SetUpClient {
    nonce: Nonce,
    ours: Params,
    remote: SocketAddr,
    send_at: Instant,
    timeout: Duration,
}

/// What the server agreed to.
#[derive(Debug, Clone)]
pub(crate) struct Established {
    pub(crate) agreed: Agreed,
    /// How long the server remembers a session that has ended.
    pub(crate) retention: Duration,
}

/// Why the server doesn't set up a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It speaks another version.
    #[error(
        "the server speaks version {theirs:?} of the datagram protocol, this side version {ours}"
    )]
    Version {
        /// Its versions.
        theirs: Vec<u8>,
        /// Ours.
        ours: u8,
    },
    /// It has no room.
    #[error("the server has as many sessions as it allows")]
    Full,
    /// It is shutting down.
    #[error("the server takes no new sessions")]
    Leaving,
}

impl SetUpClient {
    /// `nonce` is a random number that is used for this attempt only.
    // r[impl setup.nonce]
    pub(crate) fn new(now: Instant, remote: SocketAddr, ours: Params, nonce: Nonce) -> Self {
        Self { nonce, ours, remote, send_at: now, timeout: FIRST_TIMEOUT }
    }

    /// The datagram to send now, if it is time.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        // r[impl setup.retry]
        if now < self.send_at {
            return None;
        }
        self.send_at = now + self.timeout;
        self.timeout *= 2;
        let mut out = Vec::new();
        Init { nonce: self.nonce, params: self.ours }.encode(&mut out);
        Some(out)
    }

    /// When to call [`poll_transmit`](Self::poll_transmit) next.
    pub(crate) fn timeout(&self) -> Instant {
        self.send_at
    }

    /// Takes a datagram. `None` if it isn't an answer to this attempt.
    pub(crate) fn handle_datagram(&self, datagram: &[u8]) -> Option<Result<Established, Refused>> {
        // r[impl setup.accept]
        let Peek::Setup { kind, .. } = packet::peek(datagram)? else { return None };
        match kind {
            Kind::InitAck => {
                let ack = InitAck::decode(datagram).filter(|ack| ack.nonce == self.nonce)?;
                Some(Ok(self.establish(&ack)))
            }
            Kind::Reset => {
                let reset = Reset::decode(datagram).filter(|reset| reset.id == self.nonce.0)?;
                refusal(&reset).map(Err)
            }
            Kind::Versions => {
                let other = Versions::decode(datagram).filter(|it| it.nonce == self.nonce)?;
                Some(Err(Refused::Version { theirs: other.versions, ours: packet::VERSION }))
            }
            Kind::Init => None,
        }
    }

    fn establish(&self, ack: &InitAck) -> Established {
        let agreed = Agreed {
            side: Side::Client,
            id: ack.session,
            epoch: ack.epoch,
            remote: self.remote,
            ours: self.ours,
            theirs: ack.params,
            cookie: Some(ack.cookie),
        };
        Established { agreed, retention: Duration::from_millis(ack.retention_ms.into()) }
    }
}

/// What a reset in answer to an INIT means, if anything.
fn refusal(reset: &Reset) -> Option<Refused> {
    match reset.reason {
        ResetReason::Full => Some(Refused::Full),
        ResetReason::Leaving => Some(Refused::Leaving),
        _ => None,
    }
}

/// What a reset means for the requests of an established session.
///
/// Ages are suspend-aware: a client that slept for an hour has requests that are an hour old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// Requests that were first sent less than this ago certainly never ran; zero if nothing is
    /// known of any.
    pub(crate) never_ran_since: Duration,
}

impl Judgement {
    /// Judges a reset. `epoch` is that of the session, `retention` how long its server remembers
    /// sessions.
    pub(crate) fn of(reset: &Reset, epoch: Epoch, retention: Duration) -> Self {
        // r[impl reset.judge]
        let never_ran_since = match reset.reason {
            // Another process: whatever was first sent after it had begun can't have run before. The
            // clocks of the two machines differ by more than the slack after hours, so that a request
            // that has been waiting for as long is not judged by them.
            _ if reset.epoch != epoch => {
                Duration::from_millis(reset.uptime_ms).min(retention).saturating_sub(EPOCH_SLACK)
            }
            // It would remember a session in which any of them ran, and none can begin any more:
            // who leaves the cookie out was answered once, and by now it has expired.
            ResetReason::Unknown => retention.saturating_sub(EPOCH_SLACK),
            // It never was one, and this server begins none any more.
            ResetReason::Leaving => Duration::MAX,
            // With any of these a copy of the same packet may have begun the session, or may yet.
            ResetReason::Full
            | ResetReason::Closed
            | ResetReason::Cookie
            | ResetReason::Other(_) => Duration::ZERO,
        };
        Self { never_ran_since }
    }
}

/// How much later than its server a client may take a new server to have begun: it counts from a
/// clock of its own, and an old process may still have read a datagram then.
const EPOCH_SLACK: Duration = Duration::from_secs(1);
