//! Calls that wait for a place on the connection, first come, first served; no call state.

use std::{collections::VecDeque, task::Waker, time::Instant};

/// A place in the queue. Never reused within a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// The queue. A waiter is granted a place, woken, and takes the place with its ticket; until then
/// the place is kept for it, so newcomers can't overtake.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    queue: VecDeque<Waiter>,
    /// The ticket number of the front of the queue.
    front: u64,
    /// Waiters that wait.
    waiting: usize,
    /// Places granted and not yet taken.
    granted: u32,
    /// The first waiter in the queue that may still wait: everything before it is settled.
    next: usize,
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
    Gone,
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
    pub(crate) fn push(
        &mut self,
        waker: Waker,
        needs_hello: bool,
        deadline: Option<Instant>,
    ) -> Ticket {
        let ticket = Ticket(self.front + self.queue.len() as u64);
        self.queue.push_back(Waiter { state: State::Waiting(waker), needs_hello, deadline });
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

    /// Looks after a waiter, and keeps its newest waker.
    pub(crate) fn poll(&mut self, ticket: Ticket, waker: &Waker) -> Turn {
        let Some(waiter) = self.get(ticket) else { return Turn::Expired };
        match &mut waiter.state {
            State::Waiting(old) => {
                old.clone_from(waker);
                Turn::Waiting
            }
            State::Granted => {
                waiter.state = State::Gone;
                self.granted -= 1;
                self.trim();
                Turn::Granted
            }
            State::Expired | State::Gone => {
                waiter.state = State::Gone;
                self.trim();
                Turn::Expired
            }
        }
    }

    /// A waiter was dropped. Returns whether a place became free by that.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> bool {
        let Some(waiter) = self.get(ticket) else { return false };
        let was_granted = match std::mem::replace(&mut waiter.state, State::Gone) {
            State::Granted => {
                self.granted -= 1;
                true
            }
            State::Waiting(_) => {
                self.waiting -= 1;
                false
            }
            State::Expired | State::Gone => false,
        };
        self.trim();
        was_granted
    }

    /// Grants a place to the waiter whose turn it is, if one waits and, unless the hello has
    /// arrived, doesn't wait for that.
    pub(crate) fn grant(&mut self, hello_arrived: bool) -> Option<Waker> {
        while let Some(waiter) = self.queue.get_mut(self.next) {
            if let State::Waiting(waker) = &mut waiter.state {
                if waiter.needs_hello && !hello_arrived {
                    return None;
                }
                let waker = std::mem::replace(waker, Waker::noop().clone());
                waiter.state = State::Granted;
                self.waiting -= 1;
                self.granted += 1;
                self.next += 1;
                return Some(waker);
            }
            self.next += 1;
        }
        None
    }

    /// Expires every waiter whose deadline is at or before `now`, collects their wakers, and
    /// returns the earliest deadline left.
    pub(crate) fn expire(&mut self, now: Instant, wakers: &mut Vec<Waker>) -> Option<Instant> {
        let mut earliest = None;
        for waiter in &mut self.queue {
            let State::Waiting(_) = waiter.state else { continue };
            let Some(deadline) = waiter.deadline else { continue };
            if deadline > now {
                earliest = super::earlier(earliest, Some(deadline));
            } else if let State::Waiting(waker) =
                std::mem::replace(&mut waiter.state, State::Expired)
            {
                self.waiting -= 1;
                wakers.push(waker);
            }
        }
        earliest
    }

    /// Wakes everybody: the connection is over, and each will find that out by itself.
    pub(crate) fn wake_all(&mut self, wakers: &mut Vec<Waker>) {
        for waiter in &mut self.queue {
            if let State::Waiting(waker) = &mut waiter.state {
                wakers.push(std::mem::replace(waker, Waker::noop().clone()));
            }
        }
    }

    fn get(&mut self, ticket: Ticket) -> Option<&mut Waiter> {
        let at = usize::try_from(ticket.0.checked_sub(self.front)?).ok()?;
        self.queue.get_mut(at)
    }

    /// Drops settled waiters from the front.
    fn trim(&mut self) {
        while matches!(self.queue.front(), Some(Waiter { state: State::Gone, .. })) {
            self.queue.pop_front();
            self.front += 1;
            self.next = self.next.saturating_sub(1);
        }
    }
}
