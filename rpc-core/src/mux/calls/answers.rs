//! What comes for a call of this side: replies, their parts, errors, and what nobody waits for.

use std::{mem, task::Waker};

use super::{Calls, Ending, State, Stray};
use crate::{
    frame::CallId,
    mux::{gathered::Gathered, part::Part, shelf::Shelf},
    planted::planted,
};

impl Calls {
    /// The first frame of a reply, or all of it. `drawn` is the outbox position up to which the
    /// peer may have seen requests.
    #[inline]
    pub(crate) fn reply(
        &mut self,
        id: CallId,
        drawn: u64,
        app_error: bool,
        more: bool,
        shelf: &mut Shelf,
        part: Part<'_>,
    ) -> Result<Option<Waker>, Stray> {
        let slot = self.slots.get_mut(id.slot()).filter(|slot| slot.id == Some(id));
        let Some(slot) = slot else { return Err(Stray::NoCall) };
        match &mut slot.state {
            // r[impl reply.unexpected]
            State::Pending { reply, .. } if reply.gathered.is_some() || slot.leaves_at > drawn => {
                Err(Stray::OutOfPlace)
            }
            State::Pending { reply, .. } if more => {
                reply.app_error = app_error;
                self.partial_bytes = self.partial_bytes.saturating_add(part.len());
                reply.gathered = Some(Box::new(Gathered::new(shelf, part, true)));
                Ok(None)
            }
            State::Pending { reply, .. } => {
                let body = part.into_body(shelf, mem::take(&mut reply.buffer));
                let ending = Ending::Reply { body, app_error };
                match mem::replace(&mut slot.state, State::Done { ending, terminal: true }) {
                    State::Pending { waker, .. } => Ok(Some(waker)),
                    _ => Ok(None),
                }
            }
            _ => {
                // r[impl codec.malformed]
                if app_error || !part.is_empty() {
                    self.note_failed_oneway(id, None);
                }
                self.unwanted(id, more)
            }
        }
    }

    /// What has come of a reply of many frames.
    pub(crate) fn gathered_mut(&mut self, id: CallId) -> Option<&mut Gathered> {
        match &mut self.get(id)?.state {
            State::Pending { reply, .. } => reply.gathered.as_deref_mut(),
            _ => None,
        }
    }

    /// Whether a pending call can't have a reply now: its request hasn't left, or a reply is coming
    /// in already. `drawn` is as for [`reply`](Calls::reply).
    pub(crate) fn is_early(&self, id: CallId, drawn: u64) -> bool {
        let slot = self.slots.get(id.slot()).filter(|slot| slot.id == Some(id));
        slot.is_some_and(|slot| match &slot.state {
            State::Pending { reply, .. } => reply.gathered.is_some() || slot.leaves_at > drawn,
            _ => false,
        })
    }

    /// The reply is a stream. The slot waits for its end.
    pub(crate) fn begin_stream(&mut self, id: CallId, drawn: u64) -> Result<Option<Waker>, Stray> {
        let Some(slot) = self.get(id) else { return Err(Stray::NoCall) };
        match &slot.state {
            // r[impl reply.unexpected]
            State::Pending { reply, .. } if reply.gathered.is_some() || slot.leaves_at > drawn => {
                Err(Stray::OutOfPlace)
            }
            State::Pending { .. } => Ok(self.give_up(id, Ending::Stream, false)),
            // A stream that nobody wants: its items are dropped.
            State::Abandoned | State::Done { terminal: false, .. } => Ok(None),
            State::Vacant | State::Done { .. } => Err(Stray::NoCall),
        }
    }

    /// A further frame of a reply of which [`collected`](Calls::collected) knows the beginning.
    pub(crate) fn reply_more(
        &mut self,
        id: CallId,
        more: bool,
        shelf: &mut Shelf,
        part: Part<'_>,
    ) -> Option<Waker> {
        let slot = self.slots.get_mut(id.slot()).filter(|slot| slot.id == Some(id))?;
        let State::Pending { reply, .. } = &mut slot.state else { return None };
        self.partial_bytes = self.partial_bytes.saturating_add(part.len());
        reply.gathered.as_mut()?.add(shelf, part);
        if more {
            return None;
        }
        let (gathered, app_error) = (reply.gathered.take()?, reply.app_error);
        self.partial_bytes = self.partial_bytes.saturating_sub(gathered.len());
        let ending = Ending::Reply { body: gathered.into_body(shelf), app_error };
        match mem::replace(&mut slot.state, State::Done { ending, terminal: true }) {
            State::Pending { waker, .. } if !planted("large-reply-wakes-nobody") => Some(waker),
            _ => None,
        }
    }

    /// How many bytes of a reply have been collected, if its first frame was and somebody waits for
    /// the others.
    pub(crate) fn collected(&self, id: CallId) -> Option<usize> {
        let slot = self.slots.get(id.slot()).filter(|slot| slot.id == Some(id))?;
        match &slot.state {
            State::Pending { reply, .. } => reply.gathered.as_ref().map(|gathered| gathered.len()),
            _ => None,
        }
    }

    /// Ends a call with `ending` because of a frame, which is the call's terminal frame or not.
    pub(crate) fn fail(
        &mut self,
        id: CallId,
        ending: Ending,
        terminal: bool,
    ) -> Result<Option<Waker>, Stray> {
        let Some(slot) = self.get(id) else { return Err(Stray::NoCall) };
        if !matches!(slot.state, State::Pending { .. }) {
            self.note_failed_oneway(id, ending.delivery());
            return self.unwanted(id, !terminal);
        }
        Ok(self.give_up(id, ending, terminal))
    }

    /// A frame for a call whose caller no longer waits: dropped, and the last one frees the slot.
    pub(crate) fn unwanted(&mut self, id: CallId, more: bool) -> Result<Option<Waker>, Stray> {
        let Some(slot) = self.get(id) else { return Err(Stray::NoCall) };
        match &mut slot.state {
            State::Abandoned | State::Done { terminal: false, .. } if more => Ok(None),
            State::Abandoned if planted("abandoned-slot-kept") => Ok(None),
            State::Abandoned => {
                slot.state = State::Vacant;
                self.release(id);
                Ok(None)
            }
            State::Done { terminal, .. } if !*terminal => {
                *terminal = true;
                Ok(None)
            }
            State::Pending { .. } => Err(Stray::OutOfPlace),
            State::Vacant | State::Done { .. } => Err(Stray::NoCall),
        }
    }
}
