//! The calls this side has opened: one slot each, from the request to the terminal frame. What is
//! different about those that wait for none is in `oneway`, what comes for them in `answers`.

mod answers;
mod oneway;

use std::{collections::VecDeque, mem, task::Waker, time::Instant};

use oneway::Awaited;

use super::{Reach, gathered::Gathered};
use crate::{
    body::Body,
    counters::count,
    error::{Delivery, ErrorKind},
    frame::{CallId, Role},
    planted::planted,
};

/// What a call ended with, as the mux knows it.
#[derive(Debug)]
pub(crate) enum Ending {
    /// A reply arrived.
    Reply { body: Body, app_error: bool },
    /// The reply is a stream, which has begun.
    Stream,
    /// The peer answered with an error, or this side gave up.
    Failed { kind: ErrorKind, delivery: Delivery, detail: String },
    /// The connection ended.
    Lost(Delivery),
    /// The request of a one-way call has left this process.
    Left,
}

impl Ending {
    /// What a failure says about the handler.
    fn delivery(&self) -> Option<Delivery> {
        match self {
            Self::Reply { .. } | Self::Left | Self::Stream => None,
            Self::Failed { delivery, .. } | Self::Lost(delivery) => Some(*delivery),
        }
    }
}

/// One slot of the table.
#[derive(Debug)]
struct Slot {
    /// The call in this slot, or the last one that was.
    id: Option<CallId>,
    state: State,
    awaited: Awaited,
    /// The outbox position after the last byte of the request; [`QUEUED`] while a part of a large
    /// one hasn't been drawn.
    leaves_at: u64,
    /// Bytes of the request in the outbox, when it was queued whole.
    bytes: usize,
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// No call: the slot is in the free list.
    Vacant,
    /// The request is queued or sent; the reply so far is collected in the buffer.
    Pending { waker: Waker, reply: Partial },
    /// The caller has given up; the slot waits for the terminal frame.
    Abandoned,
    /// How the call ended is known, and the caller hasn't looked yet. Unless the terminal frame has
    /// come too, the slot waits for it afterwards.
    Done { ending: Ending, terminal: bool },
}

impl Slot {
    const VACANT: Self = Self {
        id: None,
        state: State::Vacant,
        awaited: Awaited::Answer,
        leaves_at: QUEUED,
        bytes: 0,
        deadline: None,
    };
}

/// The position of a large request of which the end hasn't been drawn.
const QUEUED: u64 = u64::MAX;

/// What there is of a reply.
#[derive(Debug, Default)]
struct Partial {
    /// For all of it, if that is little.
    buffer: Vec<u8>,
    /// What has come of it, if it has many frames.
    gathered: Option<Box<Gathered>>,
    app_error: bool,
}

impl Partial {
    fn gathered_bytes(&self) -> usize {
        self.gathered.as_ref().map_or(0, |gathered| gathered.len())
    }
}

/// The table of this side's calls.
#[derive(Debug)]
pub(crate) struct Calls {
    role: Role,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The sequence number of the next call.
    sequence: u64,
    /// Slots whose call has no terminal frame yet, or isn't looked at yet.
    open: u32,
    /// Requests that were sent or are on their way, for the drain.
    pub(super) sent: u64,
    /// Calls that ended as *rejected*, and as *unknown*.
    pub(super) rejected: u64,
    pub(super) unknown: u64,
    /// One-way calls that failed after they had ended for their callers.
    pub(super) oneways_failed: u64,
    /// Where the requests of one-way calls end in the outbox, in the order in which they leave. Those
    /// of calls that were taken back are among them.
    leaving: VecDeque<(u64, CallId)>,
    /// Bytes of incomplete replies.
    pub(super) partial_bytes: usize,
}

/// Where the request of a pending call is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// Among the large messages of the outbox, all of it or what hasn't been drawn.
    Bulk,
    /// It ends at this position of the outbox. `bytes` is its length if it was queued whole, else 0.
    At { end: u64, bytes: usize },
}

/// Why a reply frame could not be used, although the connection is fine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stray {
    /// No such call: it was answered before.
    NoCall,
    /// It doesn't fit what came before it.
    OutOfPlace,
}

impl Calls {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            slots: Vec::new(),
            free: Vec::new(),
            sequence: 1,
            open: 0,
            sent: 0,
            rejected: 0,
            unknown: 0,
            oneways_failed: 0,
            leaving: VecDeque::new(),
            partial_bytes: 0,
        }
    }

    /// Slots in use.
    pub(crate) fn open(&self) -> u32 {
        self.open
    }

    /// Whether the ids of this connection are used up.
    pub(crate) fn exhausted(&self) -> bool {
        self.sequence > CallId::SEQUENCE_MAX
    }

    /// Takes a slot for a new call.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        waker: Waker,
        deadline: Option<Instant>,
        oneway: bool,
    ) -> CallId {
        let slot = self.free.pop().unwrap_or_else(|| {
            #[expect(clippy::cast_possible_truncation, reason = "the peer's limit is 2^23 calls")]
            let slot = self.slots.len() as u32;
            self.slots.push(Slot::VACANT);
            slot
        });
        // r[impl call.new]
        let again = planted("id-used-twice") && self.sequence % 8 == 7;
        let id = CallId::new(self.sequence.saturating_sub(again.into()), slot, self.role);
        self.sequence = self.sequence.saturating_add(1);
        self.open = self.open.saturating_add(1);
        self.sent = self.sent.saturating_add(1);
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            let state = State::Pending { waker, reply: Partial::default() };
            let awaited = if oneway { Awaited::Leaving } else { Awaited::Answer };
            *entry = Slot { id: Some(id), state, awaited, deadline, ..Slot::VACANT };
        }
        id
    }

    /// The request was queued whole: `bytes` of the outbox that end at `position`. Its buffer is
    /// used again for the reply.
    #[inline]
    pub(crate) fn queued(&mut self, id: CallId, position: u64, bytes: usize, buffer: Vec<u8>) {
        let Some(slot) = self.get(id) else { return };
        slot.leaves_at = position;
        slot.bytes = bytes;
        if let State::Pending { reply, .. } = &mut slot.state {
            reply.buffer = buffer;
        }
        if slot.awaited == Awaited::Leaving {
            self.leaving.push_back((position, id));
        }
    }

    /// The last frame of a large request was drawn; it ends at `position`.
    pub(crate) fn sent_to(&mut self, id: CallId, position: u64) {
        let Some(slot) = self.get(id) else { return };
        slot.leaves_at = position;
        if slot.awaited == Awaited::Leaving {
            self.leaving.push_back((position, id));
        }
    }

    /// Where the request of a pending call is.
    pub(crate) fn whereabouts(&self, id: CallId) -> Option<Whereabouts> {
        let slot = self.slots.get(id.slot()).filter(|slot| slot.id == Some(id))?;
        match (&slot.state, slot.leaves_at) {
            (State::Pending { .. }, QUEUED) => Some(Whereabouts::Bulk),
            (State::Pending { .. }, end) => Some(Whereabouts::At { end, bytes: slot.bytes }),
            _ => None,
        }
    }

    /// A request was taken back before any of it was sent.
    pub(crate) fn unsend(&mut self) {
        debug_assert!(self.sent > 0);
        self.sent = self.sent.saturating_sub(1);
    }

    /// Takes the ending of a call, if it has one, and frees its slot.
    #[inline]
    pub(crate) fn take_ending(&mut self, id: CallId) -> Option<Ending> {
        let slot = self.get(id)?;
        if !matches!(slot.state, State::Done { .. }) {
            return None;
        }
        let state = mem::replace(&mut slot.state, State::Abandoned);
        let State::Done { ending, terminal } = state else { return None };
        if terminal {
            slot.state = State::Vacant;
            self.release(id);
        }
        Some(ending)
    }

    /// Whether waking this waker is waking the caller of a pending call.
    pub(crate) fn will_wake(&self, id: CallId, waker: &Waker) -> bool {
        let slot = self.slots.get(id.slot()).filter(|slot| slot.id == Some(id));
        match slot.map(|slot| &slot.state) {
            Some(State::Pending { waker: old, .. }) => old.will_wake(waker),
            _ => true,
        }
    }

    /// Keeps another waker. Returns the one that nobody needs any more.
    pub(crate) fn set_waker(&mut self, id: CallId, waker: Waker) -> Waker {
        match self.get(id).map(|slot| &mut slot.state) {
            Some(State::Pending { waker: old, .. }) => mem::replace(old, waker),
            _ => waker,
        }
    }

    /// The caller has gone. Returns its waker, which nobody needs any more.
    pub(crate) fn abandon(&mut self, id: CallId) -> Option<Waker> {
        let slot = self.get(id)?;
        match mem::replace(&mut slot.state, State::Abandoned) {
            State::Pending { reply, waker } => {
                if !planted("abandoned-bytes-counted") {
                    self.partial_bytes = self.partial_bytes.saturating_sub(reply.gathered_bytes());
                }
                return Some(waker);
            }
            State::Done { terminal: false, .. } => {}
            State::Done { terminal: true, .. } => {
                slot.state = State::Vacant;
                self.release(id);
            }
            old @ (State::Abandoned | State::Vacant) => slot.state = old,
        }
        None
    }

    /// Frees the slot of a call of which the peer will never hear.
    pub(crate) fn forget(&mut self, id: CallId) {
        if let Some(slot) = self.get(id) {
            slot.state = State::Vacant;
            self.release(id);
        }
    }

    /// Ends a call on this side. `terminal` says that no frame of the peer's will come for it;
    /// otherwise the slot goes on waiting for the terminal frame.
    pub(crate) fn give_up(&mut self, id: CallId, ending: Ending, terminal: bool) -> Option<Waker> {
        let slot = self.slots.get_mut(id.slot()).filter(|slot| slot.id == Some(id))?;
        let delivery = ending.delivery();
        match mem::replace(&mut slot.state, State::Done { ending, terminal }) {
            State::Pending { waker, reply } => {
                count(&mut self.rejected, delivery == Some(Delivery::Rejected));
                count(&mut self.unknown, delivery == Some(Delivery::Unknown));
                self.partial_bytes = self.partial_bytes.saturating_sub(reply.gathered_bytes());
                Some(waker)
            }
            old => {
                slot.state = old;
                None
            }
        }
    }

    /// The deadline of a pending call is another one.
    pub(crate) fn set_deadline(&mut self, id: CallId, deadline: Option<Instant>) {
        if let Some(slot) = self.get(id)
            && matches!(slot.state, State::Pending { .. })
        {
            slot.deadline = deadline;
        }
    }

    /// Ends every pending call because the connection ended.
    pub(crate) fn lose(&mut self, reach: Reach, wakers: &mut Vec<Waker>) {
        for (at, slot) in (0..).zip(&mut self.slots) {
            let delivery = match (&slot.state, reach.delivery(slot.leaves_at)) {
                // It has begun to answer, whatever is said of it now.
                (State::Pending { reply, .. }, Delivery::Rejected) if reply.gathered.is_some() => {
                    Delivery::Unknown
                }
                (_, delivery) => delivery,
            };
            let fails_unheard = slot.awaited == Awaited::Nothing && slot.is_unanswered_oneway();
            if fails_unheard || matches!(slot.state, State::Pending { .. }) {
                count(&mut self.oneways_failed, fails_unheard);
                count(&mut self.rejected, delivery == Delivery::Rejected);
                count(&mut self.unknown, delivery == Delivery::Unknown);
            }
            match mem::replace(&mut slot.state, State::Vacant) {
                State::Pending { waker, .. } => {
                    let ending = Ending::Lost(delivery);
                    slot.state = State::Done { ending, terminal: true };
                    wakers.push(waker);
                }
                State::Done { ending, .. } => slot.state = State::Done { ending, terminal: true },
                State::Abandoned => {
                    self.open = self.open.saturating_sub(1);
                    self.free.push(at);
                }
                State::Vacant => {}
            }
        }
        self.partial_bytes = 0;
        self.leaving.clear();
    }

    /// The pending calls whose requests end beyond the position up to which they have left.
    pub(crate) fn queued_beyond(&self, sent: u64) -> Vec<CallId> {
        let queued =
            |slot: &&Slot| matches!(slot.state, State::Pending { .. }) && slot.leaves_at > sent;
        self.slots.iter().filter(queued).filter_map(|slot| slot.id).collect()
    }

    /// Collects the pending calls whose deadline is at or before `now`, and returns the earliest
    /// deadline of the others.
    pub(crate) fn expired(&self, now: Instant, expired: &mut Vec<CallId>) -> Option<Instant> {
        let mut earliest = None;
        for slot in &self.slots {
            let (State::Pending { .. }, Some(deadline)) = (&slot.state, slot.deadline) else {
                continue;
            };
            if deadline > now {
                earliest = super::earlier(earliest, Some(deadline));
            } else {
                expired.extend(slot.id);
            }
        }
        earliest
    }

    fn get(&mut self, id: CallId) -> Option<&mut Slot> {
        self.slots.get_mut(id.slot()).filter(|slot| slot.id == Some(id))
    }

    fn release(&mut self, id: CallId) {
        self.open = self.open.saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, reason = "a slot has 23 bits")]
        self.free.push(id.slot() as u32);
    }

    /// Slots that exist.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    #[cfg(any(fuzzing, test))]
    pub(super) fn check_invariants(&self) {
        let mut partial = 0;
        let mut vacant = Vec::new();
        for (at, slot) in (0..).zip(&self.slots) {
            assert!(slot.id.is_none_or(|id| id.slot() == at as usize && id.opener() == self.role));
            match &slot.state {
                State::Pending { reply, .. } => partial += reply.gathered_bytes(),
                State::Vacant => vacant.push(at),
                State::Abandoned | State::Done { .. } => {}
            }
        }
        assert_eq!(self.partial_bytes, partial);
        assert_eq!(self.open as usize, self.slots.len() - vacant.len());
        let mut free = self.free.clone();
        free.sort_unstable();
        assert_eq!(free, vacant);
        assert!(self.sent < self.sequence);
        assert!(self.leaving.iter().is_sorted(), "requests leave in the order of the outbox");
    }

    /// The earliest deadline of a pending call.
    #[cfg(any(fuzzing, test))]
    pub(super) fn earliest(&self) -> Option<Instant> {
        let pending = |slot: &&Slot| matches!(slot.state, State::Pending { .. });
        self.slots.iter().filter(pending).filter_map(|slot| slot.deadline).min()
    }

    /// Skips sequence numbers, so that a test needn't make 2^40 calls.
    #[cfg(any(fuzzing, test))]
    pub(super) fn skip_to(&mut self, sequence: u64) {
        self.sequence = sequence;
    }
}
