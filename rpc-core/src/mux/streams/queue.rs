//! Whole items that wait to be taken. Small ones lie one behind the other, so that a peer that sends
//! tiny ones makes nobody hold more than they cost it.

use std::collections::VecDeque;

/// Items below this many bytes are packed. An allocation of its own costs some 64 bytes beside the
/// item.
const PACKED_BYTES: usize = 128;

/// Memory that an empty queue keeps for the items to come.
const KEPT_BYTES: usize = 4096;

/// The queue.
#[derive(Debug, Default)]
pub(super) struct ItemQueue {
    /// How long each item is.
    lengths: VecDeque<u32>,
    /// The bytes of those that are small, and the others, each in the order of their coming.
    packed: VecDeque<u8>,
    large: VecDeque<Vec<u8>>,
}

impl ItemQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    pub(super) fn push(&mut self, item: &[u8]) {
        if item.len() < PACKED_BYTES {
            self.push_length(item.len());
            self.packed.extend(item);
        } else {
            self.push_large(item.to_vec());
        }
    }

    /// Adds an item that has been collected.
    pub(super) fn push_collected(&mut self, item: Vec<u8>) {
        if item.len() < PACKED_BYTES { self.push(&item) } else { self.push_large(item) }
    }

    fn push_large(&mut self, item: Vec<u8>) {
        self.push_length(item.len());
        self.large.push_back(item);
    }

    fn push_length(&mut self, length: usize) {
        #[expect(clippy::cast_possible_truncation, reason = "a message is below 4 GiB")]
        self.lengths.push_back(length as u32);
    }

    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        let length = self.lengths.pop_front()? as usize;
        let item = if length < PACKED_BYTES {
            let (front, back) = self.packed.as_slices();
            let mut item = Vec::with_capacity(length);
            item.extend(front.iter().chain(back).take(length));
            self.packed.drain(..length.min(self.packed.len()));
            item
        } else {
            self.large.pop_front().unwrap_or_default()
        };
        if self.is_empty() && self.bytes() > KEPT_BYTES {
            *self = Self::default();
        }
        Some(item)
    }

    /// Forgets the item that came last.
    pub(super) fn drop_last(&mut self) {
        let Some(length) = self.lengths.pop_back() else { return };
        if (length as usize) < PACKED_BYTES {
            self.packed.truncate(self.packed.len().saturating_sub(length as usize));
        } else {
            self.large.pop_back();
        }
    }

    /// What it takes in memory.
    #[expect(clippy::arithmetic_side_effects, reason = "all of it is in memory at once")]
    pub(super) fn bytes(&self) -> usize {
        let large: usize = self.large.iter().map(Vec::capacity).sum();
        self.lengths.capacity() * size_of::<u32>()
            + self.packed.capacity()
            + self.large.capacity() * size_of::<Vec<u8>>()
            + large
    }
}
