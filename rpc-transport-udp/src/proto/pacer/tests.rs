//! Rates and bursts that the pacer lets through, on simulated time.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn pace(window: u64, srtt: Duration) -> Pace {
    Pace { window, srtt, datagram_bytes: 1200, slow_start: false }
}

/// Sends datagrams as long as it may, and returns how many bytes and when to go on.
fn burst(pacer: &mut Pacer, now: Instant, pace: &Pace) -> (u64, Instant) {
    let mut sent = 0;
    loop {
        if let Some(until) = pacer.delay(now, 1200, pace) {
            return (sent, until);
        }
        pacer.on_sent(now, 1200, pace);
        sent += 1200;
    }
}

/// Bytes a second that a sender with timers of `tick` sends in the mean of `seconds`.
fn rate(pace: &Pace, tick: Duration, seconds: u32) -> f64 {
    let start = Instant::now();
    let mut pacer = Pacer::new();
    let (mut now, mut sent) = (start, 0);
    while now < start + MS * 1000 * seconds {
        let (bytes, until) = burst(&mut pacer, now, pace);
        sent += bytes;
        assert!(until > now);
        while now < until {
            now += tick;
        }
    }
    sent as f64 / f64::from(seconds)
}

#[track_caller]
fn assert_near(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 0.01, "{found} isn't near {expected}");
}

// r[verify congestion.pacing]
#[test]
fn a_window_and_a_quarter_leaves_in_each_round_trip() {
    let pace = pace(1_000_000, MS * 100);
    assert_near(rate(&pace, Duration::from_micros(1), 4), 12_500_000.0);
    assert_near(rate(&pace, MS, 10), 12_500_000.0);
    assert_near(rate(&Pace { slow_start: true, ..pace }, MS, 10), 20_000_000.0);
}

#[test]
fn coarse_timers_dont_slow_a_fast_path_down() {
    // 1.25 GB/s: far more than 256 datagrams a millisecond.
    let pace = pace(10_000_000, MS * 10);
    assert_near(rate(&pace, MS, 1), 1_250_000_000.0);
}

#[test]
fn on_round_trips_below_a_millisecond_only_the_window_limits() {
    let pace = pace(300_000, Duration::from_micros(60));
    let (sent, _) = burst(&mut Pacer::new(), Instant::now(), &pace);
    assert!(sent >= pace.window);
}

#[test]
fn bursts_are_two_milliseconds_within_their_bounds() {
    let burst = |window, srtt| burst(&mut Pacer::new(), Instant::now(), &pace(window, srtt)).0;
    assert_eq!(burst(12_000, MS * 333), 10 * 1200);
    // 125 kB/ms
    assert_eq!(burst(10_000_000, MS * 100), 250_000 / 1200 * 1200);
    // 250 kB/ms
    assert_eq!(burst(20_000_000, MS * 100), 256 * 1200);
}

#[test]
fn long_silence_fills_the_bucket_once() {
    let start = Instant::now();
    let pace = pace(100_000, MS * 100);
    let mut pacer = Pacer::new();
    let first = burst(&mut pacer, start, &pace).0;
    assert_eq!(burst(&mut pacer, start + MS * 86_400_000, &pace).0, first);
}

#[test]
fn time_that_goes_back_neither_gives_nor_takes() {
    let start = Instant::now() + MS * 1000;
    let pace = pace(100_000, MS * 100);
    let mut pacer = Pacer::new();
    let (_, until) = burst(&mut pacer, start, &pace);
    assert_eq!(burst(&mut pacer, start - MS * 500, &pace).0, 0);
    assert_eq!(burst(&mut pacer, start, &pace).0, 0);
    assert!(pacer.delay(until, 1200, &pace).is_none());
}

#[test]
fn a_wait_is_worth_a_timer() {
    let start = Instant::now();
    // 12.5 kB/ms, so that a datagram would be due after less than 0.1 ms.
    let (_, until) = burst(&mut Pacer::new(), start, &pace(1_000_000, MS * 100));
    assert!((MS * 9 / 10..=MS).contains(&(until - start)));
    // 0.125 kB/ms: due after 9.6 ms.
    let (_, until) = burst(&mut Pacer::new(), start, &pace(10_000, MS * 100));
    assert!((MS * 9..MS * 10).contains(&(until - start)));
}

#[test]
fn what_had_to_be_sent_is_paid_for_later() {
    let start = Instant::now();
    let pace = pace(100_000, MS * 100);
    let mut pacer = Pacer::new();
    let (_, until) = burst(&mut pacer, start, &pace);
    pacer.on_sent(start, 1200, &pace);
    let later = pacer.delay(start, 1200, &pace).unwrap();
    // 1.25 MB/s
    assert!((later - until).abs_diff(Duration::from_micros(960)) < Duration::from_micros(1));
    // But not for long, however much it was.
    pacer.on_sent(start, 10_000_000, &pace);
    assert!(pacer.delay(start, 1200, &pace).unwrap() < start + MS * 12);
}

#[test]
fn a_batch_larger_than_the_bucket_goes_when_it_is_full() {
    let now = Instant::now();
    let pace = pace(12_000, MS * 100);
    let mut pacer = Pacer::new();
    assert!(pacer.delay(now, 64_000, &pace).is_none());
    assert_eq!(pacer.budget_bytes(), 12_000);
    pacer.on_sent(now, 1200, &pace);
    let until = pacer.delay(now, 64_000, &pace).unwrap();
    assert!(pacer.delay(until + MS, 64_000, &pace).is_none());
}

#[test]
fn no_window_and_no_round_trip_time_are_survived() {
    let now = Instant::now();
    for pace in [pace(0, MS), pace(u64::MAX, Duration::ZERO), pace(0, Duration::MAX)] {
        let mut pacer = Pacer::new();
        for _ in 0..20 {
            let until = pacer.delay(now, 1200, &pace);
            assert!(until.is_none_or(|until| until > now && until <= now + WAIT_MAX));
            pacer.on_sent(now, 1200, &pace);
        }
    }
}

#[test]
fn what_is_certainly_there_may_be_sent() {
    let (begin, mut random) = (Instant::now(), fastrand::Rng::with_seed(1));
    let (mut now, mut pacer, mut certain) = (begin, Pacer::new(), 0);
    assert!(!pacer.has(0), "nothing was looked at yet");
    for _ in 0..100_000 {
        now += Duration::from_nanos(random.u64(..2_000_000));
        let pace =
            pace(random.u64(2_400..10_000_000), Duration::from_micros(random.u64(1..300_000)));
        let bytes = random.usize(..20_000);
        let has = pacer.has(bytes);
        certain += usize::from(has);
        if random.bool() {
            let until = pacer.delay(now, bytes, &pace);
            assert!(!has || until.is_none(), "{bytes} at {pace:?}");
        }
        pacer.on_sent(now, random.usize(..3_000), &pace);
    }
    assert!(certain > 10_000, "{certain}");
}
