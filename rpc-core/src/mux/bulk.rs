//! The account of a connection: how much bulk, which is everything of many frames, may be under way
//! to this side. The other direction's is kept by the outbox.

use crate::{limits::BULK_WINDOW_BASE, planted::planted};

/// What the peer may send, what has come since it was last told, and both together.
#[derive(Debug)]
pub(super) struct BulkIn {
    credit: usize,
    arrived: usize,
    window: usize,
}

impl BulkIn {
    /// The peer begins with the base; it learns of a larger window from the hello.
    pub(super) fn new(window: u32) -> Self {
        let window = (window as usize).max(BULK_WINDOW_BASE);
        Self { credit: window, arrived: 0, window }
    }

    /// So much has come. `false` if that is more than the peer may send.
    pub(super) fn charge(&mut self, cost: usize) -> bool {
        // r[impl credit.exceeded]
        let Some(rest) = self.credit.checked_sub(cost) else { return false };
        self.credit = rest;
        self.arrived = self.arrived.saturating_add(cost);
        true
    }

    /// Whether it is time to tell the peer.
    pub(super) fn is_due(&self) -> bool {
        self.arrived.saturating_mul(4) >= self.window
    }

    /// Grants what has come, if it is time: it bounds what is under way, not what is held.
    pub(super) fn grant(&mut self) -> Option<u32> {
        if !self.is_due() {
            return None;
        }
        let granted = std::mem::take(&mut self.arrived);
        self.credit = self.credit.saturating_add(granted);
        let withheld = if planted("grant-too-small") { granted % 64 } else { 0 };
        u32::try_from(granted.saturating_sub(withheld)).ok()
    }

    /// What the peer may still send, and what is beyond what every peer begins with.
    #[cfg(any(fuzzing, test))]
    pub(super) fn allowed(&self) -> (usize, usize) {
        (self.credit, self.window - BULK_WINDOW_BASE)
    }

    /// What the peer may still send, or will be granted, once nothing is under way.
    #[cfg(any(fuzzing, test))]
    pub(super) fn window_of_peer(&self) -> usize {
        self.window - self.arrived
    }

    #[cfg(any(fuzzing, test))]
    pub(super) fn check_invariants(&self) {
        assert_eq!(self.credit + self.arrived, self.window, "credit is conserved");
    }
}
