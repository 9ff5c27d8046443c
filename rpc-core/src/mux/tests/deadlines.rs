//! Deadlines on both sides, and what is left of a call whose time is up.

use super::*;

fn within(timeout: Duration) -> Want {
    Want { timeout: Some(timeout), ..Want::default() }
}

/// Lets a deadline of 100 ms pass.
fn too_late(pair: &mut Pair) {
    pair.advance(ms(101));
}

// r[verify request.timeout]
#[test]
fn a_deadline_is_an_instant_here_and_a_span_on_the_wire() {
    let mut pair = Pair::new();
    pair.a.call_with(&within(Duration::from_micros(99_001)));
    pair.drive();
    assert_eq!(pair.b.accepted[0].deadline, Some(pair.now + ms(100)), "rounded up");
    assert_eq!(pair.a.mux.next_timeout(), Some(pair.now + Duration::from_micros(99_001)));
}

#[test]
fn a_call_without_deadline_has_none_over_there() {
    let mut pair = Pair::new();
    pair.a.call("");
    pair.drive();
    assert_eq!(pair.b.accepted[0].deadline, None);
    assert_eq!(pair.b.mux.next_timeout(), None);
}

// r[verify request.timeout]
#[test]
fn a_deadline_beyond_all_measure_is_brought_down_to_thirty_days() {
    let mut pair = Pair::new();
    let huge = Duration::from_secs(1000 * 24 * 3600);
    pair.a.call_with(&within(huge));
    pair.drive();
    assert_eq!(pair.b.accepted[0].deadline, Some(pair.now + super::super::TIMEOUT_MAX));
}

#[test]
fn in_the_outbox_the_request_is_taken_back() {
    let mut pair = Pair::new();
    let id = pair.a.call_with(&within(ms(100)));
    too_late(&mut pair);
    assert_eq!(
        pair.a.end_of(id),
        Some(End::Failed(ErrorKind::DeadlineExceeded, Delivery::NotSent))
    );
    pair.drive();
    assert!(pair.b.accepted.is_empty() && !pair.a.mux.is_busy());
}

#[test]
fn half_way_the_request_is_given_up() {
    let mut pair = Pair::new();
    let id = pair.a.call_with(&Want { body: vec![0; 600_000], ..within(ms(100)) });
    let frames = pair.a.draw_batch();
    pair.b.take_all(&frames);
    too_late(&mut pair);
    assert_eq!(
        pair.a.end_of(id),
        Some(End::Failed(ErrorKind::DeadlineExceeded, Delivery::NotSent))
    );
    assert_eq!(kinds(&pair.a.draw()), "abort");
    assert!(pair.b.accepted.is_empty());
}

#[test]
fn once_sent_the_peer_is_told_to_stop() {
    let mut pair = Pair::new();
    let id = pair.a.call_with(&within(ms(100)));
    pair.drive();
    pair.b.mux.next_timeout().unwrap();
    pair.a.set_time(pair.now + ms(100));
    assert_eq!(
        pair.a.end_of(id),
        Some(End::Failed(ErrorKind::DeadlineExceeded, Delivery::Unknown))
    );
    let frames = pair.a.draw();
    assert_eq!(kinds(&frames), "cancel");
    assert!(pair.a.mux.is_busy(), "the slot waits for the terminal frame");
    pair.b.take_all(&frames);
    pair.b.end_stopped();
    pair.drive();
    assert!(!pair.a.mux.is_busy());
}

#[test]
fn a_reply_after_the_deadline_reaches_nobody() {
    let mut pair = Pair::new();
    let id = pair.a.call_with(&within(ms(100)));
    pair.drive();
    pair.b.echo_all();
    pair.a.set_time(pair.now + ms(100));
    let late = pair.b.draw();
    pair.a.take_all(&late);
    let next = pair.a.call("next");
    assert_ne!(next.slot(), id.slot());
    assert_eq!(
        pair.a.end_of(id),
        Some(End::Failed(ErrorKind::DeadlineExceeded, Delivery::Unknown))
    );
    assert_eq!(pair.a.end_of(next), None);
    assert_eq!(pair.a.mux.strays, 0);
}

// r[verify request.deadline]
#[test]
fn the_handler_is_stopped_at_its_deadline_once() {
    let mut pair = Pair::new();
    let id = pair.a.call_with(&within(ms(100)));
    pair.drive();
    pair.b.set_time(pair.now + ms(101));
    assert_eq!(pair.b.stopped, [(id, ErrorKind::DeadlineExceeded)]);
    pair.b.set_time(pair.now + ms(500));
    assert_eq!(pair.b.stopped.len(), 1);
    pair.b.end_stopped();
    pair.drive();
    assert_eq!(
        pair.a.end_of(id),
        Some(End::Failed(ErrorKind::DeadlineExceeded, Delivery::Unknown))
    );
}

// r[verify request.expired]
#[test]
fn an_expired_request_is_refused_before_it_runs() {
    let mut pair = Pair::new();
    let id = pair.a.call_with(&within(Duration::ZERO));
    pair.drive();
    assert!(pair.b.accepted.is_empty());
    assert_eq!(
        pair.a.end_of(id),
        Some(End::Failed(ErrorKind::DeadlineExceeded, Delivery::Rejected))
    );
}

// r[verify request.expired]
#[test]
fn a_request_whose_end_comes_after_its_deadline_never_runs() {
    for timer in [false, true] {
        let mut pair = Pair::new();
        let id = pair.a.call_with(&Want { body: vec![0; 100_000], ..within(ms(100)) });
        let frames = pair.a.draw();
        let (last, first) = frames.split_last().unwrap();
        pair.b.take_all(first);
        if timer {
            pair.b.set_time(pair.now + ms(101));
            assert_eq!(pair.b.mux.requests.partial_bytes, 0, "the memory is free at once");
        }
        pair.b.now = pair.now + ms(101);
        pair.b.take(last);
        assert!(pair.b.accepted.is_empty() && pair.b.stopped.is_empty());
        pair.drive();
        assert_eq!(
            pair.a.end_of(id),
            Some(End::Failed(ErrorKind::DeadlineExceeded, Delivery::Rejected))
        );
    }
}

#[test]
fn deadlines_are_met_in_whatever_order_they_were_set() {
    let mut pair = Pair::new();
    let waits = [300, 100, 200, 100, 50];
    let ids: Vec<_> = waits.iter().map(|wait| pair.a.call_with(&within(ms(*wait)))).collect();
    for at in (10..=310).step_by(10) {
        pair.a.set_time(pair.now + ms(at));
        for (id, _) in ids.iter().zip(waits).filter(|(_, wait)| *wait + 10 > at && *wait <= at) {
            assert!(pair.a.end_of(*id).is_some(), "after {at} ms");
        }
    }
    assert!(!pair.a.mux.is_busy());
    assert_eq!(pair.a.mux.next_timeout(), None);
}

/// However many deadlines there are, and however close together, looking at them takes a small part
/// of the time.
#[test]
fn looks_at_the_deadlines_keep_a_distance() {
    let mut pair = Pair::new();
    let count = 512;
    for n in 0..count {
        pair.a.call_with(&within(ms(1) + Duration::from_nanos(n)));
    }
    let (mut looks, mut last) = (0, None);
    while let Some(at) = pair.a.mux.next_timeout() {
        let rest = last.map_or(Duration::MAX, |last| at - last);
        assert!(rest >= Duration::from_nanos(50 * count));
        pair.a.set_time(at);
        (looks, last) = (looks + 1, Some(at));
    }
    assert!(looks <= 2, "{looks}");
}
