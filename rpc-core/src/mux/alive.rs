//! Finds out whether the peer is still there, while anything depends on it: when to ping it, and when
//! to give it up. It only counts; frames are sent by the mux.

use std::time::{Duration, Instant};

/// How a peer that has gone silent is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keepalive {
    /// A peer that owes an answer and was silent for this long is pinged.
    pub(crate) silence: Duration,
    /// A peer from which nothing came for this long after a ping is gone.
    pub(crate) answer: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { silence: Duration::from_secs(4), answer: Duration::from_secs(4) }
    }
}

/// The same for a peer that owes nothing, and is owed the answers to its requests. It looks after this side
/// itself, far more often, so that it is pinged only when it is gone or doesn't.
const OWED: Keepalive =
    Keepalive { silence: Duration::from_secs(30), answer: Duration::from_secs(30) };

/// What depends on the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtStake {
    /// Calls of this side's: it owes their answers.
    Calls,
    /// Nothing but requests of its own, which are at work here: for nobody, if it is gone.
    Requests,
}

/// What is known about the peer.
#[derive(Debug)]
pub(super) struct Alive {
    keepalive: Option<Keepalive>,
    /// When something last came from it.
    heard: Option<Instant>,
    /// When it began to owe us an answer.
    waiting: Option<Instant>,
    /// Since when an answer to a ping is awaited, if nothing has come since.
    pinged: Option<Instant>,
    /// Pings sent, and answers that came.
    token: u64,
    answers: u64,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping(u64),
    /// It is gone.
    GiveUp,
}

impl Alive {
    pub(super) fn new(keepalive: Option<Keepalive>) -> Self {
        Self { keepalive, heard: None, waiting: None, pinged: None, token: 0, answers: 0 }
    }

    /// Something came.
    #[inline]
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = Some(now);
        self.pinged = None;
    }

    /// A pong came. Returns whether there was a ping for it.
    pub(super) fn is_answer(&mut self) -> bool {
        self.answers = self.answers.saturating_add(1);
        self.answers <= self.token
    }

    /// The first of the calls under way was opened: silence counts from now on.
    #[inline]
    pub(super) fn wait(&mut self, now: Instant) {
        self.waiting = Some(now);
        self.pinged = None;
    }

    /// How long to wait, and for how long then.
    #[inline]
    fn patience(&self, stake: AtStake) -> Option<Keepalive> {
        let own = self.keepalive?;
        Some(match stake {
            AtStake::Calls => own,
            AtStake::Requests => Keepalive {
                silence: own.silence.max(OWED.silence),
                answer: own.answer.max(OWED.answer),
            },
        })
    }

    /// When to look again, while so much depends on the peer.
    #[inline]
    pub(super) fn next(&self, stake: AtStake) -> Option<Instant> {
        let Keepalive { silence, answer } = self.patience(stake)?;
        match self.pinged {
            Some(pinged) => pinged.checked_add(answer),
            None => self.heard.max(self.waiting)?.checked_add(silence),
        }
    }

    /// Looks whether it is time for something. `urgent` says that a deadline passed meanwhile, so
    /// that any silence will do for a ping.
    pub(super) fn check(&mut self, now: Instant, stake: AtStake, urgent: bool) -> Due {
        let due = self.next(stake).is_some_and(|next| next <= now);
        match self.pinged {
            Some(_) if due => Due::GiveUp,
            None if due || urgent && self.keepalive.is_some() => {
                self.pinged = Some(now);
                // The answer to an earlier ping may still be under way: it will do.
                if self.answers < self.token {
                    return Due::Nothing;
                }
                self.token = self.token.saturating_add(1);
                Due::Ping(self.token)
            }
            _ => Due::Nothing,
        }
    }
}
