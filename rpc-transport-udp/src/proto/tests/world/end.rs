//! One end of a session as the driver runs it, with its queue and its books.

use std::{collections::VecDeque, fmt, time::Instant};

use super::{Books, Parcel, Queue, Script};
use crate::proto::session::{Arrived, Lost, Session, Transmit, Worth};

/// What waits for an end that doesn't take it: as much as a socket's buffer holds.
const WAITING_BYTES_MAX: usize = 200_000;

/// Transmissions in a row that are a livelock.
const TRANSMITS_MAX: usize = 100_000;

/// Timeouts that may follow each other at one instant: a loss that is found, and a probe.
const TIMEOUTS_MAX: usize = 2;

pub(crate) struct End {
    pub(crate) session: Session,
    pub(crate) queue: Queue,
    pub(crate) books: Books,
    /// What this side sends.
    pub(crate) script: Script,
    /// Until then its application takes nothing, while timers go on.
    pub(crate) deaf_until: Option<Instant>,
    waiting: VecDeque<Parcel>,
    waiting_bytes: usize,
    pub(crate) lost: Option<Lost>,
    /// Whether it has said that nothing more comes.
    pub(crate) has_ended: bool,
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End")
            .field("session", &self.session.id())
            .field("state", &self.session.inspect())
            .field("remote", &self.session.remote())
            .field("queued", &self.queue.is_empty())
            .field("books", &self.books)
            .field("deaf_until", &self.deaf_until)
            .field("has_ended", &self.has_ended)
            .field("is_sent", &self.session.is_sent())
            .field("is_received", &self.session.is_received())
            .finish_non_exhaustive()
    }
}

impl End {
    pub(crate) fn new(session: Session, sends: Script, receives: Script) -> Self {
        let mut queue = Queue::default();
        queue.push(0, false, sends.payload(0, 0));
        Self {
            session,
            queue,
            books: Books::new(receives),
            script: sends,
            deaf_until: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            lost: None,
            has_ended: false,
        }
    }

    /// A datagram waits to be taken, if there is room.
    pub(crate) fn deliver(&mut self, parcel: Parcel) {
        if self.waiting_bytes + parcel.bytes.len() <= WAITING_BYTES_MAX {
            self.waiting_bytes += parcel.bytes.len();
            self.waiting.push_back(parcel);
        }
    }

    /// Takes what has come. Returns the datagrams that were of no use.
    pub(crate) fn receive(&mut self, now: Instant) -> Vec<Parcel> {
        let mut rest = Vec::new();
        if self.deaf_until.is_some_and(|until| until > now) {
            return rest;
        }
        self.deaf_until = None;
        while let Some(parcel) = self.waiting.pop_front() {
            self.waiting_bytes -= parcel.bytes.len();
            let Parcel { from, bytes, marked } = &parcel;
            let arrived = Arrived { from: *from, bytes, marked: *marked };
            match self.session.handle_datagram(now, arrived, &mut self.books) {
                Ok(Worth::New) => {}
                Ok(Worth::Nothing) => rest.push(parcel),
                Err(lost) => self.lost = Some(lost),
            }
            self.books.is_closed |= self.session.is_received();
        }
        rest
    }

    /// Says that nothing more comes, once what is queued has been sent.
    pub(crate) fn end(&mut self) {
        if !self.has_ended {
            self.has_ended = true;
            self.queue.push(0, true, self.script.payload(0, 1));
        }
        if self.queue.is_empty() {
            self.session.end();
        }
    }

    /// Does what is due and sends what may be.
    pub(crate) fn send(&mut self, now: Instant, mut out: impl FnMut(Transmit)) {
        for _ in 0..TIMEOUTS_MAX {
            if self.session.poll_timeout().is_some_and(|at| at <= now)
                && let Err(lost) = self.session.handle_timeout(now)
            {
                self.lost = Some(lost);
            }
            self.transmit(now, &mut out);
        }
        let inspected = self.session.inspect();
        assert!(inspected.timer.is_none_or(|at| at > now), "a timer that never waits: {self:?}");
        self.check_bounds();
    }

    fn transmit(&mut self, now: Instant, out: &mut impl FnMut(Transmit)) {
        for sent in 0.. {
            assert!(sent < TRANSMITS_MAX, "it sends without end: {:?}", self.session.inspect());
            if self.has_ended && self.queue.is_empty() {
                self.session.end();
            }
            match self.session.poll_transmit(now, &mut self.queue, 1 + sent % 16) {
                Some(transmit) => out(transmit),
                None => break,
            }
        }
    }

    /// What a session holds is bounded, whatever happens.
    fn check_bounds(&self) {
        let inspected = self.session.inspect();
        assert!(inspected.held_bytes <= 4096 * (1120 + 64) + self.books_bytes_max());
        assert!(inspected.gaps <= 2048 && inspected.ranges <= 64);
        let window = usize::try_from(inspected.congestion_window).unwrap();
        assert!(inspected.sent_entries <= 4096 + window / 40, "{inspected:?}");
        assert!(inspected.window <= 4096);
    }

    fn books_bytes_max(&self) -> usize {
        rpc_core::transport::Inbox::frame_bytes_max(&self.books)
    }

    /// When it is to be looked at next.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.session.poll_timeout().into_iter().chain(self.deaf_until).min()
    }

    /// Whether it has sent all, and got all.
    pub(crate) fn is_complete(&self) -> bool {
        self.session.is_sent() && self.session.is_received()
    }
}
