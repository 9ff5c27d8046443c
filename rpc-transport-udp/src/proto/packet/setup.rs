//! Packets outside of sessions: INIT, INIT_ACK, RESET, VERSIONS; whether to send or to believe them
//! is decided elsewhere.

use std::fmt;

use super::{
    COOKIE_BYTES, CRC_AT, Epoch, INIT_ACK_BYTES, INIT_BYTES, Kind, Nonce, Peek, RESET_BYTES,
    SessionId, VERSION, bits, check, finish, peek,
};

/// What one side tells the other of itself. Spec: `r[setup.params]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Params {
    /// The largest datagram that it takes.
    pub(crate) datagram_bytes: u16,
    /// The longest that it puts off an ACK.
    pub(crate) ack_delay_ms: u16,
    /// How many frames it takes beyond those of which it has all.
    pub(crate) window: u32,
    /// Optional parts of the protocol, one bit each. None is defined.
    pub(crate) features: u32,
}

impl Params {
    pub(crate) const BYTES: usize = 12;
    /// Below this a window would be a stop-and-wait protocol.
    const WINDOW_MIN: u32 = 64;
    /// Above this the set of frames that came out of order costs more than it brings.
    const WINDOW_MAX: u32 = 65_536;
    /// What is more would hold up the detection of every loss.
    const ACK_DELAY_MS_MAX: u16 = 1_000;

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        // r[impl setup.params]
        out.extend_from_slice(&self.encode_short());
        out.extend_from_slice(&self.features.to_le_bytes());
    }

    /// The parameters without the features: what a cookie holds.
    pub(crate) fn encode_short(&self) -> [u8; 8] {
        let [d0, d1] = self.datagram_bytes.to_le_bytes();
        let [a0, a1] = self.ack_delay_ms.to_le_bytes();
        let [w0, w1, w2, w3] = self.window.to_le_bytes();
        [d0, d1, a0, a1, w0, w1, w2, w3]
    }

    /// Reads parameters, and takes what is out of bounds for the bound. Datagrams below the base
    /// are refused: nothing could be sent.
    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let &[d0, d1, a0, a1, w0, w1, w2, w3, f0, f1, f2, f3] = bytes;
        let params = Self::decode_short(&[d0, d1, a0, a1, w0, w1, w2, w3])?;
        Some(Self { features: u32::from_le_bytes([f0, f1, f2, f3]), ..params })
    }

    /// Reads the parameters of a cookie, which has no features.
    pub(crate) fn decode_short(bytes: &[u8; 8]) -> Option<Self> {
        // r[impl setup.params]
        let &[d0, d1, a0, a1, w0, w1, w2, w3] = bytes;
        let datagram_bytes = u16::from_le_bytes([d0, d1]);
        if usize::from(datagram_bytes) < super::BASE_DATAGRAM_BYTES {
            return None;
        }
        let window = u32::from_le_bytes([w0, w1, w2, w3]);
        Some(Self {
            datagram_bytes,
            ack_delay_ms: u16::from_le_bytes([a0, a1]).min(Self::ACK_DELAY_MS_MAX),
            window: window.clamp(Self::WINDOW_MIN, Self::WINDOW_MAX),
            features: 0,
        })
    }
}

/// A client asks for a session. Spec: `r[setup.init]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Init {
    pub(crate) nonce: Nonce,
    pub(crate) params: Params,
}

impl Init {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        // r[impl setup.init]
        let start = begin(out, Kind::Init);
        out.extend_from_slice(&self.nonce.0.to_le_bytes());
        self.params.encode(out);
        finish(out, start, INIT_BYTES);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        // r[impl setup.init] r[impl setup.sizes]
        let mut fields = Fields::of(bytes, Kind::Init, INIT_BYTES..)?;
        Some(Self { nonce: Nonce(fields.u64()?), params: Params::decode(fields.take()?)? })
    }

    /// The nonce of an INIT of another version, which VERSIONS may answer.
    pub(crate) fn decode_other_version(bytes: &[u8]) -> Option<Nonce> {
        // r[impl setup.versions]
        let Peek::Setup { kind: Kind::Init, version } = peek(bytes)? else { return None };
        if version == VERSION || bytes.len() < INIT_BYTES || !check(bytes) {
            return None;
        }
        Fields::behind_common(bytes)?.u64().map(Nonce)
    }
}

/// A server offers a session, and forgets that it did. Spec: `r[setup.init-ack]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InitAck {
    pub(crate) nonce: Nonce,
    pub(crate) epoch: Epoch,
    pub(crate) session: SessionId,
    pub(crate) params: Params,
    /// For how long it remembers a session of which it hears nothing.
    pub(crate) retention_ms: u32,
    pub(crate) cookie: [u8; COOKIE_BYTES],
}

impl InitAck {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        // r[impl setup.init-ack]
        let start = begin(out, Kind::InitAck);
        for number in [self.nonce.0, self.epoch.0, self.session.0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        self.params.encode(out);
        out.extend_from_slice(&self.retention_ms.to_le_bytes());
        out.extend_from_slice(&self.cookie);
        finish(out, start, INIT_ACK_BYTES);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        // r[impl setup.init-ack] r[impl setup.sizes]
        let mut fields = Fields::of(bytes, Kind::InitAck, INIT_ACK_BYTES..=INIT_ACK_BYTES)?;
        Some(Self {
            nonce: Nonce(fields.u64()?),
            epoch: Epoch(fields.u64()?),
            session: SessionId(fields.u64()?),
            params: Params::decode(fields.take()?)?,
            retention_ms: u32::from_le_bytes(*fields.take()?),
            cookie: *fields.take()?,
        })
    }
}

/// Why a server has no session for a packet. Spec: `r[reset.reasons]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResetReason {
    /// No such session is known, and the packet has no cookie that could make one.
    Unknown,
    /// The session was closed on this side.
    Closed,
    /// The cookie is not one of this server, for this address and this time.
    Cookie,
    /// There are as many sessions as there may be.
    Full,
    /// The server takes no new sessions: it is about to end.
    Leaving,
    /// A reason of a later version, which says no more than that there is no session.
    Other(u8),
}

impl ResetReason {
    fn from_byte(byte: u8) -> Self {
        // r[impl reset.reasons]
        match byte {
            1 => Self::Unknown,
            2 => Self::Closed,
            3 => Self::Cookie,
            4 => Self::Full,
            5 => Self::Leaving,
            other => Self::Other(other),
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Unknown => 1,
            Self::Closed => 2,
            Self::Cookie => 3,
            Self::Full => 4,
            Self::Leaving => 5,
            Self::Other(byte) => byte,
        }
    }
}

impl fmt::Display for ResetReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "it knows no such session, it may have restarted",
            Self::Closed => "the session has ended there",
            Self::Cookie => "the session was set up from another address, or too slowly",
            Self::Full => "it has as many sessions as it allows",
            Self::Leaving => "it takes no new sessions",
            Self::Other(reason) => return write!(f, "it has no session, for reason {reason}"),
        })
    }
}

/// A server has no session for what a client sent. Spec: `r[reset.layout]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reset {
    /// The session id of the packet that it answers, or the nonce of the INIT.
    pub(crate) id: u64,
    pub(crate) epoch: Epoch,
    /// For how long the server has listened.
    pub(crate) uptime_ms: u64,
    /// The low 32 bits of the number of the packet that it answers; 0 for an INIT.
    pub(crate) pn32: u32,
    pub(crate) reason: ResetReason,
}

impl Reset {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        // r[impl reset.layout]
        let start = begin(out, Kind::Reset);
        for number in [self.id, self.epoch.0, self.uptime_ms] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.pn32.to_le_bytes());
        out.push(self.reason.byte());
        finish(out, start, RESET_BYTES);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        // r[impl reset.layout] r[impl setup.sizes]
        let mut fields = Fields::of(bytes, Kind::Reset, RESET_BYTES..=RESET_BYTES)?;
        Some(Self {
            id: fields.u64()?,
            epoch: Epoch(fields.u64()?),
            uptime_ms: fields.u64()?,
            pn32: u32::from_le_bytes(*fields.take()?),
            reason: ResetReason::from_byte(fields.u8()?),
        })
    }
}

/// A server says which versions it speaks. Spec: `r[setup.versions]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) nonce: Nonce,
    pub(crate) versions: Vec<u8>,
}

impl Versions {
    /// The most versions that there can be: three bits of the first byte name them.
    const COUNT_MAX: usize = 7;

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        // r[impl setup.versions]
        let start = begin(out, Kind::Versions);
        out.extend_from_slice(&self.nonce.0.to_le_bytes());
        let versions = self.versions.iter().take(Self::COUNT_MAX);
        out.push(u8::try_from(versions.len()).unwrap_or(u8::MAX));
        out.extend(versions);
        finish(out, start, RESET_BYTES);
    }

    /// Reads VERSIONS of any version: whoever needs it doesn't speak that of the sender.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        // r[impl setup.versions] r[impl setup.sizes]
        let Peek::Setup { kind: Kind::Versions, .. } = peek(bytes)? else { return None };
        if bytes.len() != RESET_BYTES || !check(bytes) {
            return None;
        }
        let mut fields = Fields::behind_common(bytes)?;
        let nonce = Nonce(fields.u64()?);
        let count = usize::from(fields.u8()?);
        if !(1..=Self::COUNT_MAX).contains(&count) {
            return None;
        }
        Some(Self { nonce, versions: fields.0.get(..count)?.to_vec() })
    }
}

/// Begins a set-up packet of this version; tells where.
fn begin(out: &mut Vec<u8>, kind: Kind) -> usize {
    let start = out.len();
    let direction = if kind.is_from_server() { bits::FROM_SERVER } else { 0 };
    out.extend_from_slice(&[bits::OURS | bits::SETUP | direction | VERSION, kind as u8, 0, 0]);
    out.extend_from_slice(&[0; CRC_AT.end - CRC_AT.start]);
    start
}

/// What follows the common bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of a set-up packet, if it is of this kind, version and length, and undamaged.
    fn of(bytes: &'a [u8], kind: Kind, sizes: impl std::ops::RangeBounds<usize>) -> Option<Self> {
        // r[impl datagram.drop]
        let ours = Some(Peek::Setup { kind, version: VERSION });
        if peek(bytes) != ours || !sizes.contains(&bytes.len()) || !check(bytes) {
            return None;
        }
        Self::behind_common(bytes)
    }

    fn behind_common(bytes: &'a [u8]) -> Option<Self> {
        bytes.get(CRC_AT.end..).map(Self)
    }

    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(chunk)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(|[byte]| *byte)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(|bytes| u64::from_le_bytes(*bytes))
    }
}
