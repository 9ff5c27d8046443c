//! Reads frames: a total function from any bytes to a frame or an error; it keeps no state.

use super::{
    CallId, DATA_HEADER_BYTES, Extensions, Features, Hello, Kind, Lane, RequestHeader, flag,
};
use crate::{
    error::{CloseReason, Ran},
    service::MethodId,
};

/// A decoded frame, borrowing from the bytes it was read from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Hello(Hello),
    Request {
        method: MethodId,
        timeout_ms: u32,
        idempotent: bool,
        more: bool,
        /// Whether items follow the request.
        stream: bool,
        extensions: Extensions<'a>,
        body: &'a [u8],
    },
    Reply {
        app_error: bool,
        more: bool,
        /// Whether items follow the reply.
        stream: bool,
        body: &'a [u8],
    },
    Error {
        code: u16,
        ran: Ran,
        text: &'a str,
    },
    Data {
        more: bool,
        abort: bool,
        body: &'a [u8],
    },
    /// An item of a stream, or its beginning.
    Item {
        more: bool,
        body: &'a [u8],
    },
    /// There are no more items.
    End,
    /// No more items are wanted.
    Stop(CallId),
    Credit {
        lane: Lane,
        bytes: u32,
    },
    Cancel(CallId),
    Ping(u64),
    Pong(u64),
    GoAway {
        requests: u64,
        answer: bool,
    },
    Close {
        reason: CloseReason,
        text: &'a str,
    },
    /// A kind that this version doesn't know and may ignore.
    Skipped,
}

/// Why bytes are not a frame. Each breaks the connection: after it nothing can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame is too short for its kind")]
    TooShort,
    #[error("frame kind {0} is unknown and not marked as one to skip")]
    UnknownKind(u8),
    #[error("a frame of this kind does not belong on this lane")]
    WrongLane,
    #[error("an extension reaches beyond the extensions of its frame")]
    BadExtension,
    #[error("a text is not valid UTF-8")]
    BadText,
    #[error("a number has a value that the specification excludes")]
    BadValue,
}

impl<'a> Frame<'a> {
    /// How many bytes lie in front of the body, in a frame that brings a part of a message. `None` for
    /// other frames, and for what is none.
    pub(crate) fn head_bytes(bytes: &[u8]) -> Option<usize> {
        let &[kind, _, low, high] = bytes.first_chunk()?;
        let fixed = match Kind::from_byte(kind)? {
            Kind::Request => RequestHeader::BYTES,
            Kind::Reply | Kind::Data | Kind::Item => DATA_HEADER_BYTES,
            _ => return None,
        };
        let head = usize::from(u16::from_le_bytes([low, high])).saturating_add(fixed);
        (head <= bytes.len()).then_some(head)
    }

    /// The part of a message that it brings, if it brings one.
    #[inline]
    pub(crate) fn body(&self) -> &'a [u8] {
        match self {
            Self::Request { body, .. }
            | Self::Reply { body, .. }
            | Self::Data { body, .. }
            | Self::Item { body, .. } => body,
            _ => &[],
        }
    }

    /// Decodes one frame that arrived on `lane`.
    #[inline]
    pub(crate) fn decode(lane: Lane, bytes: &'a [u8]) -> Result<Self, FrameError> {
        let (&[kind, flags, low, high], rest) =
            bytes.split_first_chunk::<4>().ok_or(FrameError::TooShort)?;
        // r[impl frame.common]
        let extension_bytes = usize::from(u16::from_le_bytes([low, high]));
        let Some(kind) = Kind::from_byte(kind) else {
            // r[impl frame.unknown]
            return if kind >= 128 {
                Ok(Self::Skipped)
            } else {
                Err(FrameError::UnknownKind(kind))
            };
        };
        // r[impl frame.lane]
        if kind.is_control() != (lane == Lane::CONTROL) {
            return Err(FrameError::WrongLane);
        }
        let mut fields = Fields { rest, extension_bytes };
        match kind {
            Kind::Request => fields.request(flags),
            Kind::Reply => Ok(Self::Reply {
                app_error: flags & flag::APP_ERROR != 0,
                more: flags & flag::MORE != 0,
                stream: flags & flag::STREAM != 0,
                body: fields.body()?,
            }),
            Kind::Data => Ok(Self::Data {
                more: flags & flag::MORE != 0,
                abort: flags & flag::ABORT != 0,
                body: fields.body()?,
            }),
            Kind::Item => Ok(Self::Item { more: flags & flag::MORE != 0, body: fields.body()? }),
            Kind::End => fields.body().map(|_| Self::End),
            Kind::Stop => fields.call().map(Self::Stop),
            Kind::Error => fields.error(),
            Kind::Hello => fields.hello(),
            Kind::Credit => fields.credit(),
            Kind::Cancel => fields.call().map(Self::Cancel),
            // r[impl frame.tail]
            Kind::Ping => Ok(Self::Ping(fields.last_u64()?)),
            Kind::Pong => Ok(Self::Pong(fields.last_u64()?)),
            Kind::GoAway => {
                Ok(Self::GoAway { requests: fields.last_u64()?, answer: flags & flag::ANSWER != 0 })
            }
            Kind::Close => fields.close(),
        }
    }
}

/// What follows the common bytes: fixed fields, then extensions, then the body.
struct Fields<'a> {
    rest: &'a [u8],
    extension_bytes: usize,
}

impl<'a> Fields<'a> {
    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (chunk, rest) = self.rest.split_first_chunk().ok_or(FrameError::TooShort)?;
        self.rest = rest;
        Ok(*chunk)
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        self.take().map(u64::from_le_bytes)
    }

    /// A number behind which only extensions come. What follows those is ignored.
    fn last_u64(&mut self) -> Result<u64, FrameError> {
        let number = self.u64()?;
        self.body()?;
        Ok(number)
    }

    /// The extensions and the body, once the fixed fields are read.
    #[inline]
    fn extensions(&self) -> Result<(Extensions<'a>, &'a [u8]), FrameError> {
        let (extensions, body) =
            self.rest.split_at_checked(self.extension_bytes).ok_or(FrameError::TooShort)?;
        Ok((Extensions::decode(extensions)?, body))
    }

    #[inline]
    fn body(&self) -> Result<&'a [u8], FrameError> {
        self.extensions().map(|(_, body)| body)
    }

    fn text(&self) -> Result<&'a str, FrameError> {
        std::str::from_utf8(self.body()?).map_err(|_| FrameError::BadText)
    }

    #[inline]
    fn request(&mut self, flags: u8) -> Result<Frame<'a>, FrameError> {
        let timeout_ms = self.u32()?;
        let method = MethodId::from_wire(self.u64()?);
        let (extensions, body) = self.extensions()?;
        Ok(Frame::Request {
            method,
            timeout_ms,
            idempotent: flags & flag::IDEMPOTENT != 0,
            more: flags & flag::MORE != 0,
            stream: flags & flag::STREAM != 0,
            extensions,
            body,
        })
    }

    fn error(&mut self) -> Result<Frame<'a>, FrameError> {
        let code = self.u16()?;
        // r[impl frame.reserved]
        let [ran, _reserved] = self.take()?;
        let ran = Ran::from_byte(ran).ok_or(FrameError::BadValue)?;
        Ok(Frame::Error { code, ran, text: self.text()? })
    }

    fn hello(&mut self) -> Result<Frame<'a>, FrameError> {
        // r[impl hello.layout]
        let hello = Hello {
            version: self.u16()?,
            codec: self.u16()?,
            features: Features(self.u32()?),
            instance: u128::from_le_bytes(self.take()?),
            frame_bytes: self.u32()?,
            message_bytes: self.u32()?,
            calls: self.u32()?,
            metadata_bytes: self.u32()?,
            window_bytes: self.u32()?,
        };
        self.body()?;
        Ok(Frame::Hello(hello))
    }

    fn credit(&mut self) -> Result<Frame<'a>, FrameError> {
        // r[impl credit.layout]
        let (lane, bytes) = (Lane::new(self.u64()?), self.u32()?);
        self.body()?;
        Ok(Frame::Credit { lane, bytes })
    }

    /// The id of a call, behind which only extensions come.
    fn call(&mut self) -> Result<CallId, FrameError> {
        CallId::from_wire(self.last_u64()?).ok_or(FrameError::BadValue)
    }

    fn close(&mut self) -> Result<Frame<'a>, FrameError> {
        let reason = CloseReason::from_code(self.u16()?);
        let _reserved = self.u16()?;
        Ok(Frame::Close { reason, text: self.text()? })
    }
}
