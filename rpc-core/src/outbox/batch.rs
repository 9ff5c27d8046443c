//! Batches: frames on their way out, as a byte stream or one by one.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

use crate::frame::{self, Lane, PREFIX_BYTES};

/// Frames on their way out, in order: what the outbox held when the writer ran.
///
/// A byte stream writes it as it lies, through [`Buf`]; a transport of datagrams takes it frame by
/// frame: it [peeks](Batch::peek), and packs what fits [into its own buffer](Batch::next_frame_into).
/// What was consumed counts as possibly sent.
#[derive(Debug, Default)]
pub struct Batch {
    /// Small frames and the headers of large ones, in stream layout.
    pub(super) bytes: Vec<u8>,
    /// How much of `bytes` is consumed.
    pub(super) at: usize,
    /// Bodies that belong at the given offsets of `bytes`.
    pub(super) bodies: VecDeque<(usize, Bytes)>,
    /// Bytes left, bodies included.
    pub(super) remaining: usize,
    /// The outbox's position after this batch.
    pub(super) end: u64,
}

/// One frame to send, as [`Batch::next_frame`] hands it out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutFrame {
    /// The lane it belongs to.
    pub lane: Lane,
    /// Whether it is the last frame of its lane in this direction.
    pub end: bool,
    /// The frame.
    pub payload: Bytes,
}

/// The next frame of a batch, as [`Batch::peek`] describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameInfo {
    /// The lane it belongs to.
    pub lane: Lane,
    /// Whether it is the last frame of its lane in this direction.
    pub end: bool,
    /// How large it is, in bytes.
    pub bytes: usize,
}

impl Batch {
    /// Whether everything was consumed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    /// The next frame, without consuming it. `None` when the batch is empty.
    ///
    /// Not to be mixed with consuming it as a byte stream.
    #[must_use]
    pub fn peek(&self) -> Option<FrameInfo> {
        let prefix = self.bytes.get(self.at..)?;
        let (length, end, lane) = frame::decode_prefix(prefix)?;
        let rest = self.remaining.saturating_sub(PREFIX_BYTES);
        Some(FrameInfo { lane, end, bytes: length.min(rest) })
    }

    /// Consumes one whole frame into a buffer of its own. `None` when the batch is empty.
    ///
    /// Not to be mixed with consuming it as a byte stream.
    pub fn next_frame(&mut self) -> Option<OutFrame> {
        let FrameInfo { lane, end, bytes } = self.peek()?;
        self.advance(PREFIX_BYTES);
        let payload = self.copy_to_bytes(bytes);
        Some(OutFrame { lane, end, payload })
    }

    /// Consumes one whole frame and appends its bytes to `out`, which is the only thing that it
    /// allocates for. Returns the lane and whether the frame is the last of it; `None` when the
    /// batch is empty, with `out` as it was.
    ///
    /// Not to be mixed with consuming it as a byte stream.
    pub fn next_frame_into(&mut self, out: &mut Vec<u8>) -> Option<(Lane, bool)> {
        let FrameInfo { lane, end, mut bytes } = self.peek()?;
        self.advance(PREFIX_BYTES);
        out.reserve(bytes);
        while bytes > 0 {
            let chunk = self.chunk();
            let piece = chunk.get(..bytes).unwrap_or(chunk);
            let taken = piece.len();
            debug_assert!(taken > 0, "a frame is whole in its batch");
            out.extend_from_slice(piece);
            self.advance(taken);
            bytes -= taken;
        }
        Some((lane, end))
    }

    /// Appends one frame, laid out as the outbox does it: large payloads stay where they are.
    #[cfg(feature = "testing")]
    pub(crate) fn push(&mut self, OutFrame { lane, end, payload }: OutFrame) {
        frame::encode_prefix(&mut self.bytes, lane, payload.len(), end);
        self.remaining += PREFIX_BYTES + payload.len();
        self.end += (PREFIX_BYTES + payload.len()) as u64;
        if payload.len() < super::BULK_BYTES {
            self.bytes.extend_from_slice(&payload);
        } else {
            self.bodies.push_back((self.bytes.len(), payload));
        }
    }

    /// The same frames, behind others of their connection that end at `position`.
    #[cfg(feature = "testing")]
    pub(crate) fn behind(self, position: usize) -> Self {
        Self { end: self.end + position as u64, ..self }
    }

    /// How much of everything that was ever handed over in batches of this connection has been
    /// consumed, in bytes as a byte stream has them: it begins at 0, and each frame adds its own
    /// bytes and the 12 of its prefix, from batch to batch. Right after a frame was taken, this is
    /// where that frame ends.
    ///
    /// So it says how far a connection is without a look into the frames: a transport keeps it with
    /// what it sends, to tell later what of that its peer can't have got
    /// ([`TransportError::Reset`](crate::transport::TransportError::Reset)).
    #[must_use]
    pub fn position(&self) -> u64 {
        self.end - self.remaining as u64
    }

    /// Gives back the memory that nothing needs while the connection is idle.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.bodies = VecDeque::new();
        }
    }

    /// Where the run of `bytes` that begins at `at` ends: at the next body, or at the end.
    fn run_end(&self) -> usize {
        self.bodies.front().map_or(self.bytes.len(), |(offset, _)| *offset)
    }
}

impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        match (self.bytes.get(self.at..self.run_end()), self.bodies.front()) {
            (Some([]) | None, Some((_, body))) => body,
            (Some(run), _) => run,
            (None, None) => &[],
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut at = self.at;
        let mut bodies = self.bodies.iter();
        let pieces = std::iter::from_fn(|| {
            let Some((offset, body)) = bodies.next() else {
                let rest = self.bytes.get(at..).unwrap_or_default();
                at = self.bytes.len();
                return (!rest.is_empty()).then_some((rest, &[][..]));
            };
            let run = self.bytes.get(at..*offset).unwrap_or_default();
            at = *offset;
            Some((run, &body[..]))
        });
        for (run, body) in pieces {
            for piece in [run, body] {
                let Some(slot) = slices.get_mut(used) else { return used };
                if !piece.is_empty() {
                    *slot = IoSlice::new(piece);
                    used += 1;
                }
            }
        }
        used
    }

    fn advance(&mut self, mut count: usize) {
        debug_assert!(count <= self.remaining);
        self.remaining = self.remaining.saturating_sub(count);
        while count > 0 {
            let run = self.run_end() - self.at;
            let step = run.min(count);
            self.at += step;
            count -= step;
            if count == 0 {
                break;
            }
            let Some((_, body)) = self.bodies.front_mut() else { break };
            let step = body.len().min(count);
            body.advance(step);
            count -= step;
            if body.is_empty() {
                self.bodies.pop_front();
            }
        }
    }
}
