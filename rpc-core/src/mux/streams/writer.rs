//! The items that go: how many more the peer allows, and who waits to send them.

use std::{mem, task::Waker, time::Duration};

use super::{ITEM_COST, WINDOW_BASE};

/// What a writer has to send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing, or an end: neither needs credit.
    Nothing,
    /// An item of so many bytes, all at once or in parts.
    Item(usize),
    /// Items that are staged already, and together cost so much.
    Staged(usize),
}

impl Need {
    /// How much credit it takes to begin.
    pub(super) fn cost(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Item(_) => ITEM_COST + 1,
            Self::Staged(cost) => cost,
        }
    }
}

/// One stream of items that go.
#[derive(Debug)]
pub(super) struct Writer {
    /// What may still be sent. While a large item is being sent, it has all of it.
    pub(super) credit: usize,
    /// Whether a large item, or the large request before the first, is being sent.
    pub(super) is_busy: bool,
    /// Its place in the queue for what all streams share, if it has one.
    pub(super) place: Place,
    waker: Option<Waker>,
    /// How long its call may go on without an item.
    pub(super) patience: Option<Duration>,
}

/// Where a writer is in the queue. Whoever finds that there is still no room keeps its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    None,
    Waiting(u64),
    /// It was woken because there is room.
    Called(u64),
}

impl Writer {
    pub(super) fn new(patience: Option<Duration>, is_busy: bool) -> Self {
        Self { credit: WINDOW_BASE, is_busy, place: Place::None, waker: None, patience }
    }

    /// Keeps the waker. Returns one that nobody needs any more.
    pub(super) fn wait(&mut self, waker: &Waker) -> Option<Waker> {
        if self.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            return None;
        }
        self.waker.replace(waker.clone())
    }

    pub(super) fn wake(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// Gives its place back, if it has one.
    pub(super) fn leave(&mut self) -> Place {
        mem::replace(&mut self.place, Place::None)
    }

    /// The peer allows more. `false` if that is more than a peer can have meant.
    pub(super) fn allow(&mut self, bytes: usize) -> bool {
        // r[impl credit.overflow]
        self.credit = self.credit.saturating_add(bytes);
        self.credit <= u32::MAX as usize
    }
}
