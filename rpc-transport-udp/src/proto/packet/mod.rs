//! Layouts of datagrams, as `spec/datagram.md` defines them; no state, no sockets, no frames.
//!
//! Encoders append to a buffer, which may hold other datagrams already. Decoders are total functions
//! of any bytes. `setup` has the packets that exist outside of sessions; here is what all datagrams
//! share, and data packets up to their frames.

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

mod ids;
mod setup;
#[cfg(test)]
mod tests;

pub(crate) use ids::{Epoch, Nonce, SessionId, expand};
pub(crate) use setup::{Init, InitAck, Params, Reset, ResetReason, Versions};

use crate::planted::planted;

/// The version of the datagrams. Spec: `r[setup.versions]`.
pub(crate) const VERSION: u8 = 1;

/// The shortest datagram: as long as a RESET, which must not be longer than what it answers.
/// Spec: `r[datagram.size]`.
pub(crate) const DATAGRAM_BYTES_MIN: usize = 40;

/// What every path has to carry: 1280 bytes of IPv6, less headers, and a margin for tunnels.
pub(crate) const BASE_DATAGRAM_BYTES: usize = 1200;

/// The longest datagram: 1500 bytes of Ethernet, less the headers of IPv6 and UDP.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 1452;

/// Bytes of a data packet before its cookie or its frames.
pub(crate) const HEADER_BYTES: usize = 20;

/// Bytes of a cookie. Spec: `r[cookie.opaque]`.
pub(crate) const COOKIE_BYTES: usize = 40;

/// Bytes of a lane frame before what it carries.
pub(crate) const FRAME_HEADER_BYTES: usize = 19;

/// The most that one lane frame carries: what fits a base datagram behind header and cookie, rounded
/// down. So a lost frame fits any datagram, whatever has become of the path. Spec:
/// `r[lane-frame.size]`.
pub(crate) const FRAME_BYTES: usize = 1120;

/// Bytes of an INIT: a base datagram, so that its answer is never the longer of the two.
pub(crate) const INIT_BYTES: usize = BASE_DATAGRAM_BYTES;

/// Bytes of an INIT_ACK.
pub(crate) const INIT_ACK_BYTES: usize = 88;

/// Bytes of a RESET, and of VERSIONS.
pub(crate) const RESET_BYTES: usize = 40;

const _: () =
    assert!(HEADER_BYTES + COOKIE_BYTES + FRAME_HEADER_BYTES + FRAME_BYTES <= BASE_DATAGRAM_BYTES);

/// The first byte. Spec: `r[datagram.common]`.
mod bits {
    // r[impl datagram.common]
    /// The two highest bits, which tell our datagrams from those of other protocols on a port.
    pub(super) const OURS_MASK: u8 = 0b1100_0000;
    pub(super) const OURS: u8 = 0b0100_0000;
    pub(super) const SETUP: u8 = 1 << 5;
    pub(super) const FROM_SERVER: u8 = 1 << 4;
    /// Data packets of clients: a cookie lies before the frames.
    pub(super) const COOKIE: u8 = 1 << 3;
    pub(super) const VERSION_MASK: u8 = 0b111;
}

/// Where the checksum lies.
const CRC_AT: std::ops::Range<usize> = 4..8;

/// What a set-up packet is. Spec: `r[datagram.common]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Init = 1,
    InitAck = 2,
    Reset = 3,
    Versions = 4,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Init,
            2 => Self::InitAck,
            3 => Self::Reset,
            4 => Self::Versions,
            _ => return None,
        })
    }

    /// Whether servers send it. The other one of the two ignores it, so that nothing can be
    /// reflected between two servers.
    fn is_from_server(self) -> bool {
        self != Self::Init
    }
}

/// What a datagram claims to be, by its first bytes and its length; nothing of it is checked yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peek {
    /// A data packet of this version.
    Data { session: SessionId, from_server: bool, has_cookie: bool },
    /// A set-up packet of any version, from the side that sends such.
    Setup { kind: Kind, version: u8 },
}

/// What a datagram claims to be, if it may be one of ours: cheap, to find out whose it is.
#[inline]
pub(crate) fn peek(bytes: &[u8]) -> Option<Peek> {
    // r[impl datagram.size] r[impl datagram.direction]
    if !(DATAGRAM_BYTES_MIN..=DATAGRAM_BYTES_MAX).contains(&bytes.len()) {
        return None;
    }
    let (&[first, kind, ..], rest) = bytes.split_first_chunk::<8>()?;
    if first & bits::OURS_MASK != bits::OURS {
        return None;
    }
    let version = first & bits::VERSION_MASK;
    let from_server = first & bits::FROM_SERVER != 0;
    let has_cookie = first & bits::COOKIE != 0;
    if first & bits::SETUP != 0 {
        let kind = Kind::from_byte(kind)?;
        return (kind.is_from_server() == from_server).then_some(Peek::Setup { kind, version });
    }
    if version != VERSION || from_server && has_cookie {
        return None;
    }
    let (session, _) = rest.split_first_chunk()?;
    let session = SessionId(u64::from_le_bytes(*session));
    Some(Peek::Data { session, from_server, has_cookie })
}

/// Writes the checksum of a datagram that is complete but for it.
pub(crate) fn seal(datagram: &mut [u8]) {
    // r[impl datagram.crc]
    let crc = checksum(datagram);
    match (datagram.get_mut(CRC_AT), crc) {
        (Some(field), Some(crc)) => field.copy_from_slice(&crc.to_le_bytes()),
        _ => debug_assert!(false, "a datagram without common bytes"),
    }
}

/// Whether the checksum of a datagram is right.
pub(crate) fn check(datagram: &[u8]) -> bool {
    // r[impl datagram.crc]
    let found = datagram.get(CRC_AT);
    checksum(datagram).is_some_and(|crc| found == Some(crc.to_le_bytes().as_slice()))
}

/// CRC-32C of all but the four bytes that hold it.
fn checksum(datagram: &[u8]) -> Option<u32> {
    let (head, rest) = datagram.split_first_chunk::<4>()?;
    let (_, rest) = rest.split_first_chunk::<4>()?;
    Some(crc32c::crc32c_append(crc32c::crc32c(head), rest))
}

/// What a data packet says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DataHeader {
    pub(crate) from_server: bool,
    pub(crate) epoch: Epoch,
    pub(crate) session: SessionId,
    /// The packet number, of which the low 32 bits go over the wire.
    pub(crate) pn: u64,
}

/// Begins a data packet at the end of `out`. Frames follow, then [`finish`].
pub(crate) fn begin_data(
    out: &mut Vec<u8>,
    header: DataHeader,
    cookie: Option<&[u8; COOKIE_BYTES]>,
) {
    // r[impl datagram.data]
    let DataHeader { from_server, epoch, session, pn } = header;
    debug_assert!(!(from_server && cookie.is_some()), "cookies go from clients to servers");
    let mut first = bits::OURS | VERSION;
    if from_server {
        first |= bits::FROM_SERVER;
    }
    if cookie.is_some() {
        first |= bits::COOKIE;
    }
    out.extend_from_slice(&[first, 0]);
    out.extend_from_slice(&epoch.low16().to_le_bytes());
    out.extend_from_slice(&[0; CRC_AT.end - CRC_AT.start]);
    out.extend_from_slice(&session.0.to_le_bytes());
    out.extend_from_slice(&low32(pn).to_le_bytes());
    if let Some(cookie) = cookie {
        out.extend_from_slice(cookie);
    }
}

/// Completes the datagram that begins at `start` and ends with `out`: pads it to `bytes`, or as far
/// as it has to be, and seals it.
pub(crate) fn finish(out: &mut Vec<u8>, start: usize, bytes: usize) {
    // r[impl datagram.size]
    let end = start.saturating_add(bytes.max(DATAGRAM_BYTES_MIN));
    if out.len() < end {
        // PADDING is the frame 0, and the rest of its datagram.
        out.resize(end, 0);
    }
    if let Some(datagram) = out.get_mut(start..) {
        debug_assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
        seal(datagram);
    }
}

/// A data packet whose checksum is right. Its frames are not looked at yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Data<'a> {
    pub(crate) from_server: bool,
    /// The low 16 bits of the server's epoch.
    pub(crate) epoch16: u16,
    pub(crate) session: SessionId,
    /// The low 32 bits of the packet number, for [`expand`].
    pub(crate) pn32: u32,
    pub(crate) cookie: Option<&'a [u8; COOKIE_BYTES]>,
    pub(crate) frames: &'a [u8],
}

/// Decodes a data packet of this version, unless it is damaged.
pub(crate) fn decode_data(bytes: &[u8]) -> Option<Data<'_>> {
    // r[impl datagram.data] r[impl datagram.drop]
    let Peek::Data { session, from_server, has_cookie } = peek(bytes)? else { return None };
    let is_damaged = !check(bytes) && !planted("damaged-taken");
    if is_damaged && !planted("damaged-acknowledged") {
        return None;
    }
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let &[_, _, e0, e1, .., p0, p1, p2, p3] = header;
    let (cookie, frames) = if has_cookie {
        let (cookie, frames) = rest.split_first_chunk()?;
        (Some(cookie), frames)
    } else {
        (None, rest)
    };
    let frames = if is_damaged { &[] } else { frames };
    let epoch16 = u16::from_le_bytes([e0, e1]);
    let pn32 = u32::from_le_bytes([p0, p1, p2, p3]);
    Some(Data { from_server, epoch16, session, pn32, cookie, frames })
}

/// What goes over the wire of a number that [`expand`] completes.
pub(crate) fn low32(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
