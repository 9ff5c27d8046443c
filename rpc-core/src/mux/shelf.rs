//! Large buffers that are used again: where a connection keeps them, which, and how long.
//!
//! An allocator may give the memory of every large buffer back to the kernel, as glibc's does. Its
//! pages are then faulted in again for the next one, which takes as long as filling them, and whoever
//! drops the last handle waits while they are unmapped. So a connection keeps a handle to each, and
//! takes it again when every other handle is gone: those who read a message needn't give it back.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::transport::RESERVE_BYTES;

/// Buffers from this size on are kept. Below it allocators keep memory themselves.
pub(crate) const LARGE_BYTES: usize = 16 * 1024;

/// How many are kept at most.
const KEPT_MAX: usize = 16;

/// What they have together at most, beside the largest.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// A kept buffer is used for messages that have come to this part of it, if there is more to come:
/// small ones are to leave it to large ones, and what they have by then is copied.
const PART_TO_USE: usize = 16;

/// A message fills at least this part of the buffer that it is handed out in: whoever keeps it keeps
/// all of that.
pub(super) const PART_TO_FILL: usize = 4;

/// The kept buffers, the one that was put here last at the end.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// A handle to no part of it.
    buffer: BytesMut,
    bytes: usize,
    /// Whether it was put here since somebody last looked.
    used: bool,
}

impl Shelf {
    /// An empty buffer for a message of `bytes` bytes, or of more than that. `None` if no kept one
    /// suits: small ones are left to the allocator.
    pub(super) fn take(&mut self, bytes: usize, more: bool) -> Option<BytesMut> {
        let part = if more { PART_TO_USE } else { PART_TO_FILL };
        let suits = bytes.max(LARGE_BYTES)..=bytes.saturating_mul(part);
        let mut best: Option<(usize, usize)> = None;
        for (at, kept) in self.kept.iter_mut().enumerate() {
            let better = suits.contains(&kept.bytes) && best.is_none_or(|(_, b)| kept.bytes < b);
            // It is taken back only if there is no other handle to it.
            if better && kept.buffer.try_reclaim(kept.bytes) {
                best = Some((at, kept.bytes));
            }
        }
        self.kept.remove(best?.0).map(|kept| kept.buffer)
    }

    /// A buffer for a frame of `bytes` bytes of which `beginning` has come, and `more` of its message
    /// behind it.
    pub(super) fn room(&mut self, bytes: usize, more: bool, beginning: &[u8]) -> BytesMut {
        let mut room = self.take(bytes, more).unwrap_or_else(|| {
            BytesMut::with_capacity(bytes.min(beginning.len().saturating_add(RESERVE_BYTES)))
        });
        room.extend_from_slice(beginning);
        room
    }

    /// Keeps a handle to a buffer that begins where its memory does.
    pub(super) fn keep(&mut self, buffer: &mut BytesMut) {
        let bytes = buffer.capacity();
        if bytes < LARGE_BYTES {
            return;
        }
        self.kept.push_back(Kept { buffer: buffer.split_off(bytes), bytes, used: true });
        let mut all: usize = self.kept.iter().map(|kept| kept.bytes).sum();
        let largest = self.kept.iter().map(|kept| kept.bytes).max().unwrap_or_default();
        while self.kept.len() > KEPT_MAX || all.saturating_sub(largest) > KEPT_BYTES {
            let oldest = self.kept.iter().position(|kept| kept.bytes < largest).unwrap_or_default();
            all = all.saturating_sub(self.kept.remove(oldest).map_or(all, |kept| kept.bytes));
        }
    }

    /// Hands out what wasn't used since this was last called, or everything, to be freed. Freeing it
    /// takes milliseconds: not to be done under a lock.
    #[must_use = "to be dropped where there is time"]
    pub(crate) fn unused(&mut self, everything: bool) -> impl Sized + use<> {
        let mut unused = Vec::new();
        for mut kept in std::mem::take(&mut self.kept) {
            if everything || !std::mem::take(&mut kept.used) {
                unused.push(kept.buffer);
            } else {
                self.kept.push_back(kept);
            }
        }
        unused
    }

    /// How large the kept buffers are that nobody else holds, each.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn free_bytes(&mut self) -> Vec<usize> {
        let free = self
            .kept
            .iter_mut()
            .filter_map(|kept| kept.buffer.try_reclaim(kept.bytes).then_some(kept.bytes));
        free.collect()
    }
}
