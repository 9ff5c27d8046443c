//! Frames inside data packets, as `spec/datagram.md` defines them; no state. The core's frames are
//! opaque here: a lane frame carries one, or a piece of one.

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

mod ack;
#[cfg(test)]
mod tests;

pub(crate) use ack::{Ack, AckHead, PlainAck, encode_ack};

use super::packet::{FRAME_BYTES, low32};

/// The first byte of a frame. Spec: `r[datagram.frames]`.
mod kind {
    pub(super) const PADDING: u8 = 0x00;
    pub(super) const PING: u8 = 0x01;
    pub(super) const ACK: u8 = 0x02;
    pub(super) const ACK_ECN: u8 = 0x03;
    pub(super) const CHALLENGE: u8 = 0x04;
    pub(super) const ANSWER: u8 = 0x05;
    pub(super) const FIN: u8 = 0x06;
    pub(super) const CLOSE: u8 = 0x07;
    pub(super) const LANE_FRAME: u8 = 0x08;
    /// On a lane frame: it is the last of its lane.
    pub(super) const END: u8 = 0x01;
    /// On a lane frame: the core's frame goes on in the next one of the lane.
    pub(super) const MORE: u8 = 0x02;
}

/// A frame, borrowing from the packet it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// Nothing but a wish for an ACK.
    Ping,
    Ack(Ack<'a>),
    /// Is it you, at this address?
    Challenge([u8; 8]),
    /// The bytes of a challenge, from the address that was asked.
    Answer([u8; 8]),
    /// No lane frame follows those that were sent. The low 32 bits of their number.
    Fin {
        total: u32,
    },
    /// The session is over.
    Close {
        code: u8,
    },
    Data(LaneFrame<'a>),
}

/// A frame of the core's, or a piece of one. Spec: `r[lane-frame.layout]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneFrame<'a> {
    /// The low 32 bits of its number among all lane frames of this direction.
    pub(crate) number: u32,
    pub(crate) lane: u64,
    /// The low 32 bits of its number among those of its lane.
    pub(crate) lane_seq: u32,
    /// It is the last of its lane.
    pub(crate) end: bool,
    /// The core's frame goes on in the next one of the lane.
    pub(crate) more: bool,
    pub(crate) payload: &'a [u8],
}

/// Why bytes are no frame. The session is closed with PROTOCOL: the checksum is right, so the peer
/// means it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a frame reaches beyond its packet")]
    TooShort,
    #[error("a frame is of the unknown type {0:#04x}")]
    UnknownType(u8),
    #[error("a frame has a number that the specification excludes")]
    BadValue,
}

/// The frames of a packet, in order. Ends with the packet, PADDING or the first error.
#[derive(Debug, Clone)]
pub(crate) struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// The frames in what follows the header, and the cookie, of a data packet.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What lies behind the frames: padding, or whatever begins none.
    pub(crate) fn behind(mut self) -> &'a [u8] {
        loop {
            let before = self.rest;
            let Ok(Some(_)) = self.decode() else { return before };
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (chunk, rest) = self.rest.split_first_chunk().ok_or(Malformed::TooShort)?;
        self.rest = rest;
        Ok(*chunk)
    }

    fn slice(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (slice, rest) = self.rest.split_at_checked(bytes).ok_or(Malformed::TooShort)?;
        self.rest = rest;
        Ok(slice)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_le_bytes)
    }

    fn lane_frame(&mut self, flags: u8) -> Result<LaneFrame<'a>, Malformed> {
        // r[impl lane-frame.layout] r[impl lane-frame.size]
        let bytes = usize::from(u16::from_le_bytes(self.take()?));
        let number = self.u32()?;
        let lane = u64::from_le_bytes(self.take()?);
        let lane_seq = self.u32()?;
        let (end, more) = (flags & kind::END != 0, flags & kind::MORE != 0);
        // A piece before others can be neither the last of its lane nor empty: an endless row of
        // empty ones would never reach a limit.
        if bytes > FRAME_BYTES || more && (end || bytes == 0) {
            return Err(Malformed::BadValue);
        }
        Ok(LaneFrame { number, lane, lane_seq, end, more, payload: self.slice(bytes)? })
    }

    fn decode(&mut self) -> Result<Option<Frame<'a>>, Malformed> {
        // r[impl datagram.frames] r[impl datagram.malformed-frame]
        let Some((&first, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        Ok(Some(match first {
            kind::PADDING => return Ok(None),
            kind::PING => Frame::Ping,
            kind::ACK => Frame::Ack(Ack::decode(self, false)?),
            kind::ACK_ECN => Frame::Ack(Ack::decode(self, true)?),
            kind::CHALLENGE => Frame::Challenge(self.take()?),
            kind::ANSWER => Frame::Answer(self.take()?),
            kind::FIN => Frame::Fin { total: self.u32()? },
            kind::CLOSE => {
                let [code] = self.take()?;
                Frame::Close { code }
            }
            0x08..=0x0b => Frame::Data(self.lane_frame(first)?),
            unknown => return Err(Malformed::UnknownType(unknown)),
        }))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let decoded = self.decode();
        if !matches!(decoded, Ok(Some(_))) {
            self.rest = &[];
        }
        decoded.transpose()
    }
}

/// How many bytes of payload the lane frame at the beginning of `bytes` has; for one that this side
/// made itself.
pub(crate) fn lane_frame_bytes(bytes: &[u8]) -> Option<usize> {
    let &[kind, low, high] = bytes.first_chunk()?;
    (kind >= kind::LANE_FRAME).then(|| u16::from_le_bytes([low, high]).into())
}

/// Bytes of a PING.
#[cfg(any(fuzzing, test))]
pub(crate) const PING_BYTES: usize = 1;

pub(crate) fn encode_ping(out: &mut Vec<u8>) {
    out.push(kind::PING);
}

/// Bytes of a CHALLENGE, and of an ANSWER.
#[cfg(any(fuzzing, test))]
pub(crate) const CHALLENGE_BYTES: usize = 9;

pub(crate) fn encode_challenge(out: &mut Vec<u8>, token: [u8; 8]) {
    out.push(kind::CHALLENGE);
    out.extend_from_slice(&token);
}

pub(crate) fn encode_answer(out: &mut Vec<u8>, token: [u8; 8]) {
    out.push(kind::ANSWER);
    out.extend_from_slice(&token);
}

/// Bytes of a FIN.
pub(crate) const FIN_BYTES: usize = 5;

/// `total` is how many lane frames were sent in all.
pub(crate) fn encode_fin(out: &mut Vec<u8>, total: u64) {
    out.push(kind::FIN);
    out.extend_from_slice(&low32(total).to_le_bytes());
}

/// Bytes of a CLOSE.
#[cfg(any(fuzzing, test))]
pub(crate) const CLOSE_BYTES: usize = 2;

pub(crate) fn encode_close(out: &mut Vec<u8>, code: u8) {
    out.extend_from_slice(&[kind::CLOSE, code]);
}

/// What a lane frame says before the bytes that it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) number: u64,
    pub(crate) lane: u64,
    pub(crate) lane_seq: u64,
    pub(crate) end: bool,
    pub(crate) more: bool,
}

/// Begins a lane frame, which `bytes` bytes follow: at most [`FRAME_BYTES`].
#[inline]
pub(crate) fn encode_frame_header(out: &mut Vec<u8>, header: FrameHeader, bytes: usize) {
    // r[impl lane-frame.layout]
    let FrameHeader { number, lane, lane_seq, end, more } = header;
    debug_assert!(bytes <= FRAME_BYTES && !(more && (end || bytes == 0)));
    let mut first = kind::LANE_FRAME;
    if end {
        first |= kind::END;
    }
    if more {
        first |= kind::MORE;
    }
    out.push(first);
    out.extend_from_slice(&u16::try_from(bytes).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(&low32(number).to_le_bytes());
    out.extend_from_slice(&lane.to_le_bytes());
    out.extend_from_slice(&low32(lane_seq).to_le_bytes());
}
