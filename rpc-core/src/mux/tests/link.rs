//! The link of the simulation, and the chance that rules it.

use std::collections::{BTreeMap, VecDeque};

use super::*;

/// Vigna's generator: one word of state, and any seed will do.
pub(super) struct SplitMix64(pub(super) u64);

impl SplitMix64 {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is below a u32")]
    pub(super) fn below32(&mut self, limit: u32) -> u32 {
        self.below(u64::from(limit)) as u32
    }

    pub(super) fn size(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.size(from.len())) }
    }
}

/// One direction of the link.
#[derive(Default)]
pub(super) struct Lanes {
    pub(super) lanes: BTreeMap<Lane, VecDeque<OutFrame>>,
    hello_passed: bool,
    /// The sender has finished.
    pub(super) finished: bool,
}

impl Lanes {
    pub(super) fn push(&mut self, frame: OutFrame) {
        self.lanes.entry(frame.lane).or_default().push_back(frame);
    }

    /// The next frame of any lane.
    pub(super) fn pop(&mut self, random: &mut SplitMix64) -> Option<OutFrame> {
        let lanes: Vec<_> = self.lanes.keys().copied().collect();
        let lane = if self.hello_passed { *random.pick(&lanes)? } else { Lane::CONTROL };
        let frames = self.lanes.get_mut(&lane)?;
        let frame = frames.pop_front();
        if frames.is_empty() {
            self.lanes.remove(&lane);
        }
        self.hello_passed = true;
        frame
    }
}
