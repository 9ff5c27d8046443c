//! What a call can fail with, who must act, and whether the handler may have run; no wire layout.

pub(crate) mod close;
pub(crate) mod code;
#[cfg(test)]
mod tests;

use std::{error::Error, fmt, sync::Arc};

pub(crate) use close::CloseReason;
pub(crate) use code::Ran;

use crate::service::Method;

/// What went wrong, named by who must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call was cancelled before it ended.
    Cancelled,
    /// The deadline passed first.
    DeadlineExceeded,
    /// A limit on work in progress was hit, here or at the peer. Slow down.
    Overloaded,
    /// The peer is shutting down, or this side is.
    ShuttingDown,
    /// The peer has no service of that name.
    UnknownService,
    /// The service has no method of that name.
    UnknownMethod,
    /// The server could not decode the arguments, because the two sides disagree about their types;
    /// or this side could not encode them.
    MalformedRequest,
    /// The reply could not be encoded by the server, or not be decoded here.
    MalformedReply,
    /// A message or its metadata is above a limit.
    TooLarge,
    /// The handler panicked, or the code of its arguments or reply did. Never seen of a server that
    /// is built with `panic = "abort"`: there a panic ends the process, and the call is lost.
    HandlerPanicked,
    /// The server wants to know who is calling. Nothing in this version refuses so by itself.
    Unauthenticated,
    /// The server knows who is calling and refuses. Nothing in this version refuses so by itself.
    PermissionDenied,
    /// There is no connection, or it broke.
    ConnectionLost,
    /// The peer doesn't speak this protocol, or not this version or codec of it.
    IncompatiblePeer,
}

impl ErrorKind {
    const fn text(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::Overloaded => "overloaded",
            Self::ShuttingDown => "shutting down",
            Self::UnknownService => "unknown service",
            Self::UnknownMethod => "unknown method",
            Self::MalformedRequest => "malformed request",
            Self::MalformedReply => "malformed reply",
            Self::TooLarge => "too large",
            Self::HandlerPanicked => "handler panicked",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission denied",
            Self::ConnectionLost => "connection lost",
            Self::IncompatiblePeer => "incompatible peer",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Whether the handler of a failed call may have run. Spec: `r[delivery.table]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Delivery {
    /// It certainly did not run: the request never left this process.
    NotSent,
    /// It certainly did not run: the peer refused the request, or can't have taken it.
    Rejected,
    /// It may have run, or may still be running.
    Unknown,
    /// It ran, and the peer answered.
    Replied,
}

impl Delivery {
    /// Whether the handler certainly did not run: not sent, or rejected.
    #[must_use]
    pub const fn never_ran(self) -> bool {
        matches!(self, Self::NotSent | Self::Rejected)
    }

    const fn text(self) -> &'static str {
        match self {
            Self::NotSent => "the request was not sent",
            Self::Rejected => "the handler did not run",
            Self::Unknown => "the handler may have run",
            Self::Replied => "the handler ran",
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Why the framework could not complete a call. Cheap to clone.
///
/// [`kind`](RpcError::kind) says who must act, [`delivery`](RpcError::delivery) whether the handler
/// may have run, [`source`](Error::source) what caused it. Whether to repeat the call is the
/// caller's decision: [`may_repeat`](RpcError::may_repeat) says when it is safe and can help.
#[derive(Clone)]
pub struct RpcError {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    delivery: Delivery,
    method: Option<Method>,
    detail: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

const _: () = assert!(size_of::<RpcError>() <= 8);

impl RpcError {
    pub(crate) fn new(kind: ErrorKind, delivery: Delivery, detail: impl Into<String>) -> Self {
        let inner = Inner { kind, delivery, method: None, detail: detail.into(), source: None };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.inner).source = Some(Arc::new(source));
        self
    }

    pub(crate) fn with_shared_source(mut self, source: Arc<dyn Error + Send + Sync>) -> Self {
        Arc::make_mut(&mut self.inner).source = Some(source);
        self
    }

    pub(crate) fn of_method(mut self, method: &Method) -> Self {
        Arc::make_mut(&mut self.inner).method = Some(*method);
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Whether the handler may have run.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.inner.delivery
    }

    /// Whether the same call may be made again: nothing runs twice that must not, because the handler
    /// [never ran](Delivery::never_ran) or the method is idempotent, and what went wrong may pass:
    /// *connection lost*, *overloaded*, *shutting down*. Wait a little before.
    #[must_use]
    pub fn may_repeat(&self) -> bool {
        use ErrorKind::{ConnectionLost, Overloaded, ShuttingDown};
        let passes = matches!(self.kind(), ConnectionLost | Overloaded | ShuttingDown);
        passes && (self.delivery().never_ran() || self.method().is_some_and(Method::is_idempotent))
    }

    /// The method that was called, if the error belongs to a call.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        self.inner.method.as_ref()
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, delivery, method, detail, .. } = &*self.inner;
        if let Some(method) = method {
            write!(f, "{method}: ")?;
        }
        write!(f, "{kind}")?;
        if !detail.is_empty() {
            write!(f, ": {detail}")?;
        }
        if method.is_some() {
            write!(f, " ({delivery})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcError")
            .field("kind", &self.inner.kind)
            .field("delivery", &self.inner.delivery)
            .field("method", &self.inner.method.as_ref().map(ToString::to_string))
            .field("detail", &self.inner.detail)
            .field("source", &self.inner.source)
            .finish()
    }
}

impl Error for RpcError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

/// Why a method that returns `Result<T, E>` gave no `T`: the handler said so, or the framework.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a failure has exactly these two owners")]
pub enum CallError<E> {
    /// The handler ran and returned this error.
    App(E),
    /// The framework could not complete the call.
    Rpc(RpcError),
}

impl<E> CallError<E> {
    /// Whether the handler may have run.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::App(_) => Delivery::Replied,
            Self::Rpc(error) => error.delivery(),
        }
    }

    /// The handler's own error, if it is one.
    #[must_use]
    pub fn app(&self) -> Option<&E> {
        match self {
            Self::App(error) => Some(error),
            Self::Rpc(_) => None,
        }
    }

    /// The handler's own error, or else the framework's.
    ///
    /// # Errors
    /// The framework could not complete the call.
    pub fn into_app(self) -> Result<E, RpcError> {
        match self {
            Self::App(error) => Ok(error),
            Self::Rpc(error) => Err(error),
        }
    }

    /// The framework's error, if it is one.
    #[must_use]
    pub fn rpc(&self) -> Option<&RpcError> {
        match self {
            Self::App(_) => None,
            Self::Rpc(error) => Some(error),
        }
    }
}

impl<E> From<RpcError> for CallError<E> {
    fn from(error: RpcError) -> Self {
        Self::Rpc(error)
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(error) => error.fmt(f),
            Self::Rpc(error) => error.fmt(f),
        }
    }
}

/// `E` needn't be an error itself, so that `String` works with `?`. What came over the wire has no
/// source.
impl<E: fmt::Debug + fmt::Display> Error for CallError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::App(_) => None,
            Self::Rpc(error) => error.source(),
        }
    }
}

/// Two errors are equal when kind, delivery, method and detail are. Causes aren't compared.
impl PartialEq for RpcError {
    fn eq(&self, other: &Self) -> bool {
        let key = |e: &Self| (e.inner.kind, e.inner.delivery, e.inner.method);
        key(self) == key(other) && self.inner.detail == other.inner.detail
    }
}

impl Eq for RpcError {}
