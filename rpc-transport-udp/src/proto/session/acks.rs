//! What this side acknowledges, and when; nothing about what it sent itself.

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

use std::time::{Duration, Instant};

use crate::{planted::planted, proto::ranges::Ranges};

/// How many ranges of packet numbers are remembered. What lies below the oldest counts as received.
const RANGES_MAX: usize = 64;

/// Packets that ask for an acknowledgement until one is sent without waiting for frames to go with
/// it. Few enough for the peer's window to move on, many enough for bulk to cost little.
const PACKETS_MAX: u32 = 16;

/// The packets that have come, and the acknowledgement that is owed for them.
#[derive(Debug)]
pub(super) struct Acks {
    seen: Ranges,
    /// Packets below this count as seen.
    floor: u64,
    /// The highest number, and when it came.
    largest: Option<(u64, Instant)>,
    /// How long an acknowledgement may wait.
    delay_ms: u16,
    /// Packets since the last acknowledgement that ask for one.
    owed: u32,
    due: Option<Instant>,
    /// Packets that came with a mark of congestion.
    marked: u32,
}

impl Acks {
    pub(super) fn new(delay_ms: u16) -> Self {
        Self {
            seen: Ranges::new(),
            floor: 0,
            largest: None,
            delay_ms,
            owed: 0,
            due: None,
            marked: 0,
        }
    }

    /// Gives back the memory that an idle session doesn't need.
    pub(super) fn shrink(&mut self) {
        self.seen.shrink();
    }

    /// As if the packets below this had come, and nothing of them were owed.
    #[cfg(any(fuzzing, test))]
    pub(super) fn begin_at(&mut self, number: u64, now: Instant) {
        self.floor = number.saturating_sub(1);
        self.note(now, self.floor, false, false);
    }

    /// The number that comes next if nothing is lost: what truncated numbers are expanded with.
    pub(super) fn expected(&self) -> u64 {
        self.largest.map_or(0, |(largest, _)| largest.saturating_add(1))
    }

    /// Whether the packet has come before, as far as is remembered.
    pub(super) fn has_seen(&self, number: u64) -> bool {
        number < self.floor || self.seen.contains(number)
    }

    /// Notes a packet. `asks` says whether it is to be acknowledged, `marked` whether a router on
    /// its way was congested.
    pub(super) fn note(&mut self, now: Instant, number: u64, asks: bool, marked: bool) {
        let expected = self.expected();
        self.seen.insert(number);
        if let Some(floor) = self.seen.limit(RANGES_MAX) {
            self.floor = self.floor.max(floor);
        }
        if number >= expected {
            self.largest = Some((number, now));
        }
        self.marked = self.marked.saturating_add(u32::from(marked));
        if !asks {
            return;
        }
        self.owed = self.owed.saturating_add(1);
        // r[impl ack.when]
        let at_once = number != expected || marked || self.owed >= PACKETS_MAX;
        let later = || now.checked_add(Duration::from_millis(self.delay_ms.into()));
        let due = if at_once { now } else { later().unwrap_or(now) };
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// The peer waits for this one: it is sent at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.owed = self.owed.max(1);
        self.due = Some(now);
    }

    /// Whether anything is to be acknowledged, now or later.
    pub(super) fn is_owed(&self) -> bool {
        self.owed > 0
    }

    /// How many ranges there are to report.
    pub(super) fn ranges(&self) -> usize {
        self.seen.len()
    }

    /// When it has to be, if nothing else is sent before.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The ranges, from the highest on; how long the highest has waited; how many were marked.
    pub(super) fn report(
        &self,
        now: Instant,
    ) -> Option<(impl Iterator<Item = (u64, u64)> + '_, Duration, u32)> {
        let (_, at) = self.largest?;
        let more = u64::from(planted("ack-of-one-more"));
        let ranges = self.seen.iter_desc().map(move |(a, b)| (a.saturating_sub(more), b));
        Some((ranges, now.saturating_duration_since(at), self.marked))
    }

    /// An acknowledgement was sent.
    pub(super) fn note_sent(&mut self) {
        self.owed = 0;
        self.due = None;
    }

    /// The peer knows that everything up to `number` was acknowledged.
    pub(super) fn forget_below(&mut self, number: u64) {
        if number > self.floor {
            self.floor = number;
            self.seen.remove_below(number);
        }
    }
}
