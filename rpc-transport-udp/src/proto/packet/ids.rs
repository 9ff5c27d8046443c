//! The numbers that name sessions, attempts and servers, and numbers of which a half is sent; no
//! layouts.

use std::fmt;

/// A session, for as long as its server listens. Spec: `r[session.id]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(crate) u64);

/// One attempt of a client to get a session, drawn at random. Spec: `r[setup.nonce]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Nonce(pub(crate) u64);

/// One run of a server, from when it begins to listen; drawn at random. Spec: `r[session.epoch]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Epoch(pub(crate) u64);

impl Epoch {
    /// The part of it that data packets carry.
    pub(crate) fn low16(self) -> u16 {
        let [low, high, ..] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:#018x})", self.0)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({:#018x})", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({:#018x})", self.0)
    }
}

/// The number with these low 32 bits that is nearest to `expected`: RFC 9000, appendix A.3. Of two
/// that are equally near, the higher one. Right whenever the two are less than 2^31 apart.
#[inline]
pub(crate) fn expand(truncated: u32, expected: u64) -> u64 {
    // r[impl datagram.numbers]
    const WINDOW: u64 = 1 << 32;
    const HALF: u64 = WINDOW / 2;
    let candidate = expected & !(WINDOW - 1) | u64::from(truncated);
    if candidate.checked_add(HALF).is_some_and(|sum| sum <= expected) {
        // No number follows the last window: there the lower one is all there is.
        candidate.checked_add(WINDOW).unwrap_or(candidate)
    } else if candidate.checked_sub(HALF).is_some_and(|difference| difference > expected) {
        candidate.checked_sub(WINDOW).unwrap_or(candidate)
    } else {
        candidate
    }
}
