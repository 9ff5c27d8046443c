//! The calls the peer has opened: one slot each, from the request to the terminal frame.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{gathered::Gathered, part::Part, shelf::Shelf};
use crate::{
    body::Body,
    error::{CloseReason, ErrorKind},
    frame::{CallId, Metadata, Role},
    planted::planted,
    service::MethodId,
};

/// A complete request, ready to be run.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) id: CallId,
    pub(crate) method: MethodId,
    pub(crate) deadline: Option<Instant>,
    pub(crate) metadata: Metadata,
    /// Whether items follow, and how long the call may go on without one.
    pub(crate) stream: bool,
    pub(crate) patience: Option<Duration>,
    pub(crate) body: Body,
}

/// A request of which the first frame has arrived.
#[derive(Debug)]
struct Partial {
    accepted: Accepted,
    gathered: Gathered,
}

#[derive(Debug, Default)]
struct Slot {
    /// The call in this slot, or the last one that was: a new one has to be newer.
    id: Option<CallId>,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Vacant,
    /// Frames of the request are still to come.
    Partial(Box<Partial>),
    /// It runs, or waits to run. `stopped` says why its handler is being stopped.
    Running { deadline: Option<Instant>, stopped: Option<ErrorKind> },
    /// It has ended, and its large reply isn't drawn to the end yet.
    Answering,
    /// A cancel arrived before the request: it is refused when it comes.
    CancelledEarly,
}

impl State {
    const RUNNING: Self = Self::Running { deadline: None, stopped: None };
}

/// The table of the peer's calls.
#[derive(Debug)]
pub(crate) struct Requests {
    opener: Role,
    /// How many calls the peer may have open.
    limit: u32,
    slots: Vec<Slot>,
    /// Calls without a terminal frame in the outbox, and those of them that are incomplete.
    open: u32,
    partial: u32,
    /// Requests received so far, for the drain.
    pub(super) received: u64,
    /// Cancels received so far.
    cancels: u64,
    /// Bytes of incomplete requests.
    pub(super) partial_bytes: usize,
}

/// What a cancel or an expired deadline leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The handler is running: it has to be stopped, and its end sends the terminal frame.
    Handler,
    /// The request never ran: the terminal frame is due now.
    Unrun,
    /// The large reply is on its way: what is left of it needn't be sent.
    Reply,
    /// There is nothing to stop.
    Nothing,
}

impl Requests {
    /// `role` is this side's.
    pub(crate) fn new(role: Role, limit: u32) -> Self {
        let opener = role.other();
        Self {
            opener,
            limit,
            slots: Vec::new(),
            open: 0,
            partial: 0,
            received: 0,
            cancels: 0,
            partial_bytes: 0,
        }
    }

    /// Gives back the memory that an idle connection doesn't need. Slots stay: the next calls in them have to be
    /// newer than the last.
    pub(crate) fn shrink(&mut self) {
        self.slots.shrink_to_fit();
    }

    /// Calls without a terminal frame in the outbox.
    pub(crate) fn open(&self) -> u32 {
        self.open
    }

    /// Whether any call is complete and has no terminal frame in the outbox yet.
    #[inline]
    pub(crate) fn any_complete(&self) -> bool {
        self.open > self.partial
    }

    /// Opens a call. `terminals` is the number of terminal frames that wait in the outbox: the peer
    /// can't have seen those. Returns whether the call was cancelled before it came.
    #[inline]
    pub(crate) fn open_call(&mut self, id: CallId, terminals: u32) -> Result<bool, CloseReason> {
        // r[impl call.limit]
        if self.open.saturating_add(terminals) >= self.limit {
            return Err(CloseReason::TooManyCalls);
        }
        let slot = self.slot_mut(id)?;
        // r[impl call.id]
        // r[impl call.new] r[impl request.once]
        let early = match (slot.id, &slot.state) {
            (Some(old), State::CancelledEarly) if old == id => true,
            (Some(old), State::Vacant) if old < id => false,
            (None, State::Vacant) => false,
            _ => return Err(CloseReason::BadCallId),
        };
        slot.id = Some(id);
        slot.state = State::RUNNING;
        self.open = self.open.saturating_add(1);
        self.received = self.received.saturating_add(1);
        Ok(early)
    }

    /// Notes the deadline of a call that is about to run.
    #[inline]
    pub(crate) fn set_deadline(&mut self, id: CallId, at: Option<Instant>) {
        if let Some(State::Running { deadline, .. }) = self.state_mut(id) {
            *deadline = at;
        }
    }

    /// Begins to collect a request of several frames.
    pub(crate) fn begin_partial(&mut self, accepted: Accepted, shelf: &mut Shelf, part: Part<'_>) {
        self.partial_bytes = self.partial_bytes.saturating_add(part.len());
        let gathered = Gathered::new(shelf, part, true);
        if let Some(state) = self.state_mut(accepted.id) {
            *state = State::Partial(Box::new(Partial { accepted, gathered }));
            self.partial = self.partial.saturating_add(1);
        }
    }

    /// What has come of a request of many frames.
    pub(crate) fn gathered_mut(&mut self, id: CallId) -> Option<&mut Gathered> {
        match self.state_mut(id)? {
            State::Partial(partial) => Some(&mut partial.gathered),
            _ => None,
        }
    }

    /// How many bytes of a request have been collected. `None` when the call has ended, and its
    /// remaining frames are to be dropped.
    pub(crate) fn partial_len(&self, id: CallId) -> Result<Option<usize>, CloseReason> {
        let slot = self.slots.get(id.slot()).filter(|slot| slot.id.is_some_and(|last| id <= last));
        // r[impl data.unexpected]
        let Some(slot) = slot else { return Err(CloseReason::UnexpectedFrame) };
        match &slot.state {
            State::Partial(partial) if slot.id == Some(id) => Ok(Some(partial.gathered.len())),
            State::Running { .. } | State::CancelledEarly if slot.id == Some(id) => {
                Err(CloseReason::UnexpectedFrame)
            }
            // r[impl data.late]
            _ => Ok(None),
        }
    }

    /// Adds a frame to a request. Returns it when that was the last.
    pub(crate) fn add(
        &mut self,
        id: CallId,
        more: bool,
        shelf: &mut Shelf,
        part: Part<'_>,
    ) -> Option<Accepted> {
        let bytes = part.len();
        self.gathered_mut(id)?.add(shelf, part);
        self.partial_bytes = self.partial_bytes.saturating_add(bytes);
        if more {
            return None;
        }
        let Partial { mut accepted, gathered } = *self.take_partial(id)?;
        accepted.body = gathered.into_body(shelf);
        Some(accepted)
    }

    /// Ends a call that will never run. What is still to come of its request is dropped then.
    pub(crate) fn refuse(&mut self, id: CallId) {
        self.take_partial(id);
        self.finish(id);
    }

    fn take_partial(&mut self, id: CallId) -> Option<Box<Partial>> {
        let state = self.state_mut(id)?;
        let partial = match mem::replace(state, State::RUNNING) {
            State::Partial(partial) => partial,
            old => {
                *state = old;
                return None;
            }
        };
        self.partial = self.partial.saturating_sub(1);
        self.partial_bytes = self.partial_bytes.saturating_sub(partial.gathered.len());
        Some(partial)
    }

    /// The terminal frame of a call is going into the outbox. Returns whether that is its place:
    /// `false` for a call that has one already.
    #[inline]
    pub(crate) fn finish(&mut self, id: CallId) -> bool {
        match self.state_mut(id) {
            // r[impl reply.terminal]
            Some(state @ State::Running { .. }) => {
                *state = State::Vacant;
                self.open = self.open.saturating_sub(1);
                true
            }
            Some(State::Vacant) => planted("ended-twice"),
            _ => false,
        }
    }

    /// The reply of a finished call is a large one, which can be taken back until it is drawn.
    pub(crate) fn answering(&mut self, id: CallId) {
        if let Some(state @ State::Vacant) = self.state_mut(id) {
            *state = State::Answering;
        }
    }

    /// The last frame of a large reply was drawn.
    pub(crate) fn answered(&mut self, id: CallId) {
        if let Some(state @ State::Answering) = self.state_mut(id) {
            *state = State::Vacant;
        }
    }

    /// Whether a call's handler is still wanted.
    pub(crate) fn is_running(&self, id: CallId) -> bool {
        let slot = self.slots.get(id.slot()).filter(|slot| slot.id == Some(id));
        slot.is_some_and(|slot| matches!(slot.state, State::Running { .. }))
    }

    /// The deadline of a call whose handler runs and isn't being stopped.
    pub(crate) fn deadline_of(&self, id: CallId) -> Option<Option<Instant>> {
        let slot = self.slots.get(id.slot()).filter(|slot| slot.id == Some(id))?;
        match slot.state {
            State::Running { deadline, stopped: None } => Some(deadline),
            _ => None,
        }
    }

    /// Whether a call has no terminal frame yet.
    pub(crate) fn is_open(&self, id: CallId) -> bool {
        let slot = self.slots.get(id.slot()).filter(|slot| slot.id == Some(id));
        slot.is_some_and(|slot| matches!(slot.state, State::Running { .. } | State::Partial(_)))
    }

    /// Whether there has ever been such a call.
    pub(crate) fn was_open(&self, id: CallId) -> bool {
        let slot = self.slots.get(id.slot());
        id.opener() == self.opener
            && slot.is_some_and(|slot| slot.id.is_some_and(|last| id <= last))
    }

    /// Notes why the handler of a call is being stopped.
    pub(crate) fn note_stop(&mut self, id: CallId, why: ErrorKind) {
        if let Some(State::Running { stopped, .. }) = self.state_mut(id) {
            stopped.get_or_insert(why);
        }
    }

    /// Why the handler of a call is being stopped, if it is.
    pub(crate) fn stop_reason(&mut self, id: CallId) -> Option<ErrorKind> {
        match self.state_mut(id)? {
            State::Running { stopped, .. } => *stopped,
            _ => None,
        }
    }

    /// Counts a cancel. Returns whether there can be a call that it is the only cancel of: one that
    /// has come, or that is under way and has been overtaken.
    pub(crate) fn expects_cancel(&mut self) -> bool {
        self.cancels = self.cancels.saturating_add(1);
        self.cancels <= self.received.saturating_add(self.limit.into())
    }

    /// The peer cancels a call, which may not even have come yet.
    pub(crate) fn cancel(&mut self, id: CallId) -> Result<Stop, CloseReason> {
        let slot = self.slot_mut(id)?;
        match (slot.id, &slot.state) {
            (Some(old), State::Running { .. }) if old == id => Ok(Stop::Handler),
            (Some(old), State::Partial(_)) if old == id => {
                self.refuse(id);
                Ok(Stop::Unrun)
            }
            (Some(old), State::Answering) if old == id => {
                slot.state = State::Vacant;
                Ok(Stop::Reply)
            }
            // r[impl cancel.early]
            (old, State::Vacant)
                if old.is_none_or(|old| old < id) && !planted("early-cancel-forgotten") =>
            {
                slot.id = Some(id);
                slot.state = State::CancelledEarly;
                Ok(Stop::Nothing)
            }
            // r[impl cancel.late]
            // It has ended, and its terminal frame is on its way.
            _ => Ok(Stop::Nothing),
        }
    }

    /// Collects the calls whose deadline is at or before `now`, each once, and returns the earliest
    /// deadline of the others. Those that aren't running yet are incomplete.
    pub(crate) fn expired(&mut self, now: Instant, expired: &mut Vec<CallId>) -> Option<Instant> {
        let mut earliest = None;
        for slot in &mut self.slots {
            let deadline = match &mut slot.state {
                State::Running { deadline, .. } => deadline,
                State::Partial(partial) => &mut partial.accepted.deadline,
                State::Vacant | State::Answering | State::CancelledEarly => continue,
            };
            match *deadline {
                Some(at) if at <= now => {
                    *deadline = None;
                    expired.extend(slot.id);
                }
                at => earliest = super::earlier(earliest, at),
            }
        }
        earliest
    }

    /// The connection has ended: what is missing of incomplete requests will never come.
    pub(crate) fn lose(&mut self) {
        for slot in &mut self.slots {
            if matches!(slot.state, State::Partial(_)) {
                slot.state = State::Vacant;
                self.open = self.open.saturating_sub(1);
            }
        }
        self.partial = 0;
        self.partial_bytes = 0;
    }

    /// Slots that exist.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    #[cfg(any(fuzzing, test))]
    pub(super) fn check_invariants(&self) {
        let (mut open, mut partials, mut partial_bytes) = (0, 0, 0);
        for (at, slot) in self.slots.iter().enumerate() {
            assert!(slot.id.is_none_or(|id| id.slot() == at && id.opener() == self.opener));
            match &slot.state {
                State::Running { .. } => open += 1,
                State::Partial(partial) => {
                    open += 1;
                    partials += 1;
                    partial_bytes += partial.gathered.len();
                }
                State::Vacant | State::Answering | State::CancelledEarly => {}
            }
        }
        assert_eq!((self.open, self.partial), (open, partials));
        assert_eq!(self.partial_bytes, partial_bytes);
        assert!(self.slots.len() <= self.limit as usize);
    }

    /// The earliest deadline of a call that hasn't ended.
    #[cfg(any(fuzzing, test))]
    pub(super) fn earliest(&self) -> Option<Instant> {
        let deadlines = self.slots.iter().filter_map(|slot| match &slot.state {
            State::Running { deadline, .. } => *deadline,
            State::Partial(partial) => partial.accepted.deadline,
            State::Vacant | State::Answering | State::CancelledEarly => None,
        });
        deadlines.min()
    }

    /// Whether no slot is in use, not even by a cancel that came too early.
    #[cfg(any(fuzzing, test, feature = "testing"))]
    pub(super) fn at_rest(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot.state, State::Vacant))
    }

    fn state_mut(&mut self, id: CallId) -> Option<&mut State> {
        let slot = self.slots.get_mut(id.slot()).filter(|slot| slot.id == Some(id))?;
        Some(&mut slot.state)
    }

    /// The slot of a call, made if need be. Memory grows with the slots a peer uses, up to the
    /// number of calls that this side has announced.
    #[inline]
    fn slot_mut(&mut self, id: CallId) -> Result<&mut Slot, CloseReason> {
        let at = id.slot();
        // r[impl call.opener] r[impl call.slot]
        if id.opener() != self.opener || at >= self.limit as usize {
            return Err(CloseReason::BadCallId);
        }
        if at >= self.slots.len() {
            // Many connections have one call at a time.
            if at == 0 {
                self.slots.reserve_exact(1);
            }
            self.slots.resize_with(at.saturating_add(1), Slot::default);
        }
        self.slots.get_mut(at).ok_or(CloseReason::BadCallId)
    }
}

const _: () = assert!(size_of::<Slot>() <= 40, "a peer can make us allocate one of these per slot");
