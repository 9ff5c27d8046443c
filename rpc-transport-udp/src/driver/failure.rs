//! Why a session is over before its time, and how core is told.

use std::io;

use rpc_core::transport::TransportError;

use crate::proto::{
    packet::Reset,
    session::{Lost, Violation},
};

/// Why a session is over before its time.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    Lost(Lost),
    /// The peer doesn't know the session.
    Reset {
        reset: Reset,
        never_ran_from: Option<u64>,
    },
    /// The socket broke.
    Socket(io::ErrorKind, String),
}

impl Failure {
    pub(super) fn socket(error: &io::Error) -> Self {
        Self::Socket(error.kind(), error.to_string())
    }

    pub(super) fn closed() -> Self {
        let text = "the socket that it came in at is closed";
        Self::Socket(io::ErrorKind::NotConnected, text.to_owned())
    }

    pub(super) fn error(&self) -> TransportError {
        use io::ErrorKind::{ConnectionReset, InvalidData, TimedOut};
        match *self {
            Self::Lost(Lost::Violation(Violation::FrameTooLarge { bytes, limit })) => {
                TransportError::FrameTooLarge { bytes, limit }
            }
            Self::Lost(lost) => {
                let kind = match lost {
                    Lost::Closed(_) => ConnectionReset,
                    Lost::Violation(_) => InvalidData,
                    Lost::Silent => TimedOut,
                };
                io::Error::new(kind, lost).into()
            }
            Self::Reset { reset, never_ran_from } => {
                TransportError::Reset { reason: reset.reason.to_string(), never_ran_from }
            }
            Self::Socket(kind, ref text) => io::Error::new(kind, text.clone()).into(),
        }
    }
}

pub(super) fn into_io(error: TransportError) -> io::Error {
    match error {
        TransportError::Io(error) => error,
        error => io::Error::other(error),
    }
}
