//! One call: a future that owns everything it needs; which connection carries it is in `link`.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time::Sleep;

use super::{Channel, link::Attempt};
use crate::{
    clock,
    codec::{Bincode, Codec, DecodeError},
    connection::{CallOptions, Connection, TimeLimit},
    context,
    error::{Delivery, ErrorKind, RpcError},
    frame::{CallId, Metadata, MetadataError},
    mux::{Closed, Ending, Opened, Ticket, earlier},
    service::Method,
};

/// Turns a reply's body into the call's result.
type Decode<T, F> = fn(&[u8], bool) -> Result<Result<T, F>, DecodeError>;

/// A call: a future of `Result<T, F>` that borrows nothing and can be spawned.
///
/// Nothing is sent before the first poll, and timeouts count from there. Dropping the call cancels
/// it: the server drops its handler. `F` is [`RpcError`], or
/// [`CallError<E>`](crate::CallError) for methods that return a `Result`.
///
/// A call holds its place on the connection until it is polled to its end or dropped, also when the
/// reply has come: who keeps many calls unpolled while awaiting another on the same channel can fill
/// every place, and make that one wait for them.
///
/// # Panics
/// Polling panics outside of a tokio runtime when a connection has to be made, and after the call
/// has ended.
///
/// # Cancel safety
/// Dropping the call at any time leaves the connection and other calls alone. Whether the handler
/// ran is unknown then, unless the call was never polled.
#[must_use = "a call does nothing unless it is awaited or polled"]
pub struct Call<T, F = RpcError> {
    channel: Channel,
    method: &'static Method,
    decode: Decode<T, F>,
    /// Whether it ends when the request has left this process.
    oneway: bool,
    limit: TimeLimit,
    /// Whether its timeout is the channel's default.
    is_default: bool,
    metadata: Option<Box<Metadata>>,
    state: State,
}

enum State {
    /// Encoded, and not yet on any connection.
    Encoded(Vec<u8>, Option<Box<Connecting>>),
    /// Waiting for a place on a connection.
    Queued(Vec<u8>, Arc<Connection>, Ticket),
    /// On its way.
    Open(Arc<Connection>, CallId),
    /// It failed before anything was sent.
    Failed(RpcError),
    Ended,
}

/// The wait for a connection, with a timer of its own.
struct Connecting {
    attempt: Attempt,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T, F> Call<T, F> {
    #[inline]
    pub(super) fn new<A: Serialize>(
        channel: &Channel,
        method: &'static Method,
        args: &A,
        decode: Decode<T, F>,
        oneway: bool,
    ) -> Self {
        let mut body = Vec::new();
        let state = match Bincode::encode(args, &mut body) {
            Ok(()) => State::Encoded(body, None),
            Err(error) => State::Failed(
                RpcError::new(
                    ErrorKind::MalformedRequest,
                    Delivery::NotSent,
                    "the arguments could not be encoded",
                )
                .with_source(error),
            ),
        };
        Self {
            channel: channel.clone(),
            method,
            decode,
            oneway,
            limit: TimeLimit::new(channel.link.settings().timeout, context::inherited_deadline()),
            is_default: true,
            metadata: None,
            state,
        }
    }

    /// How long the call may take, from its first poll. Replaces the channel's default. A
    /// [`deadline`](Call::deadline) and that of the handler that makes the call, if one does, hold
    /// all the same: the earliest counts.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limit.timeout = Some(timeout);
        self.is_default = false;
        self
    }

    /// When the call has to be over. Replaces the channel's default. A [`timeout`](Call::timeout) and
    /// other deadlines hold all the same: the earliest counts.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.limit.deadline = earlier(self.limit.deadline, Some(deadline));
        if mem::replace(&mut self.is_default, false) {
            self.limit.timeout = None;
        }
        self
    }

    /// The call may take as long as it likes, whatever the default, the handler's deadline and what
    /// was said before. It still fails when the server dies: see
    /// [`ChannelBuilder::keepalive`](super::ChannelBuilder::keepalive).
    pub fn no_deadline(mut self) -> Self {
        self.limit = TimeLimit::new(None, None);
        self.is_default = false;
        self
    }

    /// Adds metadata. The call fails, not sent, with *malformed request* for a key of 0 or of more
    /// than 255 bytes, and with *too large* when another limit of [`Metadata`] is hit.
    ///
    /// Like the other settings of a call, it has no effect once the call has been polled.
    pub fn metadata(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        if !matches!(self.state, State::Encoded(_, None)) {
            return self;
        }
        let metadata = self.metadata.get_or_insert_default();
        if let Err(error) = metadata.insert(key, value.as_ref()) {
            let kind = match error {
                MetadataError::Key { .. } => ErrorKind::MalformedRequest,
                _ => ErrorKind::TooLarge,
            };
            self.state = State::Failed(RpcError::new(kind, Delivery::NotSent, error.to_string()));
        }
        self
    }

    /// The method that is called.
    #[must_use]
    pub fn method(&self) -> &'static Method {
        self.method
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ending, Gone>> {
        loop {
            match &mut self.state {
                State::Open(connection, id) => {
                    let Some(ending) = connection.poll_call(*id, cx.waker()) else {
                        return Poll::Pending;
                    };
                    let State::Open(connection, _) = mem::replace(&mut self.state, State::Ended)
                    else {
                        return Poll::Pending;
                    };
                    if let Ending::Lost(delivery) = ending {
                        self.channel.link.replace(&connection);
                        return Poll::Ready(Err(Gone::Lost(delivery, connection.closed())));
                    }
                    return Poll::Ready(Ok(ending));
                }
                State::Encoded(..) => {
                    if let Err(error) = ready!(self.poll_connect(cx)) {
                        return Poll::Ready(Err(Gone::Error(error)));
                    }
                }
                State::Queued(..) => {
                    if let Err(error) = ready!(self.poll_queue(cx)) {
                        return Poll::Ready(Err(Gone::Error(error)));
                    }
                }
                State::Failed(_) => {
                    if let State::Failed(error) = mem::replace(&mut self.state, State::Ended) {
                        return Poll::Ready(Err(Gone::Error(error)));
                    }
                }
                State::Ended => panic!("a call was polled after it had ended"),
            }
        }
    }

    /// Gets a connection, and opens the call on it.
    #[inline]
    fn poll_connect(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RpcError>> {
        let State::Encoded(body, connecting) = &mut self.state else { return Poll::Ready(Ok(())) };
        let connection = match connecting {
            None => {
                let mut attempt = Attempt::new();
                match self.channel.link.poll_connection(cx, &mut attempt) {
                    Poll::Ready(connection) => connection?,
                    Poll::Pending => {
                        self.limit.fix(clock::now());
                        let timer =
                            self.limit.deadline.map(|at| tokio::time::sleep_until(at.into()));
                        let timer = timer.map(Box::pin);
                        *connecting = Some(Box::new(Connecting { attempt, timer }));
                        return self.poll_connect(cx);
                    }
                }
            }
            Some(waiting) => match self.channel.link.poll_connection(cx, &mut waiting.attempt) {
                Poll::Ready(connection) => connection?,
                Poll::Pending => {
                    let Some(timer) = &mut waiting.timer else { return Poll::Pending };
                    ready!(timer.as_mut().poll(cx));
                    self.channel.link.leave(&mut waiting.attempt);
                    return Poll::Ready(Err(self.channel.link.too_late()));
                }
            },
        };
        let body = mem::take(body);
        Poll::Ready(self.open(cx, connection, None, body))
    }

    /// Waits for a place on the connection.
    fn poll_queue(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RpcError>> {
        let State::Queued(body, connection, ticket) = &mut self.state else {
            return Poll::Ready(Ok(()));
        };
        let (body, connection, ticket) = (mem::take(body), Arc::clone(connection), *ticket);
        let opened = self.open(cx, connection, Some(ticket), body);
        match (&self.state, opened) {
            (State::Queued(..), Ok(())) => Poll::Pending,
            (_, opened) => Poll::Ready(opened),
        }
    }

    /// Opens the call, or queues it.
    #[inline]
    fn open(
        &mut self,
        cx: &mut Context<'_>,
        connection: Arc<Connection>,
        ticket: Option<Ticket>,
        mut body: Vec<u8>,
    ) -> Result<(), RpcError> {
        const NONE: &Metadata = &Metadata::new();
        let mut options = CallOptions {
            method: self.method.id(),
            idempotent: self.method.is_idempotent(),
            oneway: self.oneway,
            metadata: self.metadata.as_deref().unwrap_or(NONE),
            limit: self.limit,
        };
        let opened = connection.open_call(&mut options, ticket, &mut body, cx.waker());
        self.limit = options.limit;
        match opened {
            Opened::Call(id) => self.state = State::Open(connection, id),
            Opened::Wait(ticket) => {
                self.state = State::Queued(body, connection, ticket);
            }
            Opened::Gone => {
                self.channel.link.replace(&connection);
                self.state = State::Encoded(body, None);
            }
            Opened::Refused { kind, detail } => {
                self.state = State::Ended;
                return Err(RpcError::new(kind, Delivery::NotSent, detail));
            }
        }
        Ok(())
    }

    /// The error of a call whose connection ended.
    fn lost(&self, delivery: Delivery, closed: Option<Closed>) -> RpcError {
        let target = self.channel.target();
        let Some(Closed { kind, text, cause }) = closed else {
            return RpcError::new(ErrorKind::ConnectionLost, delivery, target.to_string());
        };
        let error = RpcError::new(kind, delivery, format!("{target}: {text}"));
        match cause.0 {
            Some(cause) => error.with_shared_source(cause),
            None => error,
        }
    }

    /// Adds what only the caller's side knows.
    fn explain(&self, kind: ErrorKind, delivery: Delivery, detail: String) -> String {
        if kind != ErrorKind::DeadlineExceeded || !detail.is_empty() {
            return detail;
        }
        let what = match delivery {
            Delivery::NotSent => "it could not be sent",
            _ if self.oneway => "it did not leave",
            _ => "no reply",
        };
        match self.limit.timeout {
            Some(timeout) => format!("{what} within {timeout:?}"),
            None => format!("{what} before the caller's deadline"),
        }
    }

    fn decode(&self, body: &[u8], app_error: bool) -> Result<Result<T, F>, RpcError> {
        (self.decode)(body, app_error).map_err(|error| {
            // r[impl codec.malformed]
            let text = "the reply could not be decoded";
            RpcError::new(ErrorKind::MalformedReply, Delivery::Replied, text).with_source(error)
        })
    }
}

/// Why a call ended without a word about it from the peer.
enum Gone {
    Lost(Delivery, Option<Closed>),
    Error(RpcError),
}

impl<T, F: From<RpcError>> Future for Call<T, F> {
    type Output = Result<T, F>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let error = match ready!(this.poll_ending(cx)) {
            Ok(Ending::Reply { body, app_error }) => {
                match this.decode(body.as_slice(), app_error) {
                    Ok(result) => return Poll::Ready(result),
                    Err(error) => error,
                }
            }
            Ok(Ending::Left) => match this.decode(&[], false) {
                Ok(result) => return Poll::Ready(result),
                Err(error) => error,
            },
            Ok(Ending::Failed { kind, delivery, detail }) => {
                RpcError::new(kind, delivery, this.explain(kind, delivery, detail))
            }
            Ok(Ending::Lost(delivery)) => RpcError::new(ErrorKind::ConnectionLost, delivery, ""),
            Err(Gone::Lost(delivery, closed)) => this.lost(delivery, closed),
            Err(Gone::Error(error)) => {
                this.state = State::Ended;
                error
            }
        };
        Poll::Ready(Err(error.of_method(this.method).into()))
    }
}

impl<T, F> Drop for Call<T, F> {
    fn drop(&mut self) {
        match mem::replace(&mut self.state, State::Ended) {
            State::Open(connection, id) => connection.drop_call(id),
            State::Queued(_, connection, ticket) => connection.leave_queue(ticket),
            State::Encoded(_, Some(mut waiting)) => {
                self.channel.link.leave(&mut waiting.attempt);
            }
            State::Encoded(_, None) | State::Failed(_) | State::Ended => {}
        }
    }
}

impl<T, F> fmt::Debug for Call<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Encoded(..) => "not sent",
            State::Queued(..) => "waiting for a place",
            State::Open(..) => "under way",
            State::Failed(_) | State::Ended => "ended",
        };
        f.debug_struct("Call")
            .field("method", &self.method.to_string())
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
