//! Why a side closes a connection, and the numbers of CLOSE frames. Spec: `r[close.codes]`.

use super::ErrorKind;
use crate::frame::FrameError;

/// Why a connection was closed by one of its sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CloseReason {
    /// Nobody needs the connection any more.
    Done,
    /// The server is shutting down.
    ShuttingDown,
    /// The connection was idle for longer than the server allows.
    Idle,
    /// The server has as many connections as it accepts.
    TooManyConnections,
    /// The peer's hello did not come in time.
    HelloTimeout,
    /// The peer did not answer a ping, or did not take what was sent to it.
    Unresponsive,
    /// The peer speaks another version.
    Version,
    /// The peer speaks another codec.
    Codec,
    /// A frame came before the hello.
    HelloMissing,
    /// A second hello came.
    HelloRepeated,
    /// A frame is larger than this side accepts.
    FrameTooLarge,
    /// A frame could not be decoded.
    MalformedFrame,
    /// More calls at a time than this side accepts.
    TooManyCalls,
    /// A call id that is not new, or not one of the peer's.
    BadCallId,
    /// A frame that makes no sense in the state of its call.
    UnexpectedFrame,
    /// More frames without any use than this side puts up with.
    Flood,
    /// The peer sent more than it was granted.
    CreditExceeded,
    /// A code from the future.
    Unknown,
}

/// Spec: `r[close.codes]`.
const TABLE: [(CloseReason, u16, &str); 17] = [
    // r[impl close.codes]
    (CloseReason::Done, 0, "nobody needs the connection any more"),
    (CloseReason::ShuttingDown, 1, "the server is shutting down"),
    (CloseReason::Idle, 2, "the connection was idle for too long"),
    (CloseReason::TooManyConnections, 3, "the server has as many connections as it accepts"),
    (CloseReason::HelloTimeout, 4, "the hello did not come in time"),
    (CloseReason::Unresponsive, 5, "the peer did not answer in time"),
    (CloseReason::Version, 6, "the peers speak different versions of the protocol"),
    (CloseReason::Codec, 7, "the peers use different codecs"),
    (CloseReason::HelloMissing, 8, "a frame came before the hello"),
    (CloseReason::HelloRepeated, 9, "a second hello came"),
    (CloseReason::FrameTooLarge, 10, "a frame is too large"),
    (CloseReason::MalformedFrame, 11, "a frame could not be decoded"),
    (CloseReason::TooManyCalls, 12, "more calls at a time than announced"),
    (CloseReason::BadCallId, 13, "a call id is not valid or not new"),
    (CloseReason::UnexpectedFrame, 14, "a frame does not fit the state of its call"),
    (CloseReason::Flood, 15, "too many frames without use"),
    (CloseReason::CreditExceeded, 16, "more was sent, or granted, than is allowed"),
];

impl CloseReason {
    /// The number in a CLOSE frame.
    pub(crate) fn code(self) -> u16 {
        TABLE.iter().find(|row| row.0 == self).map_or(u16::MAX, |row| row.1)
    }

    /// The reason with this number.
    pub(crate) fn from_code(code: u16) -> Self {
        TABLE.iter().find(|row| row.1 == code).map_or(Self::Unknown, |row| row.0)
    }

    pub(crate) fn text(self) -> &'static str {
        TABLE.iter().find(|row| row.0 == self).map_or("for a reason unknown here", |row| row.2)
    }

    /// What calls that the connection takes down with it fail with.
    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            Self::Version | Self::Codec => ErrorKind::IncompatiblePeer,
            Self::ShuttingDown => ErrorKind::ShuttingDown,
            Self::TooManyConnections => ErrorKind::Overloaded,
            _ => ErrorKind::ConnectionLost,
        }
    }
}

impl From<FrameError> for CloseReason {
    fn from(_: FrameError) -> Self {
        Self::MalformedFrame
    }
}
