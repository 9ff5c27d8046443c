//! A message body: bytes in a small buffer of their own, or shared ones; nothing about frames.

use bytes::Bytes;

use crate::outbox::BULK_BYTES;

/// The encoded arguments or the encoded reply of a call.
#[derive(Debug)]
pub(crate) enum Body {
    /// A buffer that can be used again.
    Buffer(Vec<u8>),
    /// Bytes that were received into a buffer of their own.
    Shared(Bytes),
}

impl Body {
    pub(crate) const fn empty() -> Self {
        Self::Buffer(Vec::new())
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Buffer(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// The same, so that parts of it can be kept without a copy if it is large.
    #[inline]
    pub(crate) fn into_shared(self) -> Self {
        match self {
            Self::Buffer(bytes) if bytes.len() >= BULK_BYTES => Self::Shared(bytes.into()),
            small_or_shared => small_or_shared,
        }
    }

    /// An empty buffer, the same one if possible.
    #[inline]
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        match self {
            Self::Buffer(mut bytes) => {
                bytes.clear();
                bytes
            }
            Self::Shared(_) => Vec::new(),
        }
    }
}
