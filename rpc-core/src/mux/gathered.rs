//! A message of many frames as far as it has come, and the place where its next frame is received.
//! Not what may be collected: limits are looked at before.

use bytes::{Bytes, BytesMut};

use super::{
    part::Part,
    shelf::{LARGE_BYTES, PART_TO_FILL, Shelf},
};
use crate::{body::Body, frame::DATA_HEADER_BYTES, transport::RESERVE_BYTES};

/// The message.
///
/// A large frame is received behind what is here, by the transport: in [`room`](Gathered::room), which
/// begins so far before the end that the frame's header, of no use then, covers the last bytes of the
/// message. They are kept aside meanwhile. So its body needn't be moved.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    bytes: BytesMut,
    /// Where the message begins: behind the header of its first frame, if that was received in place.
    start: usize,
    /// Its last bytes, while they are covered.
    covered: Option<[u8; DATA_HEADER_BYTES]>,
}

impl Gathered {
    /// The first part of a message, or all of it if there is no `more`.
    pub(crate) fn new(shelf: &mut Shelf, part: Part<'_>, more: bool) -> Self {
        if let Part::Filled { frame, start } = part {
            return Self { bytes: frame, start, covered: None };
        }
        let part = part.as_slice();
        let mut bytes = shelf.take(part.len(), more).unwrap_or_default();
        bytes.extend_from_slice(part);
        Self { bytes, ..Self::default() }
    }

    /// How many bytes have come.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        let covered = self.covered.map_or(0, |covered| covered.len());
        self.bytes.len().saturating_sub(self.start).saturating_add(covered)
    }

    /// Room for the message's next frame, of `frame_bytes`, of which `beginning` has come. It is given
    /// back through [`add`](Gathered::add), or never.
    pub(crate) fn room(
        &mut self,
        shelf: &mut Shelf,
        frame_bytes: usize,
        beginning: &[u8],
    ) -> BytesMut {
        self.uncover();
        // No more memory than the message has, unless that is little.
        let body = frame_bytes.min(self.bytes.len().max(RESERVE_BYTES));
        self.reserve(shelf, body.max(beginning.len()));
        let mut room = match self.bytes.len().checked_sub(DATA_HEADER_BYTES) {
            Some(at) if at >= self.start => self.bytes.split_off(at),
            _ => BytesMut::with_capacity(body),
        };
        self.covered = room.first_chunk().copied();
        room.clear();
        room.extend_from_slice(beginning);
        room
    }

    /// Adds what one more frame brought.
    pub(crate) fn add(&mut self, shelf: &mut Shelf, part: Part<'_>) {
        match (part, self.covered) {
            (Part::Filled { frame, start: DATA_HEADER_BYTES }, Some(covered)) => {
                let at = self.bytes.len();
                match self.bytes.try_unsplit(frame) {
                    Ok(()) => {
                        self.covered = None;
                        let rest = self.bytes.get_mut(at..).unwrap_or_default();
                        if let Some(header) = rest.first_chunk_mut() {
                            *header = covered;
                        }
                    }
                    // It is another buffer: it had to grow.
                    Err(frame) => {
                        self.append(shelf, frame.get(DATA_HEADER_BYTES..).unwrap_or_default());
                    }
                }
            }
            (part, _) => self.append(shelf, part.as_slice()),
        }
    }

    /// All of it has come.
    pub(crate) fn into_body(mut self, shelf: &mut Shelf) -> Body {
        self.uncover();
        let Self { mut bytes, start, .. } = self;
        let message = bytes.get(start..).unwrap_or_default();
        let copy = (bytes.capacity() > message.len().max(LARGE_BYTES).saturating_mul(PART_TO_FILL))
            .then(|| Bytes::copy_from_slice(message));
        shelf.keep(&mut bytes);
        Body::Shared(copy.unwrap_or_else(|| bytes.freeze().slice(start..)))
    }

    fn append(&mut self, shelf: &mut Shelf, more: &[u8]) {
        self.uncover();
        self.reserve(shelf, more.len());
        self.bytes.extend_from_slice(more);
    }

    fn uncover(&mut self) {
        if let Some(covered) = self.covered.take() {
            self.bytes.extend_from_slice(&covered);
        }
    }

    /// Makes room for so many more bytes. Memory grows to twice of what is needed.
    fn reserve(&mut self, shelf: &mut Shelf, more: usize) {
        let length = self.bytes.len().saturating_add(more);
        if length <= self.bytes.capacity() {
            return;
        }
        match shelf.take(length, true) {
            Some(mut buffer) => {
                buffer.extend_from_slice(&self.bytes);
                shelf.keep(&mut self.bytes);
                self.bytes = buffer;
            }
            None => self.bytes.reserve(more),
        }
    }
}
