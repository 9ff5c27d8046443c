//! Calls that wait for a place on the connection, first come, first served; no call state.

use std::{collections::BTreeMap, mem, task::Waker, time::Instant};

/// A place in the queue. Never reused within a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// The queue. A waiter is granted a place, woken, and takes the place with its ticket; until then
/// the place is kept for it, so newcomers can't overtake.
#[derive(Debug)]
pub(crate) struct Waiters {
    /// Everybody who holds a ticket, in the order of their coming. A map, not a ring: whoever
    /// leaves from the middle must not take up room until the front has moved.
    queue: BTreeMap<Ticket, Waiter>,
    /// The ticket of the next waiter.
    next: Ticket,
    /// Nobody with an earlier ticket waits: each has been granted a place, has expired or has left.
    turn: Ticket,
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
        Self { queue: BTreeMap::new(), next: first, turn: first, waiting: 0, granted: 0 }
    }

    pub(crate) fn push(
        &mut self,
        waker: Waker,
        needs_hello: bool,
        deadline: Option<Instant>,
    ) -> Ticket {
        let ticket = self.next;
        self.next.0 += 1;
        self.queue.insert(ticket, Waiter { state: State::Waiting(waker), needs_hello, deadline });
        self.waiting += 1;
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
        match self.queue.remove(&ticket).map(|waiter| waiter.state) {
            Some(State::Granted) => {
                self.granted -= 1;
                true
            }
            Some(State::Waiting(waker)) => {
                discarded.push(waker);
                self.waiting -= 1;
                false
            }
            Some(State::Expired) | None => false,
        }
    }

    /// Grants a place to the waiter whose turn it is, if one waits and, unless the hello has
    /// arrived, doesn't wait for that.
    pub(crate) fn grant(&mut self, hello_arrived: bool) -> Option<Waker> {
        for (&ticket, waiter) in self.queue.range_mut(self.turn..) {
            let State::Waiting(waker) = &mut waiter.state else { continue };
            self.turn = ticket;
            if waiter.needs_hello && !hello_arrived {
                return None;
            }
            self.turn.0 += 1;
            let waker = mem::replace(waker, Waker::noop().clone());
            waiter.state = State::Granted;
            self.waiting -= 1;
            self.granted += 1;
            return Some(waker);
        }
        None
    }

    /// Expires every waiter whose deadline is at or before `now`, collects their wakers, and
    /// returns the earliest deadline left.
    pub(crate) fn expire(&mut self, now: Instant, wakers: &mut Vec<Waker>) -> Option<Instant> {
        let mut earliest = None;
        for waiter in self.queue.values_mut() {
            let State::Waiting(waker) = &mut waiter.state else { continue };
            let Some(deadline) = waiter.deadline else { continue };
            if deadline > now {
                earliest = super::earlier(earliest, Some(deadline));
            } else {
                wakers.push(mem::replace(waker, Waker::noop().clone()));
                waiter.state = State::Expired;
                self.waiting -= 1;
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
        (self.waiting, self.granted) = (0, 0);
    }

    #[cfg(any(fuzzing, test))]
    pub(super) fn check_invariants(&self) {
        let count = |is: fn(&State) -> bool| self.queue.values().filter(|w| is(&w.state)).count();
        assert_eq!(self.waiting, count(|state| matches!(state, State::Waiting(_))));
        assert_eq!(self.granted as usize, count(|state| matches!(state, State::Granted)));
        let mut settled = self.queue.range(..self.turn);
        assert!(!settled.any(|(_, waiter)| matches!(waiter.state, State::Waiting(_))));
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
