//! Where the peer is: a new address is tried before anything is sent there; no packets.
//!
//! A session is found by its id, so a client may come from another address at any time: its NAT may
//! have forgotten it. The server asks the new address for a proof, and goes on using the old one
//! until it has it (RFC 9000, section 9, for a peer that never asks itself).

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::planted::planted;

/// How long a new address may take to prove that the peer is there.
const PROOF: Duration = Duration::from_secs(3);

/// The pause between two questions to it.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// The peer's address, and perhaps its next one.
#[derive(Debug)]
pub(super) struct Path {
    remote: SocketAddr,
    /// Boxed: it is rare.
    next: Option<Box<Candidate>>,
}

#[derive(Debug)]
struct Candidate {
    address: SocketAddr,
    question: [u8; 8],
    /// Bytes that came from there and that may be sent there, less what was sent.
    credit: usize,
    ask_at: Instant,
    until: Instant,
}

impl Path {
    pub(super) fn new(remote: SocketAddr) -> Self {
        Self { remote, next: None }
    }

    /// Where packets go.
    pub(super) fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// A packet came from another address, and none that was sent after it came before.
    pub(super) fn note_elsewhere(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: usize,
        question: impl FnOnce() -> [u8; 8],
    ) {
        let until = now.checked_add(PROOF).unwrap_or(now);
        if let Some(next) = self.next.as_mut().filter(|next| next.address == from) {
            next.credit = next.credit.saturating_add(bytes);
            next.until = until;
            return;
        }
        if planted("address-believed") {
            self.remote = from;
        }
        self.next = Some(Box::new(Candidate {
            address: from,
            question: question(),
            credit: bytes,
            ask_at: now,
            until,
        }));
    }

    /// The address to ask now, if any, and what. `bytes` is how much the datagram takes: no more is
    /// ever sent to an address than came from there, until the peer has proved to be there.
    pub(super) fn poll_question(
        &mut self,
        now: Instant,
        bytes: usize,
    ) -> Option<(SocketAddr, [u8; 8])> {
        self.next.take_if(|next| next.until <= now);
        // r[impl path.challenge]
        let next = self.next.as_mut().filter(|next| next.ask_at <= now)?;
        next.credit = next.credit.checked_sub(bytes)?;
        next.ask_at = now.checked_add(ASK_AGAIN).unwrap_or(now);
        Some((next.address, next.question))
    }

    /// When to ask, or to give up.
    pub(super) fn timeout(&self, bytes: usize) -> Option<Instant> {
        let next = self.next.as_ref()?;
        Some(if next.credit >= bytes { next.ask_at.min(next.until) } else { next.until })
    }

    /// An answer came from an address. Returns whether the peer is there now: `Some(true)` if on
    /// another host than before.
    pub(super) fn handle_answer(&mut self, from: SocketAddr, answer: [u8; 8]) -> Option<bool> {
        // r[impl path.switch]
        let next = self.next.take_if(|next| next.address == from && next.question == answer)?;
        let is_other_host = next.address.ip() != self.remote.ip();
        self.remote = next.address;
        Some(is_other_host)
    }
}
