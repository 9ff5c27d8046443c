//! One direction of a path: it delays, loses, repeats, reorders, damages, queues and marks.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    net::SocketAddr,
    time::{Duration, Instant},
};

/// What a link does to datagrams. Chances are parts of a thousand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) lose: u32,
    /// How many datagrams are lost in a row, on average.
    pub(crate) burst: u32,
    pub(crate) repeat: u32,
    pub(crate) reorder: u32,
    /// Bits flip, or the datagram is cut or gets longer.
    pub(crate) damage: u32,
    pub(crate) delay: Duration,
    /// Each datagram takes up to so much longer.
    pub(crate) jitter: Duration,
    /// One that is reordered, up to so much.
    pub(crate) late: Duration,
    /// What comes again after the first copy, up to so much later than that.
    pub(crate) stale: Duration,
    /// The longest datagram that passes.
    pub(crate) bytes_max: usize,
    /// Bytes a second, and how many may wait for their turn.
    pub(crate) rate: Option<u64>,
    pub(crate) queue_bytes: u64,
    /// Whether a queue that is half full marks datagrams.
    pub(crate) marks: bool,
}

impl Faults {
    pub(crate) const NONE: Self = Self {
        lose: 0,
        burst: 1,
        repeat: 0,
        reorder: 0,
        damage: 0,
        delay: Duration::from_millis(10),
        jitter: Duration::ZERO,
        late: Duration::ZERO,
        stale: Duration::ZERO,
        bytes_max: 1500,
        rate: None,
        queue_bytes: 0,
        marks: false,
    };
}

/// After so long without a datagram no burst of losses goes on.
const BURST_PAUSE: Duration = Duration::from_millis(100);

/// A datagram on its way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Parcel {
    pub(crate) from: SocketAddr,
    pub(crate) bytes: Vec<u8>,
    pub(crate) marked: bool,
}

/// One direction of a path.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) faults: Faults,
    /// Nothing passes.
    pub(crate) is_down: bool,
    /// These are lost, whatever the faults: counted from the first.
    pub(crate) doomed: BTreeSet<u64>,
    /// What was sent, if that is of interest.
    pub(crate) record: Option<Vec<Vec<u8>>>,
    random: fastrand::Rng,
    in_burst: bool,
    last_at: Option<Instant>,
    busy_until: Option<Instant>,
    sequence: u64,
    under_way: BinaryHeap<Reverse<(Instant, u64, Parcel)>>,
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    pub(crate) damaged: u64,
}

impl Link {
    pub(crate) fn new(faults: Faults, random: fastrand::Rng) -> Self {
        Self {
            faults,
            is_down: false,
            doomed: BTreeSet::new(),
            record: None,
            random,
            in_burst: false,
            last_at: None,
            busy_until: None,
            sequence: 0,
            under_way: BinaryHeap::new(),
            sent: 0,
            lost: 0,
            damaged: 0,
        }
    }

    fn hits(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.random.u32(..1000) < per_mille
    }

    /// Takes one datagram.
    pub(crate) fn send(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        if self.last_at.replace(now).is_some_and(|last| now - last > BURST_PAUSE) {
            self.in_burst = false;
        }
        let number = self.sent;
        self.sent += 1;
        if let Some(record) = &mut self.record {
            record.push(bytes.to_vec());
        }
        if self.loses() || self.is_down || self.doomed.contains(&number) {
            self.lost += 1;
            return;
        }
        let Some((leaves, marked)) = self.queue(now, bytes.len()) else {
            self.lost += 1;
            return;
        };
        let copies = if self.hits(self.faults.repeat) { self.random.u32(2..=4) } else { 1 };
        for copy in 0..copies {
            let mut bytes = bytes.to_vec();
            if self.hits(self.faults.damage) {
                self.damaged += 1;
                damage(&mut self.random, &mut bytes);
            }
            let mut after = self.faults.delay + self.faults.jitter.mul_f64(self.random.f64());
            if self.hits(self.faults.reorder) {
                after += self.faults.late.mul_f64(self.random.f64());
            }
            if copy > 0 && self.faults.stale > Duration::ZERO {
                after += self.faults.stale.mul_f64(self.random.f64());
            }
            if bytes.len() > self.faults.bytes_max {
                self.lost += 1;
                continue;
            }
            self.sequence += 1;
            let parcel = Parcel { from, bytes, marked };
            self.under_way.push(Reverse((leaves + after, self.sequence, parcel)));
        }
    }

    /// Gilbert-Elliott: losses come in rows.
    fn loses(&mut self) -> bool {
        let Faults { lose, burst, .. } = self.faults;
        if lose == 0 {
            self.in_burst = false;
        } else if self.in_burst {
            let ends = 1000 / burst.max(1);
            self.in_burst = !self.hits(ends);
        } else {
            let begins = lose * 1000 / ((1000 - lose) * burst.max(1));
            self.in_burst = self.hits(begins.max(1));
        }
        self.in_burst
    }

    /// When a datagram leaves the queue, and whether it is marked; `None` if it doesn't fit.
    fn queue(&mut self, now: Instant, bytes: usize) -> Option<(Instant, bool)> {
        let Some(rate) = self.faults.rate else { return Some((now, false)) };
        let begins = self.busy_until.map_or(now, |at| at.max(now));
        let waiting = (begins - now).as_secs_f64() * rate as f64;
        if waiting > self.faults.queue_bytes as f64 {
            return None;
        }
        let leaves = begins + Duration::from_secs_f64(bytes as f64 / rate as f64);
        self.busy_until = Some(leaves);
        Some((leaves, self.faults.marks && waiting > self.faults.queue_bytes as f64 / 2.0))
    }

    /// When the next datagram arrives.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next datagram that has arrived.
    pub(crate) fn receive(&mut self, now: Instant) -> Option<Parcel> {
        if self.next_at()? > now {
            return None;
        }
        self.under_way.pop().map(|Reverse((_, _, parcel))| parcel)
    }
}

fn damage(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    match random.u8(..4) {
        0 => bytes.truncate(random.usize(..bytes.len())),
        1 => bytes.extend((0..random.usize(1..40)).map(|_| 0)),
        // CRC-32C finds up to five flipped bits at these lengths.
        _ => {
            for _ in 0..random.u8(1..=3) {
                let at = random.usize(..bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.u8(..8);
                }
            }
        }
    }
}
