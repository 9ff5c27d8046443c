//! What transports, and the code above them, are tested with; nothing that a program needs.
//!
//! - [`conformance`] checks that a transport keeps every promise of the
//!   [contract](crate::transport). Ours run it, and so should every other.
//! - [`adversary`] is a transport in memory that keeps the contract and is otherwise as unkind as
//!   the contract allows.
//! - [`promises`] checks what calls promise, over any transport: every run keeps a ledger of what
//!   handlers ran and of what callers were told, and the books have to balance.
//! - [`mortal`] makes connections of any transport that can be ended from outside.
//! - [`OutFrame::new`] and `Batch`'s [`FromIterator`] make what a transport is given to send, for
//!   tests that speak to one directly.
//!
//! Everything random here comes from a seed, and never from anywhere else.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    reason = "tests run it, and a panic is how it reports"
)]

pub mod adversary;
mod checkout;
pub mod conformance;
pub mod mortal;
#[doc(hidden)]
pub mod paths;
pub mod promises;
mod random;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
#[doc(hidden)]
pub use checkout::checkout;

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

/// What the future gives, unless it takes longer than `limit`.
async fn in_time<R>(limit: Duration, future: impl Future<Output = R>) -> Option<R> {
    let started = Instant::now();
    let mut timer = pin!(tokio::time::sleep(limit));
    let mut future = pin!(future);
    poll_fn(|cx| {
        // The timer first: one more look at the future would make up for a wake-up that was lost.
        // The clock besides: it goes on when paused time doesn't, because nobody ever sleeps.
        if timer.as_mut().poll(cx).is_ready() || started.elapsed() > limit {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}
