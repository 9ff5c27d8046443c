//! One-way calls: they end when their request has left this process. Their slot is in use until the
//! terminal frame all the same, and what comes after they have left is counted.

use std::{mem, task::Waker};

use super::{Calls, Ending, Slot, State};
use crate::{counters::count, error::Delivery, frame::CallId, planted::planted};

/// What the caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The terminal frame.
    Answer,
    /// That the request leaves this process: the call is one-way.
    Leaving,
    /// That has happened, and what comes now only counts.
    Nothing,
    /// So it has, and that the call failed was counted.
    Failed,
}

impl Slot {
    /// Whether this is a one-way call that has left and has no terminal frame yet.
    pub(super) fn is_unanswered_oneway(&self) -> bool {
        matches!(self.awaited, Awaited::Nothing | Awaited::Failed)
            && matches!(self.state, State::Abandoned | State::Done { terminal: false, .. })
    }
}

impl Calls {
    /// The position at which the request of a one-way call that waits for that has left.
    pub(crate) fn next_leaves_at(&self) -> Option<u64> {
        self.leaving.front().map(|(position, _)| *position)
    }

    /// The outbox has left this process up to `sent`: that ends one-way calls.
    pub(crate) fn leave(&mut self, sent: u64, wakers: &mut Vec<Waker>) {
        while let Some(&(position, id)) = self.leaving.front()
            && position <= sent.saturating_add(if planted("left-too-early") { 200 } else { 0 })
        {
            self.leaving.pop_front();
            // It may have ended before, and its caller may have gone.
            let Some(slot) = self.get(id) else { continue };
            let State::Pending { reply, .. } = &slot.state else { continue };
            let spoiled = reply.app_error || reply.gathered_bytes() > 0;
            slot.awaited = Awaited::Nothing;
            wakers.extend(self.give_up(id, Ending::Left, false));
            if spoiled {
                self.note_failed_oneway(id, None);
            }
        }
    }

    /// Whether a one-way call has left that the peer hasn't answered yet.
    pub(crate) fn has_unanswered_oneways(&self) -> bool {
        self.slots.iter().any(Slot::is_unanswered_oneway)
    }

    /// A one-way call that had ended for its caller has failed: nobody hears of it, but it counts.
    pub(crate) fn note_failed_oneway(&mut self, id: CallId, delivery: Option<Delivery>) {
        let Some(slot) = self.get(id).filter(|slot| slot.is_unanswered_oneway()) else { return };
        if mem::replace(&mut slot.awaited, Awaited::Failed) == Awaited::Nothing {
            count(&mut self.oneways_failed, true);
            count(&mut self.rejected, delivery == Some(Delivery::Rejected));
            count(&mut self.unknown, delivery == Some(Delivery::Unknown));
        }
    }

    /// Whether a one-way call has left that its caller hasn't looked at yet.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn has_left(&self, id: CallId) -> bool {
        let slot = self.slots.get(id.slot()).filter(|slot| slot.id == Some(id));
        slot.is_some_and(|slot| matches!(slot.state, State::Done { ending: Ending::Left, .. }))
    }
}
