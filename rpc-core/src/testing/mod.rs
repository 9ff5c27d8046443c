//! What transports, and the code above them, are tested with; nothing that a program needs.
//!
//! - [`conformance`] checks that a transport keeps every promise of the
//!   [contract](crate::transport). Ours run it, and so should every other.
//! - [`adversary`] is a transport in memory that keeps the contract and is otherwise as unkind as
//!   the contract allows.
//! - [`OutFrame::new`] and `Batch`'s [`FromIterator`] make what a transport is given to send, for
//!   tests that speak to one directly.
//!
//! Everything random here comes from a seed, and never from anywhere else.

pub mod adversary;
pub mod conformance;
mod random;

use bytes::Bytes;

use crate::{
    frame::Lane,
    transport::{Batch, OutFrame},
};

impl OutFrame {
    /// A frame of `lane`. Programs get theirs from [`Batch::next_frame`].
    #[must_use]
    pub fn new(lane: Lane, end: bool, payload: impl Into<Bytes>) -> Self {
        Self { lane, end, payload: payload.into() }
    }
}

impl FromIterator<OutFrame> for Batch {
    /// A batch of these frames, in this order.
    fn from_iter<I: IntoIterator<Item = OutFrame>>(frames: I) -> Self {
        let mut batch = Self::default();
        frames.into_iter().for_each(|frame| batch.push(frame));
        batch
    }
}
