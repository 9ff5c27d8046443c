//! What an end sends: frames that can be told apart, whatever happens to them on the way.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use bytes::{BufMut, Bytes, BytesMut};

use super::super::random::Random;
use crate::{
    frame::{Lane, PREFIX_BYTES},
    transport::{Batch, OutFrame},
};

/// The smallest frame: room for its number.
pub(super) const FRAME_BYTES_MIN: usize = 4;

/// The largest frame that is worth trying, whatever the transport would like.
const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// Frames to send. Each begins with its number within its lane; the rest is random.
pub(super) struct Script {
    frames: Vec<OutFrame>,
    /// For each frame, where it ends in stream layout: what a batch counts in.
    ends: Vec<usize>,
    /// How many frames each lane has.
    lanes: BTreeMap<Lane, u32>,
    /// Frames that were put into batches.
    batched: usize,
    /// How many frames go into one batch.
    pub(super) batch_frames: RangeInclusive<usize>,
    /// The largest frame it makes.
    pub(super) frame_bytes: usize,
    pool: Vec<u8>,
    random: Random,
}

impl Script {
    /// A script for a transport that wants frames of `frame_bytes`. It begins with the hello.
    pub(super) fn new(frame_bytes: usize, seed: u64) -> Self {
        let frame_bytes = frame_bytes.clamp(FRAME_BYTES_MIN, FRAME_BYTES_MAX);
        let mut script = Self {
            frames: Vec::new(),
            ends: Vec::new(),
            lanes: BTreeMap::new(),
            batched: 0,
            batch_frames: 1..=16,
            frame_bytes,
            pool: Vec::new(),
            random: Random::new(seed),
        };
        script.allow(frame_bytes);
        script.add(Lane::CONTROL, 32, false);
        script
    }

    /// Frames of `bytes` bytes may be added, although the transport wants smaller ones.
    pub(super) fn allow(&mut self, bytes: usize) {
        self.frame_bytes = self.frame_bytes.max(bytes);
        while self.pool.len() < 2 * self.frame_bytes {
            self.pool.put_u64_le(self.random.next());
        }
    }

    /// Adds a frame of `bytes` bytes, or of as many as are allowed.
    pub(super) fn add(&mut self, lane: Lane, bytes: usize, end: bool) {
        let rest = bytes.min(self.frame_bytes).saturating_sub(FRAME_BYTES_MIN);
        let number = self.lanes.entry(lane).or_default();
        let mut payload = BytesMut::with_capacity(FRAME_BYTES_MIN + rest);
        payload.put_u32_le(*number);
        *number += 1;
        let at = self.random.below(self.pool.len() - rest);
        payload.put_slice(self.pool.get(at..at + rest).unwrap_or_default());
        let begin = self.ends.last().copied().unwrap_or_default();
        self.ends.push(begin + PREFIX_BYTES + payload.len());
        self.frames.push(OutFrame::new(lane, end, payload));
    }

    /// Adds `count` frames of up to `bytes` bytes on lanes 1 up to `lanes`, at random.
    pub(super) fn add_random(&mut self, count: usize, lanes: usize, bytes: usize) {
        for _ in 0..count {
            let lane = Lane::new(self.random.between(1, lanes) as u64);
            let bytes = self.random.between(FRAME_BYTES_MIN, bytes);
            self.add(lane, bytes, false);
        }
    }

    /// Marks the last frame of each lane, except lane 0, for which `ends` says so.
    pub(super) fn mark_ends(&mut self, mut ends: impl FnMut(&mut Random) -> bool) {
        let mut seen = BTreeSet::from([Lane::CONTROL]);
        for frame in self.frames.iter_mut().rev() {
            if seen.insert(frame.lane) {
                frame.end = ends(&mut self.random);
            }
        }
    }

    pub(super) fn frames(&self) -> &[OutFrame] {
        &self.frames
    }

    /// All bytes of it, in stream layout.
    pub(super) fn bytes(&self) -> usize {
        self.ends.last().copied().unwrap_or_default()
    }

    /// The next batch, or `None` at the end.
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        let rest = self.frames.get(self.batched..).filter(|rest| !rest.is_empty())?;
        let position = self.batched.checked_sub(1).and_then(|last| self.ends.get(last).copied());
        let wanted = self.random.between(*self.batch_frames.start(), *self.batch_frames.end());
        let count = wanted.clamp(1, rest.len());
        self.batched += count;
        let batch: Batch = rest.iter().take(count).cloned().collect();
        Some(batch.behind(position.unwrap_or_default()))
    }

    /// How many frames have left it entirely when the last batch has `remaining` bytes left.
    pub(super) fn consumed(&self, remaining: usize) -> usize {
        let batched = self.batched.checked_sub(1).and_then(|last| self.ends.get(last));
        let consumed = batched.map_or(0, |end| end.saturating_sub(remaining));
        self.ends.partition_point(|end| *end <= consumed)
    }
}

/// The number that a frame begins with.
pub(super) fn number(payload: &Bytes) -> Option<u32> {
    payload.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}
