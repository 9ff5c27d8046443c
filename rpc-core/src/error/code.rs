//! Error kinds and their numbers in ERROR frames: one table, both ways. Spec: `r[error.codes]`.

use super::{Delivery, ErrorKind};

/// Spec: `r[error.codes]`.
const TABLE: [(ErrorKind, u16); 12] = [
    // r[impl error.codes]
    (ErrorKind::Cancelled, 1),
    (ErrorKind::DeadlineExceeded, 2),
    (ErrorKind::Overloaded, 3),
    (ErrorKind::ShuttingDown, 4),
    (ErrorKind::UnknownService, 5),
    (ErrorKind::UnknownMethod, 6),
    (ErrorKind::MalformedRequest, 7),
    (ErrorKind::MalformedReply, 8),
    (ErrorKind::TooLarge, 9),
    (ErrorKind::HandlerPanicked, 10),
    (ErrorKind::Unauthenticated, 11),
    (ErrorKind::PermissionDenied, 12),
];

/// The number of a kind. Kinds that never go over the wire count as *overloaded*, the least wrong.
pub(crate) fn of(kind: ErrorKind) -> u16 {
    TABLE.iter().find(|(k, _)| *k == kind).map_or(3, |(_, code)| *code)
}

/// The kind with this number. A number from the future says nothing about who must act, except
/// that the peer failed the call, so it counts as *malformed reply*.
pub(crate) fn kind(code: u16) -> ErrorKind {
    // r[impl error.unknown-code]
    TABLE.iter().find(|(_, c)| *c == code).map_or(ErrorKind::MalformedReply, |(kind, _)| *kind)
}

/// What an ERROR frame says about the handler. Spec: `r[error.ran]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Ran {
    /// It never ran and never will.
    Never = 0,
    /// It was started and may have had effects.
    Maybe = 1,
    /// It ran to its end.
    Ended = 2,
}

impl Ran {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        // r[impl error.ran]
        match byte {
            0 => Some(Self::Never),
            1 => Some(Self::Maybe),
            2 => Some(Self::Ended),
            _ => None,
        }
    }

    pub(crate) fn delivery(self) -> Delivery {
        match self {
            Self::Never => Delivery::Rejected,
            Self::Maybe => Delivery::Unknown,
            Self::Ended => Delivery::Replied,
        }
    }
}
