//! What one frame brings of a message: borrowed from a read buffer, or in a buffer of its own.

use bytes::{Bytes, BytesMut};

use super::{gathered::Gathered, shelf::Shelf};
use crate::{body::Body, outbox::BULK_BYTES};

/// The part of a message.
#[derive(Debug)]
pub(crate) enum Part<'a> {
    /// In a read buffer.
    Borrowed(&'a [u8]),
    /// In a buffer that others may hold too.
    Shared(Bytes),
    /// In a buffer that came from [`Mux::room`](super::Mux::room), with the frame's header in front.
    Filled { frame: BytesMut, start: usize },
}

impl Part<'_> {
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
            Self::Filled { frame, start } => frame.get(*start..).unwrap_or_default(),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// It is the whole message. A small one is copied into `buffer`, so that it never pins a large one.
    #[inline]
    pub(crate) fn into_body(self, shelf: &mut Shelf, mut buffer: Vec<u8>) -> Body {
        if self.len() < BULK_BYTES {
            buffer.clear();
            buffer.extend_from_slice(self.as_slice());
            return Body::Buffer(buffer);
        }
        match self {
            Self::Shared(bytes) => Body::Shared(bytes),
            other => Gathered::new(shelf, other, false).into_body(shelf),
        }
    }
}
