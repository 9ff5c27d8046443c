//! The link of the simulation, and the chance that rules it.

use std::collections::{BTreeMap, VecDeque};

use super::*;

/// What decides: Vigna's generator, which has one word of state and takes any seed, or the bytes of a
/// fuzzer for as long as there are any.
pub(super) struct Chance {
    state: u64,
    input: Vec<u8>,
    /// How many bytes of the input are used up.
    used: usize,
}

impl Chance {
    pub(super) fn seed(state: u64) -> Self {
        Self { state, input: Vec::new(), used: 0 }
    }

    pub(super) fn input(bytes: &[u8]) -> Self {
        Self { state: 0, input: bytes.to_vec(), used: 0 }
    }

    /// Whether it had an input, which is used up.
    pub(super) fn is_spent(&self) -> bool {
        !self.input.is_empty() && self.used == self.input.len()
    }

    /// So many bytes of the input, if any are left.
    fn take(&mut self, bytes: usize) -> Option<u64> {
        let left = &self.input[self.used..];
        let taken = &left[..bytes.min(left.len())];
        self.used += taken.len();
        (!taken.is_empty()).then(|| taken.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    pub(super) fn next(&mut self) -> u64 {
        if let Some(number) = self.take(8) {
            return number;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Of an input it takes no more bytes than the limit has.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        let bytes = match limit {
            0..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 4,
        };
        self.take(bytes).unwrap_or_else(|| self.next()) % limit
    }

    pub(super) fn below32(&mut self, limit: u32) -> u32 {
        u32::try_from(self.below(u64::from(limit))).unwrap()
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
    pub(super) fn pop(&mut self, random: &mut Chance) -> Option<OutFrame> {
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
