//! The search on paths of all kinds, and what makes it begin anew.

use super::*;

const BASE: u16 = BASE_BYTES;

/// A search on a path that takes datagrams of up to `path_bytes`.
struct Path {
    mtu: Mtu,
    path_bytes: u16,
    now: Instant,
    number: u64,
    probes: Vec<u16>,
}

impl Path {
    fn new(peer_bytes: u16, path_bytes: u16) -> Self {
        let mtu = Mtu::new(peer_bytes);
        Self { mtu, path_bytes, now: Instant::now(), number: 0, probes: Vec::new() }
    }

    /// Probes until there is nothing more to probe, and returns the sizes of all probes.
    fn search(&mut self) -> Vec<u16> {
        while let Some(size) = self.mtu.poll_probe(self.now) {
            assert_eq!(self.mtu.poll_probe(self.now), Some(size), "asking changes nothing");
            self.number += 1;
            self.mtu.on_probe_sent(self.number);
            assert_eq!(self.mtu.poll_probe(self.now), None, "one at a time");
            self.probes.push(size);
            if size <= self.path_bytes {
                assert!(self.mtu.on_probe_acked(self.now, self.number));
                assert_eq!(self.mtu.current(), size);
            } else {
                self.mtu.on_probe_lost(self.now, self.number);
            }
        }
        std::mem::take(&mut self.probes)
    }

    /// Sends packets of `bytes`, `lost` of which are reported at once, after a gap.
    fn lose(&mut self, bytes: &[u16]) -> bool {
        self.number += 1;
        for &bytes in bytes {
            self.number += 1;
            self.mtu.on_packet_lost(self.number, bytes);
        }
        self.mtu.on_losses_end(self.now)
    }

    fn ack(&mut self, bytes: u16) {
        self.number += 1;
        self.mtu.on_packet_acked(self.number, bytes);
    }
}

fn found() -> Path {
    let mut path = Path::new(1452, 1452);
    path.search();
    assert_eq!(path.mtu.current(), 1452);
    path
}

#[test]
fn on_the_usual_path_one_probe_is_enough() {
    let mut path = Path::new(1472, 1472);
    assert_eq!(path.search(), [1452]);
    path.now += RAISE;
    assert_eq!(path.search(), []);
}

#[test]
fn each_size_is_tried_three_times_until_one_passes() {
    assert_eq!(Path::new(1452, 1402).search(), [1452, 1452, 1452, 1400]);
    let mut path = Path::new(1452, BASE);
    assert_eq!(path.search(), [1452, 1400, 1372, 1280].map(|size| [size; 3]).concat());
    assert_eq!(path.mtu.current(), BASE);
}

#[test]
fn what_the_peer_takes_is_the_largest_size() {
    assert_eq!(Path::new(1390, 1500).search(), [1390]);
    assert_eq!(Path::new(1390, 1389).search(), [1390, 1390, 1390, 1372]);
    assert_eq!(Path::new(1400, 1399).search(), [1400, 1400, 1400, 1372]);
    assert_eq!(Path::new(1201, 1500).search(), [1201]);
    for bytes in [0, BASE] {
        let mut path = Path::new(bytes, 1500);
        assert_eq!(path.search(), []);
        assert_eq!(path.mtu.current(), BASE);
    }
    assert_eq!(Path::new(u16::MAX, u16::MAX).search(), [CEILING_BYTES]);
}

#[test]
fn ten_minutes_later_larger_sizes_are_tried_again() {
    let mut path = Path::new(1452, 1300);
    path.search();
    assert_eq!(path.mtu.current(), 1280);
    path.now += RAISE - Duration::from_millis(1);
    assert_eq!(path.search(), []);
    path.now += Duration::from_millis(1);
    assert_eq!(path.search(), [1452, 1400, 1372].map(|size| [size; 3]).concat());
    path.now += RAISE;
    path.path_bytes = 1452;
    assert_eq!(path.search(), [1452]);
}

#[test]
fn a_probe_that_isnt_waited_for_changes_nothing() {
    let mut mtu = Mtu::new(1452);
    let now = Instant::now();
    assert!(!mtu.on_probe_acked(now, 0));
    mtu.on_probe_sent(5);
    mtu.on_probe_lost(now, 4);
    assert!(!mtu.on_probe_acked(now, 4));
    assert_eq!((mtu.current(), mtu.poll_probe(now)), (BASE, None));
    mtu.on_probe_lost(now, 5);
    assert!(!mtu.on_probe_acked(now, 5));
    assert_eq!(mtu.poll_probe(now), Some(1452));
}

#[test]
fn three_bursts_of_large_packets_are_a_black_hole() {
    let mut path = found();
    assert!(!path.lose(&[1452; 20]));
    assert!(!path.lose(&[1300]));
    assert!(path.lose(&[1452; 2]));
    assert_eq!(path.mtu.current(), BASE);
    assert_eq!(path.search(), []);
    // What was under way is lost too, and means nothing more.
    assert!(!(0..5).any(|_| path.lose(&[1452])));
    path.now += RAISE;
    assert_eq!(path.search(), [1452]);
    assert!(!path.lose(&[1452]) && !path.lose(&[1452]) && path.lose(&[1452]));
}

#[test]
fn one_outage_is_one_burst() {
    let mut path = found();
    for number in 100..1000 {
        path.mtu.on_packet_lost(number, 1452);
    }
    assert!(!path.mtu.on_losses_end(path.now));
}

#[test]
fn losses_of_small_packets_are_congestion() {
    let mut path = found();
    assert!(!(0..10).any(|_| path.lose(&[1452, 60]) || path.lose(&[60, 1452]) || path.lose(&[60])));
    assert!(!path.lose(&[1452]) && !path.lose(&[1452]));
    assert!(!path.lose(&[1452, 1200]));
    assert!(path.lose(&[1452]));
}

#[test]
fn a_large_packet_that_arrives_is_proof() {
    let mut path = found();
    for _ in 0..10 {
        assert!(!path.lose(&[1452]) && !path.lose(&[1452]));
        path.ack(1201);
    }
    // A small one isn't.
    assert!(!path.lose(&[1452]) && !path.lose(&[1452]));
    path.ack(1200);
    assert!(path.lose(&[1452]));
}

#[test]
fn what_arrived_proves_nothing_about_later_packets() {
    let mut path = found();
    let acked = path.number + 1;
    path.ack(1452);
    assert!(!path.lose(&[1452]) && !path.lose(&[1452]));
    path.mtu.on_packet_acked(acked, 1452);
    assert!(path.lose(&[1452]));

    // And losses before a packet that arrived are no burst.
    let mut path = found();
    path.mtu.on_packet_acked(100, 1452);
    for number in [90, 92, 94, 96, 98] {
        path.mtu.on_packet_lost(number, 1452);
    }
    assert!(!path.mtu.on_losses_end(path.now));
}

#[test]
fn the_systems_refusal_ends_a_size_at_once() {
    let mut path = Path::new(1452, 1380);
    assert_eq!(path.mtu.poll_probe(path.now), Some(1452));
    assert!(!path.mtu.on_too_large(path.now, 1452));
    assert_eq!(path.mtu.poll_probe(path.now), Some(1400));
    path.mtu.on_probe_sent(1);
    assert!(!path.mtu.on_too_large(path.now, 1400));
    path.number = 1;
    assert_eq!(path.search(), [1372]);
    path.now += RAISE;
    assert_eq!(path.mtu.poll_probe(path.now), Some(1452));
}

#[test]
fn a_refusal_of_what_isnt_tried_changes_nothing() {
    let mut path = Path::new(1452, 1300);
    path.search();
    assert!(!path.mtu.on_too_large(path.now, 1400));
    assert_eq!((path.mtu.current(), path.search()), (1280, vec![]));
    path.now += RAISE;
    // A larger size than the one that is next.
    assert!(!path.mtu.on_too_large(path.now, 1460));
    assert_eq!(path.mtu.poll_probe(path.now), Some(1452));
}

#[test]
fn a_refusal_of_the_current_size_falls_back_and_searches_below() {
    let mut path = found();
    path.path_bytes = 1410;
    assert!(!path.mtu.on_too_large(path.now, 1460));
    assert!(!path.mtu.on_too_large(path.now, 1200));
    assert!(path.mtu.on_too_large(path.now, 1452));
    assert_eq!(path.mtu.current(), BASE);
    // The next datagram of the same batch.
    assert!(!path.mtu.on_too_large(path.now, 1452));
    assert_eq!(path.search(), [1400]);
    path.now += RAISE;
    path.path_bytes = 1452;
    assert_eq!(path.search(), [1452]);
}
