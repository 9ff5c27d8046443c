//! The items that go: how many more the peer allows, and who waits to send them.

use std::{task::Waker, time::Duration};

use super::WINDOW_BASE;

/// One stream of items that go.
#[derive(Debug)]
pub(super) struct Writer {
    /// What may still be sent. While a large item is being sent, it has all of it.
    pub(super) credit: usize,
    /// Whether a large item, or the large request before the first, is being sent.
    pub(super) is_busy: bool,
    /// Whether the peer wants no more.
    pub(super) is_stopped: bool,
    waker: Option<Waker>,
    /// How long its call may go on without an item.
    pub(super) patience: Option<Duration>,
}

impl Writer {
    pub(super) fn new(patience: Option<Duration>, is_busy: bool) -> Self {
        Self { credit: WINDOW_BASE, is_busy, is_stopped: false, waker: None, patience }
    }

    pub(super) fn wait(&mut self, waker: Waker) -> Option<Waker> {
        self.waker.replace(waker)
    }

    pub(super) fn wake(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// The peer allows more. `false` if that is more than a peer can have meant.
    pub(super) fn allow(&mut self, bytes: usize) -> bool {
        // r[impl credit.overflow]
        self.credit = self.credit.saturating_add(bytes);
        self.credit <= u32::MAX as usize
    }
}
