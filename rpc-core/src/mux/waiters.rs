//! Calls that wait for a place on the connection, first come, first served as long as they have time; no
//! call state.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    task::Waker,
    time::Instant,
};

/// A place in the queue. Never reused within a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// The queue. A waiter is granted a place, woken, and takes the place with its ticket; until then
/// the place is kept for it, so newcomers can't overtake.
///
/// Who has waited half of its time is late, and lets the others pass. With more calls than the peer
/// can run, everybody would else wait until there is no time left to run in, and be answered too late:
/// all places would be taken by calls of no use.
#[derive(Debug)]
pub(crate) struct Waiters {
    /// Everybody who holds a ticket, in the order of their coming. A map, not a ring: whoever
    /// leaves from the middle must not take up room until the front has moved.
    queue: BTreeMap<Ticket, Waiter>,
    /// The ticket of the next waiter.
    next: Ticket,
    /// Nobody with an earlier ticket waits who isn't late: each has been granted a place, has expired
    /// or has left.
    turn: Ticket,
    /// Those who wait and were late when their turn came.
    late: BTreeSet<Ticket>,
    /// The last time that anybody spoke of: with more calls than there are places, not long ago.
    now: Option<Instant>,
    /// Waiters that wait.
    waiting: usize,
    /// Places granted and not yet taken.
    granted: u32,
}

#[derive(Debug)]
struct Waiter {
    state: State,
    needs_hello: bool,
    deadline: Option<Instant>,
    /// When half of its time is over.
    late_from: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Waiting(Waker),
    Granted,
    Expired,
}

/// What became of a waiter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Its place is free: the ticket is used up, the caller must take the place now.
    Granted,
    /// Its deadline passed: the ticket is used up.
    Expired,
    /// It still waits.
    Waiting,
}

impl Waiters {
    pub(crate) fn new() -> Self {
        let first = Ticket(0);
        Self {
            queue: BTreeMap::new(),
            next: first,
            turn: first,
            late: BTreeSet::new(),
            now: None,
            waiting: 0,
            granted: 0,
        }
    }

    pub(crate) fn push(
        &mut self,
        waker: Waker,
        needs_hello: bool,
        now: Instant,
        deadline: Option<Instant>,
    ) -> Ticket {
        let ticket = self.next;
        self.next.0 = self.next.0.saturating_add(1);
        let half = |end: Instant| end.saturating_duration_since(now).checked_div(2);
        let late_from = deadline.and_then(half).and_then(|half| now.checked_add(half));
        let state = State::Waiting(waker);
        self.queue.insert(ticket, Waiter { state, needs_hello, deadline, late_from });
        self.now = Some(now);
        self.waiting = self.waiting.saturating_add(1);
        ticket
    }

    /// Waiters that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Places granted and not yet taken.
    pub(crate) fn granted(&self) -> u32 {
        self.granted
    }

    /// Looks after a waiter. If it waits on, its waker and the one kept change places. A waker that
    /// nobody needs goes to `discarded`, here and below: dropping it is not the lock's business.
    pub(crate) fn poll(
        &mut self,
        ticket: Ticket,
        waker: &mut Waker,
        discarded: &mut Vec<Waker>,
    ) -> Turn {
        if let Some(Waiter { state: State::Waiting(old), .. }) = self.queue.get_mut(&ticket) {
            mem::swap(old, waker);
            return Turn::Waiting;
        }
        if self.leave(ticket, discarded) { Turn::Granted } else { Turn::Expired }
    }

    /// Forgets a waiter. Returns whether a place was kept for it.
    pub(crate) fn leave(&mut self, ticket: Ticket, discarded: &mut Vec<Waker>) -> bool {
        self.late.remove(&ticket);
        match self.queue.remove(&ticket).map(|waiter| waiter.state) {
            Some(State::Granted) => {
                self.granted = self.granted.saturating_sub(1);
                true
            }
            Some(State::Waiting(waker)) => {
                discarded.push(waker);
                self.waiting = self.waiting.saturating_sub(1);
                false
            }
            Some(State::Expired) | None => false,
        }
    }

    /// Grants a place to the waiter whose turn it is, if one waits and, unless the hello has
    /// arrived, doesn't wait for that. Of the late ones it is the last who came, who has the most time.
    pub(crate) fn grant(&mut self, hello_arrived: bool) -> Option<Waker> {
        let ticket = self.next_in_time().or_else(|| self.late.last().copied())?;
        let waiter = self.queue.get_mut(&ticket)?;
        if waiter.needs_hello && !hello_arrived {
            return None;
        }
        let State::Waiting(waker) = &mut waiter.state else { return None };
        let waker = mem::replace(waker, Waker::noop().clone());
        waiter.state = State::Granted;
        if !self.late.remove(&ticket) {
            self.turn.0 = self.turn.0.saturating_add(1);
        }
        self.waiting = self.waiting.saturating_sub(1);
        self.granted = self.granted.saturating_add(1);
        Some(waker)
    }

    /// The first who waits and isn't late. It is its turn; who was before is noted as late.
    fn next_in_time(&mut self) -> Option<Ticket> {
        for (&ticket, waiter) in self.queue.range(self.turn..) {
            if !matches!(waiter.state, State::Waiting(_)) {
                continue;
            }
            if waiter.late_from.is_none_or(|from| self.now.is_none_or(|now| now < from)) {
                self.turn = ticket;
                return Some(ticket);
            }
            self.late.insert(ticket);
        }
        self.turn = self.next;
        None
    }

    /// Expires every waiter whose deadline is at or before `now`, collects their wakers, and
    /// returns the earliest deadline left.
    pub(crate) fn expire(&mut self, now: Instant, wakers: &mut Vec<Waker>) -> Option<Instant> {
        self.now = Some(now);
        let mut earliest = None;
        for (ticket, waiter) in &mut self.queue {
            let State::Waiting(waker) = &mut waiter.state else { continue };
            let Some(deadline) = waiter.deadline else { continue };
            if deadline > now {
                earliest = super::earlier(earliest, Some(deadline));
            } else {
                wakers.push(mem::replace(waker, Waker::noop().clone()));
                waiter.state = State::Expired;
                self.late.remove(ticket);
                self.waiting = self.waiting.saturating_sub(1);
            }
        }
        earliest
    }

    /// Sends everybody away: nothing new is begun on this connection, and each finds that out when
    /// it comes back.
    pub(crate) fn dismiss(&mut self, wakers: &mut Vec<Waker>) {
        for waiter in mem::take(&mut self.queue).into_values() {
            if let State::Waiting(waker) = waiter.state {
                wakers.push(waker);
            }
        }
        self.late.clear();
        (self.waiting, self.granted) = (0, 0);
    }

    #[cfg(any(fuzzing, test))]
    pub(super) fn check_invariants(&self) {
        let count = |is: fn(&State) -> bool| self.queue.values().filter(|w| is(&w.state)).count();
        assert_eq!(self.waiting, count(|state| matches!(state, State::Waiting(_))));
        assert_eq!(self.granted as usize, count(|state| matches!(state, State::Granted)));
        let settled = self.queue.range(..self.turn);
        let waits = settled.filter(|(_, waiter)| matches!(waiter.state, State::Waiting(_)));
        assert!(waits.map(|(ticket, _)| ticket).eq(&self.late), "these and no others are late");
        assert!(self.turn <= self.next);
    }

    /// The earliest deadline of those who wait.
    #[cfg(any(fuzzing, test))]
    pub(super) fn earliest(&self) -> Option<Instant> {
        let waits = |waiter: &&Waiter| matches!(waiter.state, State::Waiting(_));
        self.queue.values().filter(waits).filter_map(|waiter| waiter.deadline).min()
    }

    /// Tickets that are held.
    #[cfg(any(fuzzing, test, feature = "testing"))]
    pub(super) fn held(&self) -> usize {
        self.queue.len()
    }
}
