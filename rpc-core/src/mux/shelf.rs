//! Large messages while they are collected, and the buffer that is used for one after the other. Not
//! what may be collected: limits are looked at before.
//!
//! An allocator may give the memory of every large message back to the kernel, as glibc's does. Its
//! pages are then faulted in again for the next one, and whoever drops the message waits while they are
//! unmapped, 2 to 7 ms for 64 MiB. So one buffer is kept as long as it is of use.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;

use crate::body::Body;

/// Buffers from this size on are kept. Below it allocators keep memory themselves.
const LARGE_BYTES: usize = 1024 * 1024;

/// A kept buffer is used for messages that have come to this part of it, so that small ones leave it
/// to large ones: what they have by then is copied.
const PART_TO_USE: usize = 16;

/// A message fills at least this part of the buffer that it is handed out in: whoever keeps it keeps
/// all of that.
const PART_TO_FILL: usize = 4;

/// Where one connection keeps a buffer.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// The largest message, and so the largest buffer.
    message_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Without capacity when there is none.
    buffer: Vec<u8>,
    /// Whether it was taken or put back since somebody last looked.
    used: bool,
    /// Whether somebody will look again.
    watched: bool,
    closed: bool,
}

impl Shelf {
    pub(crate) fn new(message_bytes: usize) -> Self {
        Self { message_bytes, kept: Mutex::default() }
    }

    /// Gives the buffer back to the system if it wasn't used since this was last called. Or at once,
    /// because nothing happens on the connection: then this isn't called again until something does.
    /// Takes milliseconds then: not to be called under a lock.
    pub(crate) fn trim(&self, at_once: bool) {
        let unused = {
            let mut kept = self.lock();
            let used = mem::take(&mut kept.used);
            kept.watched &= !at_once;
            if used && !at_once { Vec::new() } else { mem::take(&mut kept.buffer) }
        };
        drop(unused);
    }

    /// The connection has ended: nothing is kept from now on. Not to be called under a lock.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.trim(true);
    }

    /// The buffer, if one is there and suits a message of which `bytes` have come.
    fn take(&self, bytes: usize) -> Option<Vec<u8>> {
        let mut kept = self.lock();
        (kept.used, kept.watched) = (true, true);
        let suits = (bytes..=bytes.saturating_mul(PART_TO_USE)).contains(&kept.buffer.capacity());
        suits.then(|| mem::take(&mut kept.buffer))
    }

    /// Keeps a buffer for the next message. Of two, the larger one.
    fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut kept = self.lock();
        // Nobody would come to look after it while nothing happens on the connection.
        let wanted = kept.watched && !kept.closed && buffer.capacity() <= self.message_bytes;
        if wanted && buffer.capacity() > kept.buffer.capacity() {
            mem::swap(&mut kept.buffer, &mut buffer);
            kept.used = true;
        }
        drop(kept);
        drop(buffer);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How large the kept buffer is, 0 if there is none.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn kept_bytes(&self) -> usize {
        self.lock().buffer.capacity()
    }
}

/// A message as far as it has come. When it is large, its buffer goes to the shelf of its connection
/// at the end, if there still is one: on whatever thread the last handle to it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    bytes: Vec<u8>,
    shelf: Weak<Shelf>,
}

impl Gathered {
    /// How many bytes have come.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds bytes that have come. Memory grows with them, to twice of what is needed.
    pub(crate) fn extend(&mut self, shelf: &Arc<Shelf>, more: &[u8]) {
        let length = self.bytes.len() + more.len();
        if length > self.bytes.capacity() {
            self.grow(shelf, length);
        }
        self.bytes.extend_from_slice(more);
    }

    /// Makes room for `length` bytes.
    fn grow(&mut self, shelf: &Arc<Shelf>, length: usize) {
        if length >= LARGE_BYTES {
            self.shelf = Arc::downgrade(shelf);
            if let Some(mut buffer) = shelf.take(length) {
                buffer.extend_from_slice(&self.bytes);
                self.bytes = buffer;
                return;
            }
        }
        // No more than the largest message, or it couldn't be kept.
        let doubled = (2 * self.bytes.capacity()).min(shelf.message_bytes);
        self.bytes.reserve_exact(doubled.max(length) - self.bytes.len());
    }

    /// The buffer by itself, for a message that isn't large.
    #[inline]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        mem::take(&mut self.bytes)
    }

    /// All of it has come.
    pub(crate) fn into_body(mut self) -> Body {
        if self.bytes.len() < LARGE_BYTES {
            return Body::Buffer(self.take());
        }
        self.bytes.shrink_to(self.bytes.len().saturating_mul(PART_TO_FILL));
        Body::Shared(Bytes::from_owner(self))
    }
}

impl From<Vec<u8>> for Gathered {
    /// An empty buffer, to be used again.
    #[inline]
    fn from(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self { bytes, shelf: Weak::new() }
    }
}

impl AsRef<[u8]> for Gathered {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Gathered {
    #[inline]
    fn drop(&mut self) {
        if self.bytes.capacity() >= LARGE_BYTES
            && let Some(shelf) = self.shelf.upgrade()
        {
            shelf.put(mem::take(&mut self.bytes));
        }
    }
}
