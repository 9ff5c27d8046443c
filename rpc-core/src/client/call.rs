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

use bytes::Bytes;
use serde::Serialize;

use super::{Channel, link::Attempt};
use crate::{
    body::Body,
    clock,
    codec::{Bincode, Codec, DecodeError, EncodeError, whole},
    connection::{CallOptions, Connection, TimeLimit},
    context,
    error::{Delivery, ErrorKind, RpcError},
    frame::{CallId, Metadata, MetadataError},
    mux::{Closed, Ending, Opened, Ticket, earlier},
    service::{Method, Reply, ReplyPart, StreamReply},
    streaming::{ArgumentPump, Caller, Incoming, Items, Pump, Streaming},
    sync::{AbortHandle, Sleep, sleep_until, spawn},
};

/// What the buffer of the arguments has room for at first, and then for the reply, so that small ones
/// are written without it growing in steps.
const BODY_BYTES: usize = 64;

/// What came in reply to a call.
pub(super) enum Received {
    /// A value, or the handler's error.
    Body(Body, bool),
    /// A stream, which has begun.
    Stream(Incoming),
}

/// Turns what came into the call's result.
type Decode<T, F> = fn(Received) -> Result<Result<T, F>, DecodeError>;

/// Decodes the reply of a method that returns a value.
pub(super) fn decode_value<R: Reply>(
    received: Received,
) -> Result<Result<R::Ok, R::Failure>, DecodeError> {
    match received {
        Received::Body(body, app_error) => R::decode_body(body, app_error),
        Received::Stream(_) => {
            Err(DecodeError::Custom("a stream from a method that returns a value".into()))
        }
    }
}

/// Decodes the reply of a method that returns a stream.
pub(super) fn decode_stream<R: StreamReply>(
    received: Received,
) -> Result<Result<R::Ok, R::Failure>, DecodeError> {
    match received {
        Received::Body(body, app_error) => R::decode(body.as_slice(), app_error).map(Err),
        Received::Stream(items) => Ok(Ok(R::receive(items))),
    }
}

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
/// The call of a one-way method ends when its request has left this process, and the other side's
/// answer only counts: see `#[service]`, *One-way calls*.
///
/// # Panics
/// Polling panics outside of a tokio runtime when a connection has to be made, and after the call
/// has ended. A panic in `Serialize` of an argument is the caller's own, where the stub is called,
/// and so is one in `Deserialize` of the reply, where the call is awaited. Neither harms the
/// connection.
///
/// # Cancel safety
/// Dropping the call at any time leaves the connection and other calls alone. Whether the handler
/// ran is unknown then, unless the call was never polled. One that is one-way and has left goes on.
#[must_use = "a call does nothing unless it is awaited or polled"]
pub struct Call<T, F = RpcError> {
    call: Untyped,
    decode: Decode<T, F>,
}

/// A call without the type of its result: what is here is compiled once, and not again for each
/// method of the user's.
struct Untyped {
    channel: Channel,
    method: &'static Method,
    /// Whether it ends when the request has left this process.
    oneway: bool,
    limit: TimeLimit,
    /// Whether its timeout is the channel's default.
    is_default: bool,
    /// How long each item of a reply may take.
    patience: Option<Duration>,
    metadata: Option<Box<Metadata>>,
    /// Attempts to connect that had failed before it first got a connection.
    failures: Option<u64>,
    sending: Sending,
    /// Large bytes behind the rest of the arguments. In a box: few calls have any.
    tail: Option<Box<Bytes>>,
    state: State,
}

/// The stream among the arguments of a call.
enum Sending {
    None,
    /// Not yet.
    Items(Items),
    /// By a task, which is stopped with the call.
    Task(AbortHandle),
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
        let mut body = Vec::with_capacity(BODY_BYTES);
        let encoded = Bincode::encode(args, &mut body).map(|()| body);
        Self { call: Untyped::new(channel, method, encoded, oneway), decode }
    }

    /// The same, of a method whose last argument may be `Bytes`, which aren't copied.
    pub(super) fn with_last<A: Serialize, L: Serialize + 'static>(
        channel: &Channel,
        method: &'static Method,
        args: &A,
        last: &L,
        decode: Decode<T, F>,
        oneway: bool,
    ) -> Self {
        let mut body = Vec::with_capacity(BODY_BYTES);
        let encoded = Bincode::encode(args, &mut body)
            .and_then(|()| whole::encode_last(last, &mut body))
            .map(|()| body);
        let mut call = Untyped::new(channel, method, encoded, oneway);
        call.tail = whole::tail(last).cloned().map(Box::new);
        Self { call, decode }
    }

    /// How long the call may take, from its first poll. Replaces the channel's default. A
    /// [`deadline`](Call::deadline) and that of the handler that makes the call, if one does, hold
    /// all the same: the earliest counts.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call.limit.timeout = Some(timeout);
        self.call.is_default = false;
        self
    }

    /// When the call has to be over. Replaces the channel's default. A [`timeout`](Call::timeout) and
    /// other deadlines hold all the same: the earliest counts.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        let call = &mut self.call;
        call.limit.deadline = earlier(call.limit.deadline, Some(deadline));
        if mem::replace(&mut call.is_default, false) {
            call.limit.timeout = None;
        }
        self
    }

    /// The call may take as long as it likes, whatever the default, the handler's deadline and what
    /// was said before. It still fails when the server dies: see
    /// [`ChannelBuilder::keepalive`](super::ChannelBuilder::keepalive). And its handler still ends when this
    /// side dies: a server asks after a client that was silent for 30 seconds, and waits as long for an answer.
    pub fn no_deadline(mut self) -> Self {
        self.call.limit = TimeLimit::new(None, None);
        self.call.is_default = false;
        self
    }

    /// Adds metadata. The call fails, not sent, with *malformed request* for a key of 0 or of more
    /// than 255 bytes, and with *too large* when another limit of [`Metadata`] is hit.
    ///
    /// Like the other settings of a call, it has no effect once the call has been polled.
    pub fn metadata(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.call.add_metadata(key, value.as_ref());
        self
    }

    /// Sends a stream along, which the method takes as its last argument. Generated clients do it.
    pub fn with_items<I: ReplyPart + Send + 'static>(mut self, items: Streaming<I>) -> Self {
        if matches!(self.call.state, State::Encoded(_, None)) {
            self.call.sending = Sending::Items(Box::new(items));
        }
        self
    }

    /// The method that is called.
    #[must_use]
    pub fn method(&self) -> &'static Method {
        self.call.method
    }
}

impl Untyped {
    fn new(
        channel: &Channel,
        method: &'static Method,
        body: Result<Vec<u8>, EncodeError>,
        oneway: bool,
    ) -> Self {
        let state = match body {
            Ok(body) => State::Encoded(body, None),
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
            oneway,
            limit: TimeLimit::new(channel.way.timeout(), context::inherited_deadline()),
            is_default: true,
            patience: None,
            metadata: None,
            failures: None,
            sending: Sending::None,
            tail: None,
            state,
        }
    }

    fn add_metadata(&mut self, key: &str, value: &[u8]) {
        if !matches!(self.state, State::Encoded(_, None)) {
            return;
        }
        let metadata = self.metadata.get_or_insert_default();
        if let Err(error) = metadata.insert(key, value) {
            let kind = match error {
                MetadataError::Key { .. } => ErrorKind::MalformedRequest,
                _ => ErrorKind::TooLarge,
            };
            self.state = State::Failed(RpcError::new(kind, Delivery::NotSent, error.to_string()));
        }
    }

    /// What came in reply.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, RpcError>> {
        let error = match ready!(self.poll_ending(cx)) {
            Ok(Ending::Reply { body, app_error }) => {
                return Poll::Ready(Ok(Received::Body(body, app_error)));
            }
            Err(Gone::Stream(items)) => return Poll::Ready(Ok(Received::Stream(items))),
            // As if nothing had been answered, which is what its caller expects.
            Ok(Ending::Left) => return Poll::Ready(Ok(Received::Body(Body::empty(), false))),
            Ok(Ending::Failed { kind, delivery, detail }) => {
                RpcError::new(kind, delivery, self.explain(kind, delivery, detail))
            }
            Ok(Ending::Stream) => RpcError::new(ErrorKind::MalformedReply, Delivery::Replied, ""),
            Ok(Ending::Lost(delivery)) => RpcError::new(ErrorKind::ConnectionLost, delivery, ""),
            Err(Gone::Lost(delivery, closed)) => self.lost(delivery, closed),
            Err(Gone::Error(error)) => {
                self.state = State::Ended;
                error
            }
        };
        Poll::Ready(Err(error.of_method(self.method)))
    }

    /// The error of a reply that isn't what the caller expects.
    fn malformed(&self, error: DecodeError) -> RpcError {
        // r[impl codec.malformed]
        let text = "the reply could not be decoded";
        RpcError::new(ErrorKind::MalformedReply, Delivery::Replied, text)
            .with_source(error)
            .of_method(self.method)
    }

    #[expect(clippy::panic, reason = "what every future may do that is polled after its end")]
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ending, Gone>> {
        loop {
            match &mut self.state {
                State::Open(connection, id) => {
                    let Some(ending) = connection.poll_call(*id, cx.waker()) else {
                        return Poll::Pending;
                    };
                    let State::Open(connection, id) = mem::replace(&mut self.state, State::Ended)
                    else {
                        return Poll::Pending;
                    };
                    if let Ending::Lost(delivery) = ending {
                        // It has been sent, or was about to be: there is no other way for it.
                        let _or_error = self.channel.way.replace(&connection);
                        return Poll::Ready(Err(Gone::Lost(delivery, connection.closed())));
                    }
                    if matches!(ending, Ending::Stream) {
                        return Poll::Ready(Err(Gone::Stream(self.incoming(connection, id))));
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
                let mut attempt = Attempt::new(self.failures);
                match self.channel.way.poll_connection(cx, &mut attempt) {
                    Poll::Ready(connection) => {
                        self.failures = attempt.seen();
                        connection?
                    }
                    Poll::Pending => {
                        // Kept before the timer is made, which panics on a runtime without time.
                        let connecting =
                            connecting.insert(Box::new(Connecting { attempt, timer: None }));
                        self.limit.fix(clock::now());
                        let timer = self.limit.deadline.map(|at| sleep_until(at.into()));
                        connecting.timer = timer.map(Box::pin);
                        return self.poll_connect(cx);
                    }
                }
            }
            Some(waiting) => match self.channel.way.poll_connection(cx, &mut waiting.attempt) {
                Poll::Ready(connection) => {
                    self.failures = waiting.attempt.seen();
                    connection?
                }
                Poll::Pending => {
                    let Some(timer) = &mut waiting.timer else { return Poll::Pending };
                    ready!(timer.as_mut().poll(cx));
                    self.channel.way.leave(&mut waiting.attempt);
                    return Poll::Ready(Err(self.channel.way.too_late()));
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
        self.patience = self.patience.or(self.limit.timeout);
        let mut options = CallOptions {
            method: self.method.id(),
            idempotent: self.method.is_idempotent(),
            oneway: self.oneway,
            metadata: self.metadata.as_deref().unwrap_or(NONE),
            stream: matches!(self.sending, Sending::Items(_)),
            tail: self.tail.as_deref(),
            limit: self.limit,
        };
        let opened = connection.open_call(&mut options, ticket, &mut body, cx.waker());
        self.limit = options.limit;
        match opened {
            Opened::Call(id) => {
                self.tail = None;
                self.begin_sending(&connection, id);
                self.state = State::Open(connection, id);
            }
            Opened::Wait(ticket) => {
                self.state = State::Queued(body, connection, ticket);
            }
            Opened::Gone => {
                self.state = State::Encoded(body, None);
                self.channel.way.replace(&connection)?;
            }
            Opened::Refused { kind, detail } => {
                self.state = State::Ended;
                return Err(RpcError::new(kind, Delivery::NotSent, detail));
            }
        }
        Ok(())
    }

    /// Starts the task that sends the items of the arguments.
    fn begin_sending(&mut self, connection: &Arc<Connection>, id: CallId) {
        if !matches!(self.sending, Sending::Items(_)) {
            return;
        }
        if let Sending::Items(items) = mem::replace(&mut self.sending, Sending::None) {
            let pump = ArgumentPump::new(Pump::new(Arc::clone(connection), id, items));
            self.sending = Sending::Task(spawn(pump).abort_handle());
        }
    }

    /// The reader of the stream that has begun in reply. It has what the call needs from now on.
    fn incoming(&mut self, connection: Arc<Connection>, id: CallId) -> Incoming {
        let pump = match mem::replace(&mut self.sending, Sending::None) {
            Sending::Task(pump) => Some(pump),
            Sending::None | Sending::Items(_) => None,
        };
        let caller = Caller {
            _channel: self.channel.clone(),
            method: self.method,
            patience: self.patience,
            timer: None,
            pump,
        };
        Incoming::new(connection, id, Some(caller))
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
}

/// What a call ended with, other than a word about it from the peer.
enum Gone {
    Stream(Incoming),
    Lost(Delivery, Option<Closed>),
    Error(RpcError),
}

impl<T, F: From<RpcError>> Future for Call<T, F> {
    type Output = Result<T, F>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let received = match ready!(this.call.poll(cx)) {
            Ok(received) => received,
            Err(error) => return Poll::Ready(Err(error.into())),
        };
        Poll::Ready(match (this.decode)(received) {
            Ok(result) => result,
            Err(error) => Err(this.call.malformed(error).into()),
        })
    }
}

impl Drop for Untyped {
    fn drop(&mut self) {
        if let Sending::Task(pump) = &self.sending {
            pump.abort();
        }
        match mem::replace(&mut self.state, State::Ended) {
            State::Open(connection, id) => connection.drop_call(id),
            State::Queued(_, connection, ticket) => connection.leave_queue(ticket),
            State::Encoded(_, Some(mut waiting)) => {
                self.channel.way.leave(&mut waiting.attempt);
            }
            State::Encoded(_, None) | State::Failed(_) | State::Ended => {}
        }
    }
}

impl<T, F> fmt::Debug for Call<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.call.state {
            State::Encoded(..) => "not sent",
            State::Queued(..) => "waiting for a place",
            State::Open(..) => "under way",
            State::Failed(_) | State::Ended => "ended",
        };
        f.debug_struct("Call")
            .field("method", &self.method().to_string())
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
