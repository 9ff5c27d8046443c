//! What a connection has to do by a certain time, calls apart: say hello, take what is sent to it,
//! give its buffers back, leave when it is idle. It only counts; the timer is the driver's.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::DriverConfig;
use crate::{
    error::CloseReason,
    mux::{Mux, Phase},
};

/// A connection that was idle for this long gives its buffers back. Looked at no more often.
const TRIM_AFTER: Duration = Duration::from_secs(1);

/// A peer that takes nothing of what is sent to it for this long is gone, or might as well be: what
/// waits for it is given up with it.
const STALL: Duration = Duration::from_secs(30);

/// How long a peer may take to leave when it is asked to because the connection is idle.
const LEAVE: Duration = Duration::from_secs(5);

/// How long a draining connection of which nothing is heard waits for requests that the peer has
/// announced and not sent: it may be lying.
const ANNOUNCED: Duration = Duration::from_secs(30);

/// What is known of a connection's buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It isn't time to look.
    NotYet,
    /// The connection is used.
    InUse,
    /// Nothing happens on it.
    Idle,
}

/// The times of one connection.
#[derive(Debug)]
pub(super) struct Watch {
    /// When the peer's hello has to be there, until it is.
    hello_by: Option<Instant>,
    /// When to look whether buffers are still needed, while there are any.
    trim_at: Option<Instant>,
    /// Whether anything was sent or received since that was set.
    used: bool,
    idle_timeout: Option<Duration>,
    /// When it has been idle for too long, while it is idle.
    idle_by: Option<Instant>,
    /// When the peer has to have left a connection on which nothing is under way any more.
    leave_by: Option<Instant>,
    /// How far sending was when the peer last took something, and by when it has to take more.
    stall: Option<(u64, Instant)>,
}

impl Watch {
    pub(super) fn new(now: Instant, config: DriverConfig) -> Self {
        Self {
            hello_by: now.checked_add(config.hello_timeout),
            trim_at: None,
            used: false,
            idle_timeout: config.idle_timeout,
            idle_by: None,
            leave_by: None,
            stall: None,
        }
    }

    /// Something was sent or received.
    #[inline]
    pub(super) fn note_use(&mut self) {
        self.used = true;
    }

    /// The peer takes no more at present. `position` is how far sending is.
    pub(super) fn note_stall(&mut self, position: u64, now: impl FnOnce() -> Instant) {
        if self.stall.is_none_or(|(last, _)| last != position) {
            self.stall = now().checked_add(STALL).map(|by| (position, by));
        }
    }

    /// The peer took everything.
    #[inline]
    pub(super) fn note_sent(&mut self) {
        self.stall = None;
    }

    /// Counts from now on, if the connection was used and nothing counts yet. A clock is read once a
    /// second at most.
    #[inline]
    pub(super) fn restart(&mut self, now: impl FnOnce() -> Instant) {
        if self.used && self.trim_at.is_none() {
            self.used = false;
            self.idle_by = None;
            self.trim_at = now().checked_add(TRIM_AFTER);
        }
    }

    /// When to look again.
    #[inline]
    pub(super) fn next(&mut self, mux: &Mux) -> Option<Instant> {
        if mux.hello_arrived() {
            self.hello_by = None;
        }
        let stall = self.stall.map(|(_, by)| by);
        let times =
            [mux.next_timeout(), self.hello_by, self.trim_at, self.idle_by, self.leave_by, stall];
        times.into_iter().flatten().min()
    }

    /// Does what is due. `empty` says that nothing is being sent. Returns whether the connection's
    /// buffers are needed at present.
    pub(super) fn pass(&mut self, now: Instant, mux: &mut Mux, empty: bool) -> Look {
        let due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        let mut look = Look::NotYet;
        if due(&mut self.trim_at) {
            if !mem::take(&mut self.used) && !mux.is_at_work() && empty {
                look = Look::Idle;
                self.idle_by = self.idle_timeout.and_then(|idle| now.checked_add(idle));
                if self.leave_by.is_none() && matches!(mux.phase(), Phase::Draining { .. }) {
                    self.leave_by = now.checked_add(ANNOUNCED);
                }
            } else {
                look = Look::InUse;
                self.trim_at = now.checked_add(TRIM_AFTER);
            }
        }
        if due(&mut self.idle_by) {
            self.leave_by = now.checked_add(LEAVE);
            mux.go_away();
        }
        if due(&mut self.leave_by) {
            let comes = mux.is_busy() && self.trim_at.is_some();
            if mux.is_at_work() || comes {
                // It crossed the go-away, and is finished like everything else.
                self.leave_by = now.checked_add(LEAVE);
            } else {
                mux.close(CloseReason::Idle, "");
            }
        }
        if due(&mut self.hello_by) {
            // r[impl hello.timeout]
            mux.close(CloseReason::HelloTimeout, "");
        }
        if self.stall.take_if(|(_, by)| *by <= now).is_some() {
            let text = "the peer takes nothing of what is sent to it";
            mux.close(CloseReason::Unresponsive, text);
        }
        look
    }
}
