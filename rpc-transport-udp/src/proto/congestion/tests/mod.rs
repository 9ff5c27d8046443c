//! The window in single situations; flows that share a path are in `fairness`.

mod fairness;
mod slow_start;

use proptest::{collection::vec, prelude::*};

use super::*;

const DATAGRAM: u16 = 1200;
const MS: Duration = Duration::from_millis(1);

/// A path without limits, on which everything in a window is sent and acknowledged together.
struct Path {
    congestion: Congestion,
    now: Instant,
    rtt: Duration,
    number: u64,
}

impl Path {
    fn new(rtt: Duration) -> Self {
        Self { congestion: Congestion::new(DATAGRAM), now: Instant::now(), rtt, number: 0 }
    }

    /// One whose last loss was with a window of `datagrams`, and is over.
    fn after_loss(rtt: Duration, datagrams: u64) -> Self {
        let mut path = Self::new(rtt);
        path.congestion.window = (datagrams * u64::from(DATAGRAM)) as f64;
        assert!(path.congestion.on_congestion(path.now, path.now - rtt));
        path.now += MS;
        path
    }

    fn datagrams(&self) -> f64 {
        self.congestion.window / f64::from(DATAGRAM)
    }

    fn sends(&mut self, packets: u64) {
        for _ in 0..packets {
            self.number += 1;
            self.congestion.on_sent(self.number);
        }
    }

    /// One ACK for each of `packets` packets, all sent at `sent`.
    fn acks(&mut self, packets: u64, sent: Instant, app_limited: bool) {
        let first = self.number.saturating_sub(packets);
        for packet in 1..=packets {
            self.congestion.on_acked(sent, u64::from(DATAGRAM));
            let rtt = self.rtt;
            self.congestion.on_ack_end(self.now, first + packet, Some(rtt), rtt, app_limited);
        }
    }

    /// A round trip in which the window is full.
    fn round(&mut self) {
        let packets = self.congestion.window() / u64::from(DATAGRAM);
        self.sends(packets);
        let sent = self.now;
        self.now += self.rtt;
        self.acks(packets, sent, false);
    }
}

#[track_caller]
fn assert_near(found: f64, expected: f64, tolerance: f64) {
    assert!((found / expected - 1.0).abs() <= tolerance, "{found} isn't near {expected}");
}

// r[verify congestion.window]
#[test]
fn the_first_window_is_ten_datagrams_or_somewhat_more_than_fourteen_thousand_bytes() {
    let window = |datagram| Congestion::new(datagram).window();
    assert_eq!(window(1200), 12_000);
    assert_eq!(window(1452), 14_520);
    assert_eq!(window(1500), 14_720);
    assert_eq!(window(9000), 18_000);
    assert_eq!(window(0), 10);
}

#[test]
fn a_loss_leaves_seven_tenths() {
    let mut path = Path::new(MS * 100);
    path.round();
    assert!(path.congestion.on_congestion(path.now, path.now));
    assert_eq!(path.congestion.window(), 24_000 * 7 / 10);
    assert!(!path.congestion.in_slow_start());
}

#[test]
fn no_number_of_losses_leaves_less_than_two_datagrams() {
    let mut path = Path::new(MS * 100);
    for _ in 0..100 {
        path.now += MS;
        assert!(path.congestion.on_congestion(path.now, path.now));
    }
    assert_eq!(path.congestion.window(), 2400);
    // It grows again from there.
    path.now += MS;
    path.round();
    assert!(path.congestion.window() > 2400);
}

#[test]
fn there_is_one_cut_in_a_round_trip() {
    let mut path = Path::new(MS * 100);
    let sent = path.now;
    path.now += MS * 100;
    assert!(path.congestion.on_congestion(path.now, sent));
    let cut = path.congestion.window();
    assert!(!path.congestion.on_congestion(path.now + MS, sent + MS * 50));
    assert!(!path.congestion.on_congestion(path.now + MS * 99, path.now));
    assert_eq!(path.congestion.window(), cut);
    assert!(path.congestion.on_congestion(path.now + MS * 100, path.now + MS));
    assert_eq!(path.congestion.window(), cut * 7 / 10);
}

#[test]
fn what_was_sent_before_a_cut_grows_nothing() {
    let mut path = Path::new(MS * 100);
    path.sends(10);
    let sent = path.now;
    path.now += MS * 100;
    // The same ACK that shows the loss.
    path.congestion.on_acked(sent, 1200);
    assert!(path.congestion.on_congestion(path.now, sent));
    let cut = path.congestion.window();
    path.acks(9, sent, false);
    assert_eq!(path.congestion.window(), cut);
}

/// A CE mark comes with an acknowledgement: nothing is lost, and the window shrinks all the same.
// r[verify congestion.ecn]
#[test]
fn a_mark_counts_as_a_loss() {
    let mut path = Path::new(MS * 100);
    path.sends(10);
    let sent = path.now;
    path.now += MS * 100;
    for packet in 1..=10 {
        path.congestion.on_acked(sent, 1200);
        assert_eq!(path.congestion.on_congestion(path.now, sent), packet == 1);
        path.congestion.on_ack_end(path.now, packet, Some(path.rtt), path.rtt, false);
    }
    assert_eq!(path.congestion.window(), 12_000 * 7 / 10);
}

#[test]
fn persistent_congestion_begins_again_with_two_datagrams() {
    let mut path = Path::new(MS * 100);
    path.round();
    let sent = path.now;
    path.now += MS * 2000;
    assert!(path.congestion.on_congestion(path.now, sent));
    path.congestion.on_persistent_congestion(path.now);
    assert_eq!(path.congestion.window(), 2400);
    assert!(path.congestion.in_slow_start());
    // More losses of that time change nothing.
    assert!(!path.congestion.on_congestion(path.now + MS, path.now));
    // Slow start goes up to what a single loss would have left, and not beyond.
    let threshold = 24_000.0 * BETA / f64::from(DATAGRAM);
    let mut rounds = 0;
    path.now += MS;
    while path.congestion.in_slow_start() {
        let before = path.datagrams();
        path.round();
        rounds += 1;
        // The last acknowledgements of the last round are congestion avoidance.
        assert!(path.datagrams() <= (2.0 * before).min(threshold + 1.0));
    }
    assert_eq!(rounds, 3);
    // There is no plateau above: the window grows from where it is.
    let before = path.datagrams();
    path.round();
    assert!(path.datagrams() > before);
}

#[test]
fn after_persistent_congestion_the_old_plateau_is_forgotten() {
    let mut path = Path::after_loss(MS * 100, 1000);
    path.congestion.on_persistent_congestion(path.now);
    path.now += MS;
    // However much is acknowledged at once, slow start ends at its threshold.
    path.congestion.on_acked(path.now, 10_000_000);
    path.congestion.on_ack_end(path.now, 0, None, path.rtt, false);
    assert_near(path.datagrams(), 700.0, 1e-9);
    assert!(!path.congestion.in_slow_start());
    path.round();
    let start = path.now;
    for _ in 0..60 {
        path.round();
    }
    let t = (path.now - start).as_secs_f64();
    assert_near(path.datagrams(), cubic(700.0, 700.0, t), 0.02);
}

#[test]
fn a_window_that_isnt_used_doesnt_grow() {
    let mut path = Path::new(MS * 100);
    path.sends(100);
    path.acks(100, path.now, true);
    assert_eq!(path.congestion.window(), 12_000);

    let mut path = Path::after_loss(MS * 100, 1000);
    let before = path.congestion.window();
    path.sends(100);
    path.acks(100, path.now, true);
    assert_eq!(path.congestion.window(), before);
}

/// A window of `datagrams` that is used `rounds` times after a loss, with a pause after `pause`.
fn growth_with_pause(rounds: u32, pause: u32) -> f64 {
    let mut path = Path::after_loss(MS * 100, 1000);
    for round in 0..rounds {
        path.round();
        if round == pause {
            path.acks(1, path.now, true);
            path.now += MS * 60_000;
        }
    }
    path.datagrams()
}

#[test]
fn time_in_which_the_window_isnt_used_doesnt_count() {
    // The first acknowledgement after a pause ends it; that's the round trip which is missing.
    let (without, fewer) = (growth_with_pause(60, u32::MAX), growth_with_pause(59, u32::MAX));
    let with = growth_with_pause(60, 30);
    assert!((fewer - 0.01..=without).contains(&with), "{fewer} {with} {without}");
}

/// RFC 9438, section 4.2, in datagrams.
fn cubic(plateau: f64, start: f64, t: f64) -> f64 {
    let k = ((plateau - start) / 0.4).cbrt();
    0.4 * (t - k).powi(3) + plateau
}

#[test]
fn the_window_grows_as_the_cubic_function_does() {
    for (rtt, datagrams) in [(100, 1000), (200, 5000), (50, 5000)] {
        let mut path = Path::after_loss(MS * rtt, datagrams);
        let plateau = datagrams as f64;
        path.round();
        let start = path.now;
        for _ in 0..30_000 / rtt {
            path.round();
            let t = (path.now - start).as_secs_f64();
            let expected = cubic(plateau, 0.7 * plateau, t).min(WINDOW_MAX_BYTES as f64 / 1200.0);
            assert_near(path.datagrams(), expected, 0.02);
        }
        assert!(path.datagrams() > plateau);
    }
}

#[test]
fn on_short_paths_the_window_grows_as_renos_does() {
    let mut path = Path::after_loss(MS * 10, 100);
    // 0.53 datagrams a round trip until it is as large as before, then 1.
    for round in 1..=56 {
        path.round();
        assert_near(path.datagrams(), 70.0 + f64::from(round) * 0.9 / 1.7, 0.01);
    }
    let before = path.datagrams();
    assert_near(before, 100.0, 0.01);
    for _ in 0..20 {
        path.round();
    }
    assert_near(path.datagrams(), before + 20.0, 0.01);
}

#[test]
fn who_loses_below_the_plateau_leaves_room_for_others() {
    let mut path = Path::after_loss(MS * 100, 1000);
    path.round();
    assert!(path.congestion.on_congestion(path.now, path.now));
    path.now += MS;
    // The new plateau is 0.85 of the 700 at which the second loss came.
    path.round();
    let start = path.now;
    for _ in 0..60 {
        path.round();
        let t = (path.now - start).as_secs_f64();
        assert_near(path.datagrams(), cubic(595.0, 490.0, t), 0.02);
    }
}

#[test]
fn an_ack_of_many_packets_grows_no_more_than_many_acks() {
    let mut one = Path::after_loss(MS * 100, 1000);
    let mut many = Path::after_loss(MS * 100, 1000);
    many.congestion.recovery_start = one.congestion.recovery_start;
    many.now = one.now;
    for _ in 0..50 {
        many.round();
        let sent = one.now;
        one.now += one.rtt;
        one.congestion.on_acked(sent, one.congestion.window());
        one.congestion.on_ack_end(one.now, 0, Some(one.rtt), one.rtt, false);
        assert_near(one.datagrams(), many.datagrams(), 0.01);
    }
    // Nor does one for more than a window.
    let sent = one.now;
    one.now += one.rtt;
    one.congestion.on_acked(sent, u64::MAX);
    one.congestion.on_ack_end(one.now, 0, None, one.rtt, false);
    many.round();
    assert_near(one.datagrams(), many.datagrams(), 0.01);
}

#[test]
fn larger_datagrams_have_a_larger_least_window() {
    let mut path = Path::new(MS * 100);
    path.congestion.on_mtu_change(1452);
    assert_eq!(path.congestion.window(), 12_000);
    path.congestion.on_persistent_congestion(path.now);
    assert_eq!(path.congestion.window(), 2 * 1452);
    path.congestion.on_mtu_change(9000);
    assert_eq!(path.congestion.window(), 18_000);
    path.congestion.on_mtu_change(1200);
    path.congestion.on_persistent_congestion(path.now + MS);
    assert_eq!(path.congestion.window(), 2400);
}

#[derive(Debug, Clone)]
enum Op {
    Acked { age: u64, bytes: u64 },
    AckEnd { largest: u64, sample: Option<u64>, srtt: u64, app_limited: bool },
    Congestion { age: u64 },
    Persistent,
    Mtu(u16),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = prop_oneof![9 => 0..100_000u64, 1 => any::<u64>()];
    let millis = || prop_oneof![9 => 0..1000u64, 1 => 0..100_000_000u64];
    let sample = prop_oneof![Just(None), millis().prop_map(Some)];
    let end = (any::<u64>(), sample, millis(), any::<bool>());
    prop_oneof![
        8 => (millis(), bytes).prop_map(|(age, bytes)| Op::Acked { age, bytes }),
        8 => end.prop_map(|(largest, sample, srtt, app_limited)| {
            Op::AckEnd { largest, sample, srtt, app_limited }
        }),
        2 => millis().prop_map(|age| Op::Congestion { age }),
        1 => Just(Op::Persistent),
        1 => (1200..1500u16).prop_map(Op::Mtu),
        4 => millis().prop_map(Op::Wait),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_window_is_within_its_bounds(ops in vec(op(), 0..200)) {
        // Far from the beginning of the clock, which times before it would be.
        let mut now = Instant::now() + Duration::from_secs(1_000_000);
        let mut congestion = Congestion::new(DATAGRAM);
        let mut datagram = DATAGRAM;
        for op in ops {
            let before = congestion.window();
            match op {
                Op::Acked { age, bytes } => {
                    congestion.on_acked(now - Duration::from_millis(age), bytes);
                }
                Op::AckEnd { largest, sample, srtt, app_limited } => {
                    let sample = sample.map(Duration::from_millis);
                    let srtt = Duration::from_millis(srtt);
                    congestion.on_sent(largest);
                    congestion.on_ack_end(now, largest, sample, srtt, app_limited);
                    prop_assert!(congestion.window() >= before);
                    prop_assert!(!app_limited || congestion.window() == before);
                }
                Op::Congestion { age } => {
                    let cut = congestion.on_congestion(now, now - Duration::from_millis(age));
                    prop_assert!(congestion.window() <= before);
                    prop_assert!(cut || congestion.window() == before);
                }
                Op::Persistent => congestion.on_persistent_congestion(now),
                Op::Mtu(bytes) => {
                    datagram = bytes;
                    congestion.on_mtu_change(bytes);
                }
                Op::Wait(millis) => now += Duration::from_millis(millis),
            }
            let window = congestion.window();
            prop_assert!((2 * u64::from(datagram)..=WINDOW_MAX_BYTES).contains(&window));
        }
    }
}
