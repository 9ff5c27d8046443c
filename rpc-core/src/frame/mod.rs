//! Frames: kinds, layouts and ids, as `spec/wire.md` defines them; no state and no I/O.
//!
//! # Stream layout
//! On a byte stream, and inside the outbox, a frame lies behind a prefix of 12 bytes: a length word
//! (31 bits of length, then the end-of-lane bit) and the lane. All integers are little-endian.
//!
//! The map of this directory: `encode` writes frames, `decode` is a total function from bytes to a
//! [`Frame`], `hello` and `extension` are the two parts that have a layout of their own.

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

mod decode;
mod encode;
mod extension;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod hello;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use decode::{Frame, FrameError};
pub(crate) use encode::{
    RequestHeader, TEXT_BYTES_MAX, encode_abort, encode_cancel, encode_close, encode_credit,
    encode_data_header, encode_end, encode_error, encode_go_away, encode_hello, encode_item_header,
    encode_ping, encode_pong, encode_prefix, encode_reply_header, encode_request_header,
    encode_stop, encode_stream_reply, framed, set_end, set_more,
};
pub(crate) use extension::{EXTENSION_HEADER_BYTES, Extensions};
pub use extension::{Metadata, MetadataError};
pub(crate) use hello::{Features, Hello};

/// Bytes before each frame in stream layout: the length word and the lane.
pub(crate) const PREFIX_BYTES: usize = 12;

/// Bytes every frame begins with: kind, flags, length of the extensions.
pub(crate) const COMMON_BYTES: usize = 4;

/// Bytes of a DATA frame before its body.
pub(crate) const DATA_HEADER_BYTES: usize = COMMON_BYTES;

/// The kind of a frame that was taken back before it was sent: every peer skips it.
/// Spec: `r[frame.unknown]`.
pub(crate) const VOID: u8 = 128;

/// The version of the frames. Spec: `r[hello.version]`.
pub(crate) const WIRE_VERSION: u16 = 1;

/// The bit of the length word that marks the last frame of a lane. Spec: `r[stream.prefix]`.
const END_BIT: u32 = 1 << 31;

/// What a frame is. Spec: `r[frame.kind]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Hello = 1,
    Request = 2,
    Reply = 3,
    Error = 4,
    Data = 5,
    Credit = 6,
    Cancel = 7,
    Ping = 8,
    Pong = 9,
    GoAway = 10,
    Close = 11,
    Item = 12,
    End = 13,
    Stop = 14,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        // r[impl frame.kind]
        Some(match byte {
            1 => Self::Hello,
            2 => Self::Request,
            3 => Self::Reply,
            4 => Self::Error,
            5 => Self::Data,
            6 => Self::Credit,
            7 => Self::Cancel,
            8 => Self::Ping,
            9 => Self::Pong,
            10 => Self::GoAway,
            11 => Self::Close,
            12 => Self::Item,
            13 => Self::End,
            14 => Self::Stop,
            _ => return None,
        })
    }

    /// Whether frames of this kind belong on lane 0. Spec: `r[frame.lane]`.
    fn is_control(self) -> bool {
        !matches!(
            self,
            Self::Request | Self::Reply | Self::Error | Self::Data | Self::Item | Self::End
        )
    }
}

/// Flag bits of a frame. Spec: `r[frame.flags]`.
pub(crate) mod flag {
    // r[impl frame.flags]
    /// The message goes on in the next frame of this lane.
    pub(crate) const MORE: u8 = 1 << 0;
    /// REQUEST: the method may be repeated without harm.
    pub(crate) const IDEMPOTENT: u8 = 1 << 1;
    /// REPLY: the body is the error that the handler returned.
    pub(crate) const APP_ERROR: u8 = 1 << 1;
    /// DATA: the message is given up; what came of it is worthless.
    pub(crate) const ABORT: u8 = 1 << 1;
    /// REQUEST, REPLY: items follow the message on its lane.
    pub(crate) const STREAM: u8 = 1 << 2;
    /// GO_AWAY: this is the answer to the peer's go-away.
    pub(crate) const ANSWER: u8 = 1 << 1;
}

/// An ordered sequence of frames within a connection. Lane 0 carries control frames; every call has
/// a lane of its own, whose number is the call's id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(u64);

impl Lane {
    /// The lane of the hello and of all control frames.
    pub const CONTROL: Self = Self(0);

    /// The lane with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number, as it goes over the wire.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lane({:#x})", self.0)
    }
}

/// Which side of a connection opened a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// The side that made the connection. Its call ids are even.
    Connector,
    /// The side that accepted it. Its call ids are odd.
    Acceptor,
}

impl Role {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Connector => Self::Acceptor,
            Self::Acceptor => Self::Connector,
        }
    }
}

/// The id of a call, unique within its connection for ever: a strictly increasing sequence in the
/// high 40 bits, the slot in the low 24, whose lowest bit names the side that opened the call.
/// Spec: `r[call.id]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallId(u64);

impl CallId {
    const SLOT_BITS: u32 = 24;
    /// Slots that one side can number.
    pub(crate) const SLOTS_MAX: u32 = 1 << (Self::SLOT_BITS - 1);
    /// The last sequence number; the connection is replaced before it is used up.
    pub(crate) const SEQUENCE_MAX: u64 = (1 << 40) - 1;

    pub(crate) fn new(sequence: u64, slot: u32, opener: Role) -> Self {
        // r[impl call.id]
        debug_assert!(sequence <= Self::SEQUENCE_MAX && slot < Self::SLOTS_MAX);
        Self(
            sequence << Self::SLOT_BITS
                | u64::from(slot) << 1
                | u64::from(opener == Role::Acceptor),
        )
    }

    /// The id with this number, unless it is one that no call can have.
    pub(crate) fn from_wire(number: u64) -> Option<Self> {
        (number >> Self::SLOT_BITS > 0).then_some(Self(number))
    }

    pub(crate) fn lane(self) -> Lane {
        Lane(self.0)
    }

    pub(crate) fn sequence(self) -> u64 {
        self.0 >> Self::SLOT_BITS
    }

    pub(crate) fn slot(self) -> usize {
        let [low, middle, high, ..] = self.0.to_le_bytes();
        (u32::from_le_bytes([low, middle, high, 0]) >> 1) as usize
    }

    pub(crate) fn opener(self) -> Role {
        if self.0 & 1 == 0 { Role::Connector } else { Role::Acceptor }
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CallId({}@{}{})",
            self.sequence(),
            self.slot(),
            match self.opener() {
                Role::Connector => "c",
                Role::Acceptor => "a",
            }
        )
    }
}

/// Reads the prefix of a frame in stream layout: its length, whether it ends its lane, its lane.
/// `None` when fewer than [`PREFIX_BYTES`] are there.
#[inline]
pub(crate) fn decode_prefix(bytes: &[u8]) -> Option<(usize, bool, Lane)> {
    // r[impl stream.prefix]
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    let (lane, _) = rest.split_first_chunk::<8>()?;
    let word = u32::from_le_bytes(*word);
    let lane = Lane(u64::from_le_bytes(*lane));
    Some(((word & !END_BIT) as usize, word & END_BIT != 0, lane))
}
