//! The first slow start, which ends when round trips become longer (RFC 9406).

use super::*;

/// A path on which `rounds` round trips have taken 100 ms.
fn path(rounds: u32) -> Path {
    let mut path = Path::new(MS * 100);
    for _ in 0..rounds {
        path.round();
    }
    path
}

#[test]
fn the_window_doubles_in_each_round_trip() {
    let mut path = path(0);
    for round in 0..10 {
        assert!(path.congestion.in_slow_start());
        assert_eq!(path.congestion.window(), 12_000 << round);
        path.round();
    }
}

#[test]
fn the_window_stops_at_its_bound() {
    let path = path(20);
    assert_eq!(path.congestion.window(), WINDOW_MAX_BYTES);
}

#[test]
fn longer_round_trips_end_it_after_five_cautious_rounds() {
    let mut path = path(4);
    path.rtt = MS * 113;
    let mut rounds = 0;
    while path.congestion.in_slow_start() {
        let before = path.datagrams();
        path.round();
        rounds += 1;
        let growth = path.datagrams() / before;
        // The first seven samples of the first round are no verdict yet.
        assert!((1.2..1.4).contains(&growth), "round {rounds}: {growth}");
    }
    assert_eq!(rounds, 5);
    // Where it ended is the plateau: growth begins slowly.
    let before = path.datagrams();
    path.round();
    assert!(path.datagrams() < before + 2.0);
    assert!(path.congestion.recovery_start.is_none(), "nothing was lost");
}

#[test]
fn round_trips_that_are_hardly_longer_change_nothing() {
    let mut path = path(4);
    path.rtt = MS * 112;
    path.round();
    assert_eq!(path.congestion.window(), 12_000 << 5);
}

#[test]
fn a_jitter_below_four_milliseconds_isnt_seen_on_short_paths() {
    for (rtt, cautious) in [(4900, false), (5100, true)] {
        let mut path = Path::new(MS);
        path.round();
        path.round();
        path.rtt = Duration::from_micros(rtt);
        path.round();
        assert_eq!(path.datagrams() < 75.0, cautious);
    }
}

#[test]
fn a_false_alarm_is_taken_back() {
    let mut path = path(4);
    path.rtt = MS * 150;
    path.round();
    path.rtt = MS * 100;
    path.round();
    let before = path.datagrams();
    path.round();
    assert_eq!(path.datagrams().floor(), (before + before.floor()).floor());
    assert!(path.congestion.in_slow_start());
}

#[test]
fn seven_samples_are_no_verdict() {
    let mut path = path(1);
    path.rtt = MS * 500;
    let before = path.congestion.window();
    path.sends(7);
    let sent = path.now;
    path.now += path.rtt;
    path.acks(7, sent, false);
    assert_eq!(path.congestion.window(), before + 7 * 1200);
}

#[test]
fn it_ends_also_while_the_window_isnt_used() {
    let mut path = path(4);
    path.rtt = MS * 150;
    for _ in 0..5 {
        path.sends(20);
        path.acks(20, path.now, true);
    }
    assert!(!path.congestion.in_slow_start());
    assert_eq!(path.congestion.window(), 12_000 << 4);
}

#[test]
fn later_slow_starts_double_whatever_round_trips_take() {
    let mut path = path(6);
    assert!(path.congestion.on_congestion(path.now, path.now));
    path.congestion.on_persistent_congestion(path.now);
    path.now += MS;
    for round in 0..4 {
        assert_eq!(path.congestion.window(), 2400 << round);
        path.rtt *= 2;
        path.round();
    }
}
