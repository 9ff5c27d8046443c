//! The items that come: collected, bounded by credit, taken one by one.

use std::{mem, task::Waker, time::Duration};

use super::{GRANT_BYTES, ITEM_COST, WINDOW_BASE, WINDOW_MAX, queue::ItemQueue};
use crate::{
    error::{Delivery, ErrorKind},
    planted::planted,
};

/// How the items of one direction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// The last one has come.
    Finished,
    /// One side gave up.
    Failed { kind: ErrorKind, delivery: Delivery, detail: String },
    /// The connection ended.
    Lost,
}

/// One stream of items that come.
///
/// What the peer may send, what has come and waits, and what has been used up since credit was last
/// granted, add up to the window.
#[derive(Debug)]
pub(super) struct Reader {
    /// Whole items.
    items: ItemQueue,
    /// An item of which more is to come.
    partial: Option<Vec<u8>>,
    /// What the two hold of the window.
    held: usize,
    /// What the first of them cost and holds no more, because it was granted again while it came.
    eased: usize,
    /// What the peer may still send.
    credit: usize,
    /// What was used up since credit was last granted.
    used: usize,
    window: usize,
    end: Option<StreamEnd>,
    /// Whether the peer has sent everything.
    has_ended: bool,
    /// This side can't use what comes: it is dropped, up to the peer's end.
    is_refused: bool,
    /// Nobody reads: what still comes is dropped, up to the end.
    is_abandoned: bool,
    waker: Option<Waker>,
    /// How long its call may go on without an item.
    pub(super) patience: Option<Duration>,
}

/// The peer has sent more than it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OverCredit;

impl Reader {
    pub(super) fn new(patience: Option<Duration>) -> Self {
        Self {
            items: ItemQueue::default(),
            partial: None,
            held: 0,
            eased: 0,
            credit: WINDOW_BASE,
            used: 0,
            window: WINDOW_BASE,
            end: None,
            has_ended: false,
            is_refused: false,
            is_abandoned: false,
            waker: None,
            patience,
        }
    }

    /// One that nobody reads.
    pub(super) fn abandoned() -> Self {
        Self { is_abandoned: true, ..Self::new(None) }
    }

    /// Its reader has gone.
    pub(super) fn abandon(&mut self) -> Option<Waker> {
        self.is_abandoned = true;
        self.items = ItemQueue::default();
        self.drop_partial();
        self.waker.take()
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.is_abandoned
    }

    /// Whether what comes is of no use to anybody.
    pub(super) fn drops_items(&self) -> bool {
        (self.is_abandoned || self.is_refused) && !self.has_ended
    }

    /// Whether an item is being collected.
    pub(super) fn is_collecting(&self) -> bool {
        self.partial.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Bytes of the item that is being collected, and of those that wait what was granted again
    /// while they were: only the first can have been so.
    pub(super) fn partial_bytes(&self) -> usize {
        let eased = if self.items.is_empty() { 0 } else { self.eased };
        self.partial.as_ref().map_or(0, Vec::len).saturating_add(eased)
    }

    /// Takes an item, or its beginning. Returns how much of it is here.
    pub(super) fn begin(&mut self, more: bool, body: &[u8]) -> Result<usize, OverCredit> {
        // r[impl credit.cost]
        self.pay(body.len().saturating_add(ITEM_COST))?;
        if more {
            self.partial = Some(body.to_vec());
            self.ease();
        } else {
            self.items.push(body);
        }
        Ok(body.len())
    }

    /// Takes a further part of an item. Returns how much of it is here.
    pub(super) fn go_on(&mut self, more: bool, body: &[u8]) -> Result<usize, OverCredit> {
        self.pay(body.len())?;
        let Some(mut item) = self.partial.take() else { return Ok(0) };
        item.extend_from_slice(body);
        let length = item.len();
        if more {
            self.partial = Some(item);
            self.ease();
        } else {
            self.items.push_collected(item);
        }
        Ok(length)
    }

    /// The item that came last can't be used, whole or not, and neither can what follows.
    pub(super) fn refuse(&mut self, more: bool, end: StreamEnd) -> Option<Waker> {
        if !more {
            self.items.drop_last();
        }
        self.break_off(end)
    }

    /// What still comes is of no use, up to the peer's end.
    pub(super) fn break_off(&mut self, end: StreamEnd) -> Option<Waker> {
        self.is_refused = true;
        self.end.get_or_insert(end);
        self.drop_partial();
        self.waker.take()
    }

    fn pay(&mut self, cost: usize) -> Result<(), OverCredit> {
        // r[impl credit.exceeded]
        self.credit = self.credit.checked_sub(cost).ok_or(OverCredit)?;
        self.held = self.held.saturating_add(cost);
        Ok(())
    }

    /// The reader waits for this very item, which may be larger than the window: what it holds is
    /// granted again. So at most a window of whole items and one that is collected are held.
    fn ease(&mut self) {
        if self.items.is_empty() && self.partial.is_some() {
            let held = mem::take(&mut self.held);
            self.eased = self.eased.saturating_add(held);
            self.used = self.used.saturating_add(held);
        }
    }

    /// What is left of an incomplete item is worth nothing.
    fn drop_partial(&mut self) {
        self.partial = None;
        if self.items.is_empty() {
            (self.held, self.eased) = (0, 0);
        }
    }

    /// The next item, if it is there.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let item = self.items.pop()?;
        let paid = item.len().saturating_add(ITEM_COST);
        let cost = paid.saturating_sub(mem::take(&mut self.eased));
        self.held = self.held.saturating_sub(cost);
        self.used = self.used.saturating_add(cost);
        self.ease();
        Some(item)
    }

    /// How it ended, once every item is taken.
    pub(super) fn ending(&self) -> Option<&StreamEnd> {
        self.end.as_ref().filter(|_| self.items.is_empty())
    }

    /// There will be no more items. The first end counts.
    pub(super) fn finish(&mut self, end: StreamEnd) -> Option<Waker> {
        self.has_ended = true;
        if planted("end-discards-items") {
            self.items = ItemQueue::default();
        }
        self.end.get_or_insert(end);
        self.drop_partial();
        self.waker.take()
    }

    /// Whether this waker is the one that is kept.
    pub(super) fn will_wake(&self, waker: &Waker) -> bool {
        self.waker.as_ref().is_some_and(|old| old.will_wake(waker))
    }

    pub(super) fn wait(&mut self, waker: Waker) -> Option<Waker> {
        self.waker.replace(waker)
    }

    pub(super) fn wake(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// Whether it is time to grant credit: half of the window is used up, or as much as is granted
    /// at a time.
    pub(super) fn is_due(&self) -> bool {
        let enough = (self.window / 2).min(GRANT_BYTES);
        self.end.is_none() && !self.is_abandoned && self.used >= enough
    }

    /// Grants what was used up. A reader that keeps up gets a larger window, out of `growth`.
    /// Returns how much the peer may send in addition.
    pub(super) fn grant(&mut self, growth: &mut usize) -> usize {
        if self.items.is_empty() {
            let more = self.window.min(*growth).min(WINDOW_MAX.saturating_sub(self.window));
            *growth = growth.saturating_sub(more);
            self.window = self.window.saturating_add(more);
            self.used = self.used.saturating_add(more);
        }
        let granted = mem::take(&mut self.used);
        self.credit = self.credit.saturating_add(granted);
        granted
    }

    /// How much its window has grown, to be given back at its end.
    pub(super) fn grown(&self) -> usize {
        self.window.saturating_sub(WINDOW_BASE)
    }

    /// What the peer may still send, while that matters.
    #[cfg(any(fuzzing, test))]
    pub(super) fn allowed(&self) -> Option<usize> {
        (self.end.is_none() && !self.is_abandoned).then_some(self.credit)
    }

    /// Whether there is anything to take.
    #[cfg(any(fuzzing, test))]
    pub(super) fn is_ready(&self) -> bool {
        self.end.is_some() || !self.items.is_empty()
    }

    #[cfg(any(fuzzing, test))]
    pub(super) fn memory(&self) -> usize {
        self.items.bytes() + self.partial.as_ref().map_or(0, Vec::capacity)
    }

    #[cfg(any(fuzzing, test))]
    pub(super) fn check_invariants(&self) {
        if self.end.is_none() && !self.is_abandoned {
            assert_eq!(self.credit + self.used + self.held, self.window, "credit is conserved");
        }
        // Memory grows by doubling.
        let most = 2 * (self.window + self.eased) + 8192;
        assert!(self.items.bytes() <= most, "items take more than they cost");
    }
}
