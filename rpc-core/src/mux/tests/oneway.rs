//! One-way calls: when they end, what is counted afterwards, how long they keep their slot.

use bytes::Buf;

use super::*;
use crate::counters::Counters;

fn oneway(body: impl Into<Vec<u8>>) -> Want {
    Want { body: body.into(), oneway: true, ..Want::default() }
}

/// A pair with a one-way call of `a`, of which nothing was drawn.
fn queued(body: impl Into<Vec<u8>>) -> (Pair, CallId) {
    let mut pair = Pair::new();
    let id = pair.a.call_with(&oneway(body));
    (pair, id)
}

/// The same, drawn, with nothing taken by the transport.
fn drawn(body: impl Into<Vec<u8>>) -> (Pair, CallId) {
    let (mut pair, id) = queued(body);
    pair.a.mux.draw(&mut pair.a.batch);
    (pair, id)
}

/// The same, arrived.
fn arrived() -> (Pair, CallId) {
    let (mut pair, id) = queued("line");
    let request = pair.a.draw();
    pair.b.take_all(&request);
    (pair, id)
}

/// What was counted of calls that failed: one-way, refused, unknown.
fn failed(side: &Side) -> (u64, u64, u64) {
    let Counters { oneways_failed, calls_refused, calls_unknown, .. } = side.mux.counters();
    (oneways_failed, calls_refused, calls_unknown)
}

/// Calls that were sent, one-way ones and others, and a transport that knows that the peer can have heard
/// of the first two at most.
// r[verify delivery.reset]
#[test]
fn calls_that_a_peer_cannot_have_heard_of_count_as_refused() {
    let mut pair = Pair::new();
    let wants = [oneway("1"), Want::default(), oneway("3"), Want::default()];
    let ids = wants.map(|want| {
        let id = pair.a.call_with(&want);
        pair.a.draw();
        (id, pair.a.batch.position())
    });
    let closed = crate::mux::Closed::new(ErrorKind::ConnectionLost, "it was reset");
    let (sent, never_ran_from) = (pair.a.batch.position(), Some(ids[1].1));
    pair.a.mux.handle_lost(closed, sent, never_ran_from);
    pair.a.settle();
    let ends = ids.map(|(id, _)| pair.a.end_of(id).unwrap());
    let [unknown, rejected] = [Delivery::Unknown, Delivery::Rejected].map(End::Lost);
    assert_eq!(ends, [End::Left, unknown, End::Left, rejected]);
    assert_eq!(failed(&pair.a), (2, 2, 2));
}

#[test]
fn it_ends_when_the_last_byte_was_taken_and_not_a_byte_before() {
    for bytes in [0, 1000, BULK_BYTES, 1_000_000] {
        let (mut pair, id) = drawn(vec![7; bytes]);
        let woken = pair.a.wakes.count();
        while pair.a.mux.has_frames() {
            // A large one comes in several batches, and ends in the last.
            assert_eq!(pair.a.mux.next_leaves_at(), None, "{bytes} bytes");
            pair.a.batch.advance(pair.a.batch.remaining());
            pair.a.sent();
            pair.a.mux.draw(&mut pair.a.batch);
        }
        assert!(pair.a.mux.next_leaves_at().is_some(), "{bytes} bytes");
        while pair.a.batch.remaining() > 1 {
            pair.a.batch.advance(pair.a.batch.remaining() / 2);
            pair.a.sent();
            assert_eq!(pair.a.end_of(id), None, "{bytes} bytes");
        }
        assert_eq!(pair.a.wakes.count(), woken);
        pair.a.batch.advance(1);
        pair.a.sent();
        assert_eq!(pair.a.wakes.count(), woken + 1);
        assert_eq!(pair.a.mux.next_leaves_at(), None);
        assert_eq!(pair.a.end_of(id), Some(End::Left), "{bytes} bytes");
    }
}

#[test]
fn they_end_one_by_one_as_far_as_the_transport_has_come() {
    let mut pair = Pair::new();
    let small = pair.a.call_with(&oneway("small"));
    let both_ways = pair.a.call("both ways");
    let large = pair.a.call_with(&oneway(vec![0; 20_000]));
    let last = pair.a.call_with(&oneway("last, and before the large one"));
    pair.a.mux.draw(&mut pair.a.batch);
    for (ended, want) in [(small, 1), (both_ways, 1), (last, 2), (large, 3)] {
        assert!(pair.a.batch.next_frame().is_some());
        pair.a.sent();
        let ids = [small, large, last].into_iter();
        let left = ids.filter(|id| pair.a.mux.calls.has_left(*id));
        assert_eq!(left.count(), want, "after {ended:?}");
    }
    assert_eq!(pair.a.end_of(both_ways), None);
}

#[test]
fn nobody_has_to_say_what_left_when_no_one_way_call_waits() {
    let mut pair = Pair::new();
    pair.a.call("both ways");
    pair.a.mux.draw(&mut pair.a.batch);
    assert_eq!(pair.a.mux.next_leaves_at(), None);
    pair.a.call_with(&oneway("for the next batch"));
    assert_eq!(pair.a.mux.next_leaves_at(), None);
}

#[test]
fn its_slot_is_in_use_until_the_terminal_frame() {
    let one = Limits { calls: 1, ..Limits::default() };
    let mut pair = Pair::with(Limits::default(), one);
    let id = pair.a.call_with(&oneway("first"));
    let ticket = pair.a.wait(&oneway("second"));
    pair.drive();
    assert_eq!(pair.a.end_of(id), Some(End::Left));
    assert!(matches!(pair.a.open(&oneway("second"), Some(ticket)), Opened::Wait(_)));
    pair.b.reply(id, "");
    pair.drive();
    assert!(matches!(pair.a.open(&oneway("second"), Some(ticket)), Opened::Call(_)));
    assert_eq!(failed(&pair.a), (0, 0, 0));
}

/// How a call is answered, and what is counted then.
type Answer = (&'static str, fn(&mut Side, CallId), (u64, u64, u64));

const ANSWERS: &[Answer] = &[
    ("nothing", |b, id| b.reply(id, ""), (0, 0, 0)),
    ("nothing, in two parts", |b, id| parts(b, id, b"", b"", false), (0, 0, 0)),
    ("something", |b, id| b.reply(id, "!"), (1, 0, 0)),
    ("something, in two parts", |b, id| parts(b, id, b"", b"!", false), (1, 0, 0)),
    ("an aborted reply", |b, id| parts(b, id, b"", b"", true), (1, 0, 0)),
    ("too much", |b, id| b.reply(id, vec![0; 2_000_000]), (1, 0, 0)),
    ("an error of the handler", |b, id| finish(b, id, None), (1, 0, 0)),
    ("it never ran", |b, id| finish(b, id, Some(Ran::Never)), (1, 1, 0)),
    ("it may have run", |b, id| finish(b, id, Some(Ran::Maybe)), (1, 0, 1)),
    ("it ran", |b, id| finish(b, id, Some(Ran::Ended)), (1, 0, 0)),
];

/// A reply in two small parts, as no side of ours sends it.
fn parts(b: &mut Side, id: CallId, first: &[u8], second: &[u8], abort: bool) {
    assert!(b.mux.finish(id));
    b.mux.queue_reply(id, false, first);
    b.mux.outbox.append(|out| {
        let start = out.len() - frame::DATA_HEADER_BYTES - first.len();
        frame::set_more(out, start, true);
        if abort {
            frame::encode_abort(out, id.lane());
        } else {
            frame::framed(out, id.lane(), true, |out| {
                frame::encode_data_header(out, false);
                out.extend_from_slice(second);
            });
        }
    });
}

fn finish(b: &mut Side, id: CallId, ran: Option<Ran>) {
    assert!(b.mux.finish(id));
    match ran {
        Some(ran) => b.mux.queue_error(id, ErrorKind::HandlerPanicked, ran, ""),
        None => b.mux.queue_reply(id, true, b"no such user"),
    }
}

#[test]
fn what_it_is_answered_with_after_it_has_left_is_counted_once() {
    for (what, answer, counted) in ANSWERS {
        for looked_at in [false, true] {
            let small = Limits { message_bytes: 1_000_000, ..Limits::default() };
            let mut pair = Pair::with(small, Limits::default());
            let id = pair.a.call_with(&oneway("line"));
            pair.drive();
            if looked_at {
                assert_eq!(pair.a.end_of(id), Some(End::Left), "{what}");
            }
            answer(&mut pair.b, id);
            let answer = pair.b.draw();
            pair.a.take_all(&answer);
            assert_eq!(failed(&pair.a), *counted, "{what}");
            if !looked_at {
                assert_eq!(pair.a.end_of(id), Some(End::Left), "{what}");
            }
            assert!(!pair.a.mux.is_busy(), "{what}: the slot is free");
            assert_eq!((pair.a.mux.strays, pair.a.mux.phase()), (0, &Phase::Open), "{what}");
        }
    }
}

#[test]
fn an_answer_that_comes_before_it_is_known_to_have_left_is_told_to_the_caller() {
    let rejected = End::Failed(ErrorKind::HandlerPanicked, Delivery::Rejected);
    for (refused, end) in [(false, End::Reply(Vec::new())), (true, rejected)] {
        let (mut pair, id) = drawn("line");
        while let Some(frame) = pair.a.batch.next_frame() {
            pair.b.take(&frame);
        }
        if refused {
            finish(&mut pair.b, id, Some(Ran::Never));
        } else {
            pair.b.reply(id, "");
        }
        let answer = pair.b.draw();
        pair.a.take_all(&answer);
        pair.a.sent();
        assert_eq!(pair.a.end_of(id), Some(end));
        assert_eq!(pair.a.mux.counters().oneways_failed, 0);
        assert!(!pair.a.mux.is_busy());
    }
}

#[test]
fn a_reply_that_began_before_it_is_known_to_have_left_is_counted() {
    let (mut pair, id) = drawn("line");
    while let Some(frame) = pair.a.batch.next_frame() {
        pair.b.take(&frame);
    }
    parts(&mut pair.b, id, b"!", b"", false);
    let reply = pair.b.draw();
    assert_eq!(kinds(&reply), "reply… data");
    pair.a.take(&reply[0]);
    pair.a.sent();
    assert_eq!(pair.a.end_of(id), Some(End::Left));
    pair.a.take(&reply[1]);
    assert_eq!(failed(&pair.a), (1, 0, 0));
    assert!(!pair.a.mux.is_busy());
}

#[test]
fn dropping_it_takes_it_back_or_cancels_it_until_it_has_left() {
    let (mut pair, id) = queued("line");
    pair.a.drop_call(id);
    assert_eq!(kinds(&pair.a.draw()), "void");

    let (mut pair, id) = drawn("line");
    pair.a.drop_call(id);
    while pair.a.batch.next_frame().is_some() {}
    pair.a.sent();
    assert_eq!(kinds(&pair.a.draw()), "cancel");

    let (mut pair, id) = arrived();
    pair.a.drop_call(id);
    assert_eq!(kinds(&pair.a.draw()), "");
    assert_eq!(pair.a.mux.counters().calls_cancelled, 0);
    finish(&mut pair.b, id, Some(Ran::Maybe));
    pair.drive();
    assert_eq!(failed(&pair.a), (1, 0, 1), "it had left, so it counts");
    assert!(!pair.a.mux.is_busy());
}

#[test]
fn a_deadline_bounds_the_time_until_it_has_left() {
    let want = Want { timeout: Some(ms(10)), ..oneway("line") };
    let late = |delivery| Some(End::Failed(ErrorKind::DeadlineExceeded, delivery));

    let mut pair = Pair::new();
    let id = pair.a.call_with(&want);
    pair.a.set_time(pair.now + ms(10));
    assert_eq!(pair.a.end_of(id), late(Delivery::NotSent));
    assert_eq!(kinds(&pair.a.draw()), "void");

    let mut pair = Pair::new();
    let id = pair.a.call_with(&want);
    pair.a.mux.draw(&mut pair.a.batch);
    pair.a.set_time(pair.now + ms(10));
    assert_eq!(pair.a.end_of(id), late(Delivery::Unknown));
    while pair.a.batch.next_frame().is_some() {}
    assert_eq!(kinds(&pair.a.draw()), "cancel");

    let mut pair = Pair::new();
    let id = pair.a.call_with(&want);
    pair.drive();
    pair.advance(ms(10));
    assert_eq!(pair.a.end_of(id), Some(End::Left));
    assert_eq!(kinds(&pair.a.draw()), "", "nothing cancels it");
    assert_eq!(pair.b.stopped, [(id, ErrorKind::DeadlineExceeded)], "the peer stops it");
}

#[test]
fn a_lost_connection_says_not_sent_or_nothing() {
    let (mut pair, id) = queued("line");
    pair.a.lose();
    assert_eq!(pair.a.end_of(id), Some(End::Lost(Delivery::NotSent)));

    let (mut pair, id) = drawn("line");
    pair.a.lose();
    assert_eq!(pair.a.end_of(id), Some(End::Lost(Delivery::NotSent)));
    assert_eq!(failed(&pair.a), (0, 0, 0));

    // Taken by the transport, and nobody has said so yet.
    let (mut pair, id) = drawn("line");
    while pair.a.batch.next_frame().is_some() {}
    pair.a.lose();
    assert_eq!(pair.a.end_of(id), Some(End::Left));
    assert_eq!(failed(&pair.a), (1, 0, 1));

    for looked_at in [false, true] {
        let (mut pair, id) = arrived();
        if looked_at {
            assert_eq!(pair.a.end_of(id), Some(End::Left));
        }
        pair.a.mux.handle_closing();
        pair.a.lose();
        assert_eq!(pair.a.end_of(id), (!looked_at).then_some(End::Left));
        assert_eq!(failed(&pair.a), (1, 0, 1), "counted once");
    }
}

#[test]
fn while_the_connection_closes_one_that_is_being_sent_may_still_leave() {
    let (mut pair, id) = drawn("line");
    pair.a.mux.close(CloseReason::ShuttingDown, "");
    pair.a.sent();
    pair.a.mux.handle_closing();
    assert_eq!(pair.a.end_of(id), Some(End::Lost(Delivery::Unknown)));
}

#[test]
fn a_drain_counts_it_and_waits_for_its_answer() {
    let (mut pair, id) = arrived();
    assert_eq!(pair.a.end_of(id), Some(End::Left));
    pair.b.mux.go_away();
    pair.drive();
    assert_eq!(*pair.b.mux.phase(), Phase::Draining { expected: Some(1) });
    assert!(!pair.a.mux.is_drained() && !pair.b.mux.is_drained());
    pair.b.reply(id, "");
    pair.drive();
    assert!(pair.a.mux.is_drained() && pair.b.mux.is_drained());
    assert_eq!(failed(&pair.a), (0, 0, 0));
}

#[test]
fn a_connection_that_nobody_needs_stays_until_it_is_answered() {
    let (mut pair, id) = arrived();
    assert_eq!(pair.a.end_of(id), Some(End::Left));
    pair.b.call("a handler here, which keeps nothing open");
    pair.a.mux.retire();
    pair.drive();
    assert!(!pair.a.mux.is_drained());
    pair.b.reply(id, "");
    pair.drive();
    assert!(pair.a.mux.is_drained());

    let mut pair = Pair::new();
    let cancelled = pair.a.call("");
    pair.drive();
    pair.a.drop_call(cancelled);
    pair.a.mux.retire();
    assert!(matches!(pair.a.mux.phase(), Phase::Closed(_)), "nobody waits for that one");
}
