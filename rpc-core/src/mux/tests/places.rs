//! Places on the connection: the peer's limits, the queue in front of them, who is turned away.

use super::*;
use crate::limits::PeerLimits;

fn limited(calls: u32) -> Limits {
    Limits { calls, ..Limits::default() }
}

/// A pair of which `b` accepts two calls, and both are taken.
fn full() -> (Pair, [CallId; 2]) {
    let mut pair = Pair::with(Limits::default(), limited(2));
    let taken = [pair.a.call("1"), pair.a.call("2")];
    pair.drive();
    (pair, taken)
}

/// Ends one of the calls, so that its place is free.
fn end(pair: &mut Pair, id: CallId) {
    pair.b.reply(id, "");
    pair.drive();
    assert!(pair.a.end_of(id).is_some());
}

#[track_caller]
fn has_turn(side: &mut Side, ticket: Ticket) -> Option<CallId> {
    match side.open(&Want::default(), Some(ticket)) {
        Opened::Call(id) => Some(id),
        Opened::Wait(same) if same == ticket => None,
        other => panic!("neither placed nor waiting: {other:?}"),
    }
}

// r[verify hello.base-limits]
#[test]
fn before_the_hello_the_base_limits_hold() {
    let mut pair = Pair::strangers(Limits::default(), Limits::default());
    for _ in 0..PeerLimits::BASE.calls {
        pair.a.call("");
    }
    let ticket = pair.a.wait(&Want::default());
    pair.drive();
    assert!(has_turn(&mut pair.a, ticket).is_some(), "the hello allows more");
}

// r[verify call.limit]
#[test]
fn a_peer_with_a_low_limit_bears_with_calls_made_before_its_hello() {
    let mut pair = Pair::strangers(Limits::default(), limited(1));
    let ids: Vec<_> = (0..PeerLimits::BASE.calls).map(|_| pair.a.call("")).collect();
    pair.drive();
    assert_eq!(pair.b.accepted.len(), ids.len());
    let ticket = pair.a.wait(&Want::default());
    pair.b.echo_all();
    pair.drive();
    for id in ids {
        assert_eq!(has_turn(&mut pair.a, ticket), None);
        assert!(pair.a.end_of(id).is_some());
    }
    assert!(has_turn(&mut pair.a, ticket).is_some());
    assert!(matches!(pair.a.open(&Want::default(), None), Opened::Wait(_)));
}

// r[verify hello.first] r[verify hello.order]
#[test]
fn nobody_sends_a_call_before_its_own_hello() {
    let mut pair = Pair::strangers(Limits::default(), Limits::default());
    let ticket = pair.b.wait(&Want::default());
    assert_eq!(kinds(&pair.b.draw()), "");
    pair.drive();
    assert!(has_turn(&mut pair.b, ticket).is_some());
    pair.drive();
    assert_eq!(pair.a.accepted.len(), 1);
}

#[test]
fn a_message_beyond_the_base_limit_waits_for_the_hello() {
    let mut pair = Pair::strangers(Limits::default(), Limits::default());
    let want = Want { body: vec![0; PeerLimits::BASE.message_bytes + 1], ..Want::default() };
    let ticket = pair.a.wait(&want);
    pair.drive();
    assert!(matches!(pair.a.open(&want, Some(ticket)), Opened::Call(_)));
}

#[test]
fn a_message_that_the_hello_forbids_passes_its_turn_on() {
    let small = Limits { message_bytes: 1000, calls: 1, ..Limits::default() };
    let mut pair = Pair::strangers(Limits::default(), small);
    let want = Want { body: vec![0; PeerLimits::BASE.message_bytes + 1], ..Want::default() };
    let ticket = pair.a.wait(&want);
    let next = pair.a.wait(&Want::default());
    pair.drive();
    assert_eq!(has_turn(&mut pair.a, next), None);
    let refused = pair.a.open(&want, Some(ticket));
    assert!(matches!(refused, Opened::Refused { kind: ErrorKind::TooLarge, .. }));
    assert!(has_turn(&mut pair.a, next).is_some());
}

#[test]
fn after_a_reconnect_only_idempotent_calls_go_before_the_hello() {
    let mut pair = Pair::strangers(Limits::default(), Limits::default());
    pair.a = Side::of(
        Mux::new(Role::Connector, Settings { cautious: true, ..settings(Limits::default()) }),
        pair.now,
    );
    let idempotent = Want { idempotent: true, ..Want::default() };
    pair.a.call_with(&idempotent);
    let ticket = pair.a.wait(&Want::default());
    pair.a.wait(&idempotent);
    pair.drive();
    assert!(has_turn(&mut pair.a, ticket).is_some());
}

#[test]
fn who_waits_for_the_hello_alone_keeps_the_connection_busy() {
    let mut pair = Pair::strangers(Limits::default(), Limits::default());
    assert!(!pair.a.mux.is_busy());
    let ticket = pair.a.wait(&Want { body: vec![0; 4 * 1024 * 1024], ..Want::default() });
    assert!(pair.a.mux.is_busy() && pair.a.mux.is_at_work());
    pair.drive();
    assert!(has_turn(&mut pair.a, ticket).is_some());
}

#[test]
fn waiting_is_first_come_first_served() {
    let (mut pair, [one, two]) = full();
    let tickets: Vec<_> = (0..3).map(|_| pair.a.wait(&Want::default())).collect();
    end(&mut pair, two);
    assert!(matches!(pair.a.open(&Want::default(), None), Opened::Wait(_)), "no overtaking");
    assert_eq!(has_turn(&mut pair.a, tickets[1]), None);
    assert!(has_turn(&mut pair.a, tickets[0]).is_some());
    assert_eq!(has_turn(&mut pair.a, tickets[2]), None);
    end(&mut pair, one);
    assert_eq!(has_turn(&mut pair.a, tickets[2]), None);
    assert!(has_turn(&mut pair.a, tickets[1]).is_some());
}

#[test]
fn who_has_waited_half_of_its_time_lets_the_others_pass() {
    let (mut pair, [one, two]) = full();
    let hurried = |timeout| Want { timeout: Some(ms(timeout)), ..Want::default() };
    let late = [100, 101].map(|timeout| pair.a.wait(&hurried(timeout)));
    pair.advance(ms(60));
    // One who has time, and one who has all of it.
    let in_time = [hurried(100), Want::default()].map(|want| pair.a.wait(&want));
    let mut turns = Vec::new();
    let mut taken = vec![one, two];
    while let Some(id) = taken.pop() {
        end(&mut pair, id);
        for ticket in in_time.iter().chain(&late) {
            if !turns.contains(ticket)
                && let Some(id) = has_turn(&mut pair.a, *ticket)
            {
                turns.push(*ticket);
                pair.drive();
                taken.push(id);
            }
        }
    }
    assert_eq!(turns, [in_time[0], in_time[1], late[1], late[0]]);
    assert_eq!(pair.a.mux.waiters.held(), 0);
}

#[test]
fn who_is_late_expires_or_leaves_like_the_others() {
    let (mut pair, [one, two]) = full();
    let late: Vec<_> = [100, 200, 300]
        .map(|timeout| pair.a.wait(&Want { timeout: Some(ms(timeout)), ..Want::default() }))
        .into();
    pair.advance(ms(180));
    let next = pair.a.wait(&Want::default());
    // Only now is it seen that they are late.
    end(&mut pair, one);
    assert!(has_turn(&mut pair.a, next).is_some());
    pair.a.mux.leave_queue(late[2]);
    pair.advance(ms(10));
    let refused = pair.a.open(&Want::default(), Some(late[0]));
    assert!(matches!(refused, Opened::Refused { kind: ErrorKind::DeadlineExceeded, .. }));
    end(&mut pair, two);
    assert!(has_turn(&mut pair.a, late[1]).is_some(), "it has some time left");
    assert_eq!(pair.a.mux.waiters.held(), 0);
}

#[test]
fn one_free_place_wakes_one_waiter() {
    let (mut pair, [one, _]) = full();
    let ticket = pair.a.wait(&Want::default());
    let mut others = Vec::new();
    for _ in 0..10 {
        others.push(pair.a.wait(&Want::default()));
    }
    let woken = pair.a.wakes.count();
    end(&mut pair, one);
    assert_eq!(pair.a.wakes.count(), woken + 2, "the caller whose call ended, and one waiter");
    assert!(has_turn(&mut pair.a, ticket).is_some());
}

#[test]
fn a_waiter_that_leaves_passes_its_turn_on() {
    let (mut pair, [one, _]) = full();
    let tickets: Vec<_> = (0..3).map(|_| pair.a.wait(&Want::default())).collect();
    pair.a.mux.leave_queue(tickets[1]);
    end(&mut pair, one);
    assert_eq!(has_turn(&mut pair.a, tickets[2]), None);
    // The first was granted the place, and goes without having taken it.
    pair.a.mux.leave_queue(tickets[0]);
    pair.a.settle();
    assert!(has_turn(&mut pair.a, tickets[2]).is_some());
    assert_eq!(pair.a.mux.waiters.held(), 0);
}

#[test]
fn a_waiter_expires_without_taking_a_place() {
    let (mut pair, [one, _]) = full();
    let hasty = pair.a.wait(&Want { timeout: Some(ms(100)), ..Want::default() });
    let patient = pair.a.wait(&Want::default());
    let woken = pair.a.wakes.count();
    pair.advance(ms(100));
    assert_eq!(pair.a.wakes.count(), woken + 1);
    end(&mut pair, one);
    let refused = pair.a.open(&Want::default(), Some(hasty));
    assert!(matches!(refused, Opened::Refused { kind: ErrorKind::DeadlineExceeded, .. }));
    assert!(has_turn(&mut pair.a, patient).is_some());
    assert_eq!(pair.a.mux.waiters.held(), 0);
}

#[test]
fn too_many_waiters_are_refused() {
    let limits = Limits { waiting_calls: 3, ..Limits::default() };
    let mut pair = Pair::with(limits, limited(1));
    pair.a.call("");
    let tickets: Vec<_> = (0..3).map(|_| pair.a.wait(&Want::default())).collect();
    let refused = pair.a.open(&Want::default(), None);
    assert!(matches!(refused, Opened::Refused { kind: ErrorKind::Overloaded, .. }));
    pair.a.mux.leave_queue(tickets[1]);
    pair.a.wait(&Want::default());
}

#[test]
fn waiters_that_come_and_go_behind_a_patient_one_leave_nothing_behind() {
    let (mut pair, _) = full();
    pair.a.wait(&Want::default());
    for _ in 0..10_000 {
        let ticket = pair.a.wait(&Want::default());
        pair.a.mux.leave_queue(ticket);
    }
    assert_eq!(pair.a.mux.waiters.held(), 1);
}

#[test]
fn calls_wait_while_too_much_is_queued_in_front_of_them() {
    let limits = Limits { outbox_bytes: 10_000, ..Limits::default() };
    let mut pair = Pair::with(limits, Limits::default());
    pair.a.call(vec![0; 120_000]);
    pair.a.call(vec![0; 12_000]);
    let ticket = pair.a.wait(&Want::default());
    pair.drive();
    assert!(has_turn(&mut pair.a, ticket).is_some());
}

#[test]
fn when_nothing_new_may_begin_waiters_are_sent_on() {
    for lost in [false, true] {
        let (mut pair, _) = full();
        let ticket = pair.a.wait(&Want::default());
        let woken = pair.a.wakes.count();
        if lost {
            pair.a.lose();
        } else {
            pair.b.mux.go_away();
            pair.drive();
        }
        assert!(pair.a.wakes.count() > woken);
        assert!(matches!(pair.a.open(&Want::default(), Some(ticket)), Opened::Gone));
        pair.a.mux.leave_queue(ticket);
        assert_eq!(pair.a.mux.waiters.held(), 0);
    }
}

#[test]
fn arguments_above_a_limit_are_not_sent() {
    let small = Limits { message_bytes: 1000, ..Limits::default() };
    for (ours, theirs) in [(small.clone(), Limits::default()), (Limits::default(), small)] {
        let mut pair = Pair::with(ours, theirs);
        let want = Want { body: vec![0; 1001], ..Want::default() };
        let refused = pair.a.open(&want, None);
        assert!(matches!(refused, Opened::Refused { kind: ErrorKind::TooLarge, .. }));
        pair.a.call(vec![0; 1000]);
        pair.drive();
        assert_eq!(pair.b.accepted.len(), 1);
    }
}

#[test]
fn limits_are_brought_into_their_ranges() {
    let silly = Limits { calls: 0, frame_bytes: 1, metadata_bytes: u32::MAX, ..Limits::default() };
    let mut pair = Pair::with(Limits::default(), silly);
    pair.a.call(vec![0; BULK_BYTES]);
    pair.drive();
    assert_eq!(pair.b.accepted.len(), 1);
    let most = Limits { calls: u32::MAX, frame_bytes: u32::MAX, ..Limits::default() };
    Pair::with(most.clone(), most);
}
