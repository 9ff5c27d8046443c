//! A link between two sessions: it delays, and if told so loses, repeats, reorders and damages.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

/// What a link does to datagrams, in parts of a thousand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    pub(super) lose: u32,
    pub(super) repeat: u32,
    pub(super) reorder: u32,
    pub(super) damage: u32,
    /// The longest datagram that passes.
    pub(super) bytes_max: usize,
}

impl Faults {
    pub(super) const NONE: Self =
        Self { lose: 0, repeat: 0, reorder: 0, damage: 0, bytes_max: 1500 };
    pub(super) const ALL: Self =
        Self { lose: 300, repeat: 50, reorder: 100, damage: 10, bytes_max: 1500 };
}

/// After so long without a datagram no burst of losses goes on.
const BURST_PAUSE: Duration = Duration::from_millis(100);

/// One direction of a link.
#[derive(Debug)]
pub(super) struct Link {
    faults: Faults,
    delay: Duration,
    random: fastrand::Rng,
    /// Whether datagrams are being lost in a row.
    burst: bool,
    last_at: Option<Instant>,
    sequence: u64,
    under_way: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    pub(super) lost: u64,
}

impl Link {
    pub(super) fn new(faults: Faults, delay: Duration, random: fastrand::Rng) -> Self {
        Self {
            faults,
            delay,
            random,
            burst: false,
            last_at: None,
            sequence: 0,
            under_way: BinaryHeap::new(),
            lost: 0,
        }
    }

    fn hits(&mut self, per_mille: u32) -> bool {
        self.random.u32(..1000) < per_mille
    }

    /// Takes one datagram.
    pub(super) fn send(&mut self, now: Instant, datagram: &[u8]) {
        // Gilbert-Elliott: losses come in bursts of three on average, which don't outlast a pause.
        if self.last_at.replace(now).is_some_and(|last| now - last > BURST_PAUSE) {
            self.burst = false;
        }
        let lose = self.faults.lose;
        self.burst =
            if self.burst { self.hits(667) } else { self.hits(lose * 333 / (1000 - lose)) };
        if self.burst || datagram.len() > self.faults.bytes_max {
            self.lost += 1;
            return;
        }
        let copies = 1 + u32::from(self.hits(self.faults.repeat));
        for _ in 0..copies {
            let mut datagram = datagram.to_vec();
            if self.hits(self.faults.damage) {
                let at = self.random.usize(..datagram.len());
                datagram[at] ^= 1 << self.random.u8(..8);
            }
            let late = if self.hits(self.faults.reorder) {
                self.delay.mul_f64(self.random.f64() * 3.0)
            } else {
                Duration::ZERO
            };
            self.sequence += 1;
            self.under_way.push(Reverse((now + self.delay + late, self.sequence, datagram)));
        }
    }

    /// When the next datagram arrives.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next datagram that has arrived.
    pub(super) fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next_at()? > now {
            return None;
        }
        self.under_way.pop().map(|Reverse((_, _, datagram))| datagram)
    }
}
