//! Why a session is over before its time, here and on the wire; no behaviour.

use std::fmt;

/// What a peer did that it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// It broke a rule.
    #[error("{0}")]
    Protocol(&'static str),
    /// It sent more than it was allowed.
    #[error("it sent a frame beyond the window")]
    Window,
    /// It is above a limit.
    #[error("{0}")]
    Limit(&'static str),
    /// It sent a frame that is larger than this side accepts.
    #[error("it sent a frame of {bytes} bytes or more, this side accepts {limit}")]
    FrameTooLarge { bytes: usize, limit: usize },
}

/// Why a session is over before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// The peer closed it.
    #[error("{0}")]
    Closed(CloseCode),
    /// The peer broke the rules.
    #[error("the peer broke the datagram protocol: {0}")]
    Violation(Violation),
    /// The peer acknowledges nothing.
    #[error("the peer has acknowledged nothing for 30 s")]
    Silent,
}

/// Why a session was closed, on the wire. Spec: `r[session.close]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseCode {
    /// Its owner is gone.
    Abort,
    /// The other side broke a rule.
    Protocol,
    /// The other side sent more than was allowed.
    Window,
    /// The other side is above a limit.
    Limit,
    /// The other side was silent for too long.
    Timeout,
    /// One that this side doesn't know.
    Other(u8),
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Abort => "the peer dropped the connection",
            Self::Protocol => "the peer says that this side broke the datagram protocol",
            Self::Window => "the peer says that this side sent a frame beyond its window",
            Self::Limit => "the peer says that this side is above one of its limits",
            Self::Timeout => "the peer has heard nothing from this side for too long",
            Self::Other(code) => {
                return write!(f, "the peer closed the connection with code {code}");
            }
        })
    }
}

impl From<u8> for CloseCode {
    fn from(code: u8) -> Self {
        match code {
            1 => Self::Abort,
            2 => Self::Protocol,
            3 => Self::Window,
            4 => Self::Limit,
            5 => Self::Timeout,
            other => Self::Other(other),
        }
    }
}

impl From<CloseCode> for u8 {
    fn from(code: CloseCode) -> Self {
        match code {
            CloseCode::Abort => 1,
            CloseCode::Protocol => 2,
            CloseCode::Window => 3,
            CloseCode::Limit => 4,
            CloseCode::Timeout => 5,
            CloseCode::Other(other) => other,
        }
    }
}

impl From<Violation> for Lost {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<Violation> for CloseCode {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::Protocol(_) => Self::Protocol,
            Violation::Window => Self::Window,
            Violation::Limit(_) | Violation::FrameTooLarge { .. } => Self::Limit,
        }
    }
}
