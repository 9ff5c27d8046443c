//! Peers that have gone silent: when they are pinged, and when they are given up. Those that owe an answer, and
//! those that are owed one.

use super::*;

/// Two sides with these keepalives.
fn pair_of(connector: Option<Keepalive>, acceptor: Option<Keepalive>) -> Pair {
    let mut pair = Pair::strangers(Limits::default(), Limits::default());
    let sides =
        [(Role::Connector, connector, &mut pair.a), (Role::Acceptor, acceptor, &mut pair.b)];
    for (role, keepalive, side) in sides {
        let settings = Settings { keepalive, ..settings(Limits::default()) };
        *side = Side::of(Mux::new(role, settings), pair.now);
    }
    pair.drive();
    pair
}

/// A side that pings after 4 s of silence and gives up after 4 s more, and its peer.
fn watchful() -> Pair {
    pair_of(Some(Keepalive::default()), None)
}

/// A peer that never pings, and a side that runs its requests and pings after 30 s of silence.
fn watchful_server() -> Pair {
    pair_of(None, Some(Keepalive::default()))
}

fn endless() -> Want {
    Want::default()
}

// r[verify ping.silence]
#[test]
fn a_peer_that_owes_nothing_is_left_alone() {
    let mut pair = watchful();
    pair.advance(Duration::from_secs(3600));
    assert_eq!(kinds(&pair.a.draw()), "");
    assert_eq!(pair.a.mux.next_timeout(), None, "an idle connection has no timer");
}

#[test]
fn silence_counts_from_the_first_call() {
    let mut pair = watchful();
    pair.advance(Duration::from_secs(3600));
    pair.a.call_with(&endless());
    assert_eq!(kinds(&pair.a.draw()), "request");
    pair.advance(ms(3999));
    assert_eq!(kinds(&pair.a.draw()), "");
    pair.advance(ms(1));
    assert_eq!(kinds(&pair.a.draw()), "ping");
}

#[test]
fn a_pong_is_proof_of_life() {
    let mut pair = watchful();
    let id = pair.a.call_with(&endless());
    pair.drive();
    for _ in 0..10 {
        pair.advance(Duration::from_secs(4));
        let ping = pair.a.draw();
        assert_eq!(kinds(&ping), "ping");
        pair.b.take_all(&ping);
        pair.drive();
        pair.advance(ms(100));
        assert_eq!(kinds(&pair.a.draw()), "");
    }
    assert_eq!(*pair.a.mux.phase(), Phase::Open);
    assert_eq!(pair.a.end_of(id), None);
}

// r[verify ping.silence]
#[test]
fn a_peer_that_does_not_react_is_given_up() {
    let mut pair = watchful();
    let id = pair.a.call_with(&endless());
    pair.a.draw();
    pair.advance(Duration::from_secs(4));
    assert_eq!(kinds(&pair.a.draw()), "ping");
    pair.advance(ms(3999));
    assert_eq!(*pair.a.mux.phase(), Phase::Open);
    pair.advance(ms(1));
    assert_eq!(kinds(&pair.a.draw()), "close");
    let Phase::Closed(closed) = pair.a.mux.phase() else { panic!("it goes on waiting") };
    assert_eq!(closed.kind, ErrorKind::ConnectionLost);
    assert!(closed.text.ends_with("the peer did not answer in time"), "{}", closed.text);
    pair.a.mux.handle_closing();
    pair.a.settle();
    assert_eq!(pair.a.end_of(id), Some(End::Lost(Delivery::Unknown)));
}

#[test]
fn anything_the_peer_says_puts_the_ping_off() {
    let mut pair = watchful();
    let first = pair.a.call_with(&endless());
    pair.a.call_with(&endless());
    pair.drive();
    pair.advance(ms(3000));
    pair.b.reply(first, "one of two");
    pair.drive();
    pair.advance(ms(3999));
    assert_eq!(kinds(&pair.a.draw()), "");
    pair.advance(ms(1));
    assert_eq!(kinds(&pair.a.draw()), "ping");
}

#[test]
fn a_deadline_that_passes_in_silence_pings_at_once() {
    let mut pair = watchful();
    pair.a.call_with(&Want { timeout: Some(ms(100)), ..Want::default() });
    pair.a.call_with(&endless());
    pair.a.draw();
    pair.advance(ms(101));
    assert_eq!(kinds(&pair.a.draw()), "cancel ping");
}

// r[verify ping.requests]
#[test]
fn a_peer_whose_request_is_at_work_is_given_up_after_a_minute_of_silence() {
    let mut pair = watchful_server();
    pair.a.call_with(&endless());
    pair.drive();
    pair.advance(ms(29_999));
    assert_eq!(kinds(&pair.b.draw()), "");
    pair.advance(ms(1));
    assert_eq!(kinds(&pair.b.draw()), "ping");
    pair.advance(ms(29_999));
    assert_eq!(*pair.b.mux.phase(), Phase::Open);
    pair.advance(ms(1));
    assert_eq!(kinds(&pair.b.draw()), "close");
}

// r[verify ping.requests]
#[test]
fn a_peer_that_waits_and_pings_is_not_pinged() {
    let mut pair = pair_of(Some(Keepalive::default()), Some(Keepalive::default()));
    pair.a.call_with(&endless());
    pair.drive();
    for _ in 0..1000 {
        pair.advance(ms(4000));
        let (of_a, of_b) = (pair.a.draw(), pair.b.draw());
        assert_eq!((kinds(&of_a).as_str(), kinds(&of_b).as_str()), ("ping", ""));
        pair.b.take_all(&of_a);
        pair.drive();
    }
}

// r[verify ping.requests]
#[test]
fn a_peer_that_is_owed_nothing_is_not_pinged_whatever_it_has_begun() {
    let mut pair = watchful_server();
    let done = pair.a.call_with(&endless());
    pair.drive();
    pair.b.reply(done, "done");
    pair.drive();
    assert_eq!(pair.b.mux.next_timeout(), None);
    pair.a.call_with(&Want { body: vec![7; 1 << 20], ..Want::default() });
    let first = pair.a.draw().swap_remove(0);
    pair.b.take(&first);
    assert!(pair.b.mux.is_busy() && !pair.b.mux.is_at_work(), "half a request");
    pair.advance(Duration::from_secs(3600));
    assert_eq!(kinds(&pair.b.draw()), "");
}

// r[verify ping.requests]
#[test]
fn a_side_that_waits_as_well_does_not_wait_longer() {
    let mut pair = watchful_server();
    pair.a.call_with(&endless());
    pair.drive();
    pair.b.call_with(&endless());
    pair.drive();
    pair.advance(ms(4000));
    assert_eq!(kinds(&pair.b.draw()), "ping");
}

// r[verify ping.requests]
#[test]
fn who_is_patient_with_its_own_calls_is_as_patient_with_requests() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let mut pair = pair_of(None, Some(Keepalive { silence: minutes(1), answer: minutes(2) }));
    pair.a.call_with(&endless());
    pair.drive();
    pair.advance(minutes(1) - ms(1));
    assert_eq!(kinds(&pair.b.draw()), "");
    pair.advance(ms(1));
    assert_eq!(kinds(&pair.b.draw()), "ping");
    pair.advance(minutes(2) - ms(1));
    assert_eq!(kinds(&pair.b.draw()), "");
    pair.advance(ms(1));
    assert_eq!(kinds(&pair.b.draw()), "close");
    // And who never pings never does.
    let mut pair = pair_of(None, None);
    pair.a.call_with(&endless());
    pair.drive();
    pair.advance(minutes(60));
    assert_eq!((kinds(&pair.b.draw()).as_str(), pair.b.mux.next_timeout()), ("", None));
}
