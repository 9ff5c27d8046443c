//! What the reading of one message may still cost, and where in it we are. Plain counting; what is
//! counted when is decided in `decode.rs`.

use std::cell::Cell;

use serde::de::Error;

use crate::codec::{DECODED_BYTES_MAX, DEPTH_MAX, DecodeError, ELEMENTS_SPARE};

/// What one message may still cost, and whether it tried to cost more.
pub(in crate::codec) struct Budget {
    message: usize,
    elements: Cell<usize>,
    bytes: Cell<usize>,
    refusal: Cell<Option<DecodeError>>,
}

impl Budget {
    #[inline]
    pub(in crate::codec) fn for_message(bytes: usize) -> Self {
        Self {
            message: bytes,
            elements: Cell::new(elements_max(bytes)),
            bytes: Cell::new(decoded_bytes_max(bytes)),
            refusal: Cell::new(None),
        }
    }

    /// Why the message was refused, if it was: also when the error itself was swallowed on its way.
    #[inline]
    pub(in crate::codec) fn into_refusal(self) -> Option<DecodeError> {
        self.refusal.into_inner()
    }

    #[inline]
    pub(in crate::codec) fn top(&self) -> Level<'_> {
        Level { left: DEPTH_MAX, budget: self }
    }

    /// Pays for the claim of a sequence or map to hold so many elements.
    #[inline]
    pub(super) fn claim<E: Error>(&self, claimed: usize) -> Result<(), E> {
        if self.seat(claimed) {
            return Ok(());
        }
        let limit = elements_max(self.message);
        Err(self.refuse(DecodeError::TooManyElements { claimed, limit }))
    }

    /// Not inlined: what it tells the optimizer about `claimed` costs the loop over the elements
    /// two instructions a turn, and this costs twelve a sequence.
    #[inline(never)]
    fn seat(&self, claimed: usize) -> bool {
        let left = self.elements.get().checked_sub(claimed);
        self.elements.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Pays for the memory of many elements. Once per sequence, hence out of the loop over its
    /// elements.
    #[inline]
    pub(super) fn spend_many<E: Error>(&self, count: usize, bytes: usize) -> Result<(), E> {
        if self.cover(count, bytes) { Ok(()) } else { self.spend(usize::MAX) }
    }

    #[cold]
    #[inline(never)]
    fn cover(&self, count: usize, bytes: usize) -> bool {
        let left = self.bytes.get().checked_sub(count.saturating_mul(bytes));
        self.bytes.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Pays for memory.
    #[inline]
    pub(super) fn spend<E: Error>(&self, bytes: usize) -> Result<(), E> {
        match self.bytes.get().checked_sub(bytes) {
            Some(left) => {
                self.bytes.set(left);
                Ok(())
            }
            None => {
                let limit = decoded_bytes_max(self.message);
                Err(self.refuse(DecodeError::TooLarge { limit }))
            }
        }
    }

    /// serde has no typed errors: the reason is kept here, and the codec's own error only unwinds.
    #[cold]
    #[inline(never)]
    pub(super) fn refuse<E: Error>(&self, reason: DecodeError) -> E {
        let first = self.refusal.take().unwrap_or(reason);
        self.refusal.set(Some(first));
        E::custom("refused by the fence")
    }
}

/// Elements up to this size cost no memory: what they take is bounded by their number, at 8 bytes
/// for a byte of the message, and the loop over a `Vec<u64>` stays as tight as without a fence.
pub(super) const FREE_BYTES: usize = 8;

/// How deep we are, as the levels that are left. Every level has its own, so that none restores it,
/// and hands it on by reference: with the codec's own that makes two words, which go in registers.
pub(in crate::codec) struct Level<'b> {
    left: u32,
    pub(super) budget: &'b Budget,
}

impl<'b> Level<'b> {
    #[inline]
    pub(super) fn down<E: Error>(&self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, budget: self.budget }),
            None => Err(self.budget.refuse(DecodeError::TooDeep { limit: DEPTH_MAX })),
        }
    }
}

const fn elements_max(message: usize) -> usize {
    message.saturating_add(ELEMENTS_SPARE)
}

const fn decoded_bytes_max(message: usize) -> usize {
    message.saturating_mul(4).saturating_add(DECODED_BYTES_MAX)
}
