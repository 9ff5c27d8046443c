//! Peers that have gone silent: when they are pinged, and when they are given up.

use super::*;

/// A side that pings after 4 s of silence and gives up after 4 s more, and its peer.
fn watchful() -> Pair {
    let mut pair = Pair::strangers(Limits::default(), Limits::default());
    let settings =
        Settings { keepalive: Some(Keepalive::default()), ..settings(Limits::default()) };
    pair.a = Side::of(Mux::new(Role::Connector, settings), pair.now);
    pair.drive();
    pair
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
