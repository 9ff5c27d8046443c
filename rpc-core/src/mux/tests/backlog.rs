//! Requests that wait to be started because the peer doesn't take its replies.

use super::*;
use crate::mux::Start;

/// `b` runs requests as tasks do: it asks first, and holds what may not start.
impl Side {
    fn hold(&mut self, id: CallId, bytes: usize) -> Start {
        self.mux.hold(bytes);
        self.ask(id, bytes)
    }

    fn ask(&mut self, id: CallId, bytes: usize) -> Start {
        let waker = self.waker();
        let start = self.mux.may_start(id, bytes, &waker);
        self.settle();
        start
    }

    fn start_next(&mut self) {
        self.mux.start_next();
        self.settle();
    }
}

/// Four requests of `a` that `b` has. The replies to the first, and to one before it, have filled the
/// outbox: the largest message in it doesn't count.
fn full() -> (Pair, Vec<CallId>) {
    let limits = Limits { reply_bytes: 300_000, held_bytes: 1000, ..Limits::default() };
    let mut pair = Pair::with(Limits::default(), limits);
    let largest = pair.a.call("abc");
    let ids: Vec<_> = (0..4).map(|_| pair.a.call("abc")).collect();
    pair.a.draw().iter().for_each(|frame| pair.b.take(frame));
    for id in [largest, ids[0]] {
        assert_eq!(pair.b.hold(id, 3), Start::Now);
        pair.b.reply(id, vec![7; 300_000]);
    }
    (pair, ids)
}

#[test]
fn they_start_one_by_one_in_their_order_as_the_peer_takes_replies() {
    let (mut pair, ids) = full();
    for id in [ids[2], ids[1], ids[3]] {
        assert_eq!(pair.b.hold(id, 3), Start::Wait);
    }
    pair.b.start_next();
    assert_eq!(pair.b.wakes.count(), 0, "nothing was taken yet");
    pair.b.draw_batch();
    assert_eq!(pair.b.wakes.count(), 1);
    assert_eq!(pair.b.mux.backlog.oldest(), Some(ids[2]), "the oldest is the one that was woken");
    assert_eq!(pair.b.ask(ids[1], 3), Start::Now);
    // Its first poll is over, and there is still room.
    pair.b.start_next();
    assert_eq!(pair.b.wakes.count(), 2);
    assert_eq!(pair.b.ask(ids[2], 3), Start::Now);
    // Its reply fills the room again: the third has to wait until that is taken.
    pair.b.reply(ids[2], vec![7; 300_000]);
    pair.b.start_next();
    assert_eq!(pair.b.wakes.count(), 2);
    pair.b.draw();
    assert_eq!(pair.b.wakes.count(), 3);
    assert_eq!(pair.b.ask(ids[3], 3), Start::Now);
    assert!(pair.b.mux.backlog.is_empty());
}

#[test]
fn one_that_is_stopped_while_it_waits_never_ran() {
    let (mut pair, ids) = full();
    assert_eq!(pair.b.hold(ids[1], 3), Start::Wait);
    pair.b.mux.release(ids[1], 3);
    pair.b.mux.note_stop(ids[1], ErrorKind::DeadlineExceeded);
    pair.b.mux.end_stopped(ids[1], Ran::Never);
    pair.b.settle();
    assert!(pair.b.mux.backlog.is_empty());
    assert_eq!(pair.b.ask(ids[1], 0), Start::Never);
    pair.drive();
    let rejected = End::Failed(ErrorKind::DeadlineExceeded, Delivery::Rejected);
    assert_eq!(pair.a.end_of(ids[1]), Some(rejected));
}

// r[verify message.reassembly]
#[test]
fn what_they_hold_counts_against_the_limit() {
    let (mut pair, ids) = full();
    assert_eq!(pair.b.hold(ids[1], 990), Start::Wait);
    let (fits, exceeds) = (pair.a.call([1; 10]), pair.a.call([1; 11]));
    pair.drive();
    assert_eq!(pair.a.end_of(fits), None);
    let refused = End::Failed(ErrorKind::Overloaded, Delivery::Rejected);
    assert_eq!(pair.a.end_of(exceeds), Some(refused));
    // Once it has started, there is nothing to hold.
    assert_eq!(pair.b.ask(ids[1], 990), Start::Now);
    let id = pair.a.call([1; 2000]);
    pair.drive();
    assert_eq!(pair.a.end_of(id), None);
}

#[test]
fn none_starts_when_the_connection_is_gone() {
    let (mut pair, ids) = full();
    assert_eq!(pair.b.hold(ids[1], 3), Start::Wait);
    pair.b.lose();
    assert_eq!(pair.b.ask(ids[1], 3), Start::Never);
    pair.b.mux.release(ids[1], 3);
    assert!(pair.b.mux.backlog.is_empty());
}
