//! Where a session's frames come from and go to: a batch of core's, or nothing and nobody.

use rpc_core::transport::{Batch, InFrame, Inbox};

use crate::proto::session::Source;

/// The frames of a batch, as the session takes them.
pub(super) struct Frames<'a>(pub(super) &'a mut Batch);

impl Source for Frames<'_> {
    #[inline]
    fn peek(&self) -> Option<(u64, bool, usize)> {
        self.0.peek().map(|info| (info.lane.number(), info.end, info.bytes))
    }

    #[inline]
    fn take(&mut self, out: &mut Vec<u8>) {
        self.0.next_frame_into(out);
    }

    fn remaining(&self) -> usize {
        bytes::Buf::remaining(self.0)
    }
}

/// No new frames.
pub(super) struct Nothing;

impl Source for Nothing {
    fn is_all(&self) -> bool {
        false
    }

    fn peek(&self) -> Option<(u64, bool, usize)> {
        None
    }

    fn take(&mut self, _: &mut Vec<u8>) {}

    fn remaining(&self) -> usize {
        0
    }
}

/// Receives when nothing is to come.
pub(super) struct Nobody;

impl Inbox for Nobody {
    fn push(&mut self, _: InFrame<'_>) {}

    fn frame_bytes_max(&self) -> usize {
        0
    }
}
