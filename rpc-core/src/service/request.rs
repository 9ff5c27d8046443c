//! One request on its way through a handler: decoding of arguments, encoding of the reply.

use std::{fmt, future::Future, pin::Pin};

use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};

use super::{MethodId, Reply, ReplyPart, StreamReply};
use crate::{
    body::Body,
    codec::{Bincode, Codec, DecodeError, EncodeError, whole},
    context::Context,
    error::ErrorKind,
    streaming::{Incoming, Items, Streaming},
};

/// A running handler, as [`Service::call`](super::Service::call) returns it.
pub type Handler = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What a handler ends with: an answer, or the reason why it never ran.
pub type Outcome = Result<Answer, Refusal>;

/// One request, complete and within all limits, with its arguments still encoded.
#[derive(Debug)]
pub struct Request {
    method: MethodId,
    context: Context,
    body: Body,
    /// The stream among its arguments.
    items: Option<Incoming>,
}

impl Request {
    pub(crate) fn new(
        method: MethodId,
        context: Context,
        body: Body,
        items: Option<Incoming>,
    ) -> Self {
        Self { method, context, body: body.into_shared(), items }
    }

    /// How many bytes its arguments have.
    pub(crate) fn bytes(&self) -> usize {
        self.body.as_slice().len()
    }

    /// Which method it asks for.
    #[must_use]
    pub fn method(&self) -> MethodId {
        self.method
    }

    /// Deadline, metadata and peer of this call.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Decodes the arguments, a tuple. `&str` and `&[u8]` borrow from the request.
    ///
    /// # Errors
    /// A refusal that becomes the caller's *malformed request*.
    pub fn args<'a, A: Deserialize<'a>>(&'a self) -> Result<A, Refusal> {
        // r[impl codec.arguments] r[impl codec.malformed]
        Bincode::decode(self.body.as_slice()).map_err(Refusal::of_arguments)
    }

    /// Decodes the arguments: a tuple, as [`args`](Request::args) does, and the last one, which is
    /// a part of the request if it is `Bytes`.
    ///
    /// # Errors
    /// A refusal that becomes the caller's *malformed request*.
    pub fn args_and_last<'a, A, T>(&'a self) -> Result<(A, T), Refusal>
    where
        A: Deserialize<'a>,
        T: DeserializeOwned + 'static,
    {
        whole::decode_both(&self.body).map_err(Refusal::of_arguments)
    }

    /// Encodes the reply, into the buffer that held the arguments.
    ///
    /// # Errors
    /// A refusal that becomes the caller's *malformed reply*.
    pub fn reply<R: Reply>(self, output: &R::Output) -> Outcome {
        let mut body = self.body.into_buffer();
        match R::encode(output, &mut body) {
            Ok(app_error) => {
                let tail = R::tail(output).cloned().unwrap_or_default();
                Ok(Answer { body, tail, app_error, items: None })
            }
            Err(error) => Err(Refusal::of_reply(error)),
        }
    }

    /// The stream among the arguments, which is the last of them.
    ///
    /// # Errors
    /// There is none: a refusal that becomes the caller's *malformed request*.
    pub fn items<T: ReplyPart>(&mut self) -> Result<Streaming<T>, Refusal> {
        self.items.take().map(Streaming::remote).ok_or_else(Refusal::without_items)
    }

    /// Replies with a stream, or with the handler's error in place of one.
    ///
    /// # Errors
    /// A refusal that becomes the caller's *malformed reply*.
    pub fn stream<R: StreamReply>(self, output: R::Output) -> Outcome {
        let mut body = self.body.into_buffer();
        match R::begin(output, &mut body) {
            Ok(items) => Ok(Answer { body, tail: Bytes::new(), app_error: items.is_none(), items }),
            Err(error) => Err(Refusal::of_reply(error)),
        }
    }

    /// The answer to a method that the service doesn't have.
    #[must_use]
    pub fn unknown_method(self) -> Handler {
        Box::pin(std::future::ready(Err(Refusal::of(ErrorKind::UnknownMethod))))
    }
}

/// An encoded reply.
pub struct Answer {
    pub(crate) body: Vec<u8>,
    /// Large bytes behind it.
    pub(crate) tail: Bytes,
    pub(crate) app_error: bool,
    /// What follows, if the answer is a stream.
    pub(crate) items: Option<Items>,
}

impl Answer {
    pub(crate) fn bytes(&self) -> usize {
        self.body.len().saturating_add(self.tail.len())
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("bytes", &self.bytes())
            .field("app_error", &self.app_error)
            .finish()
    }
}

/// Why a request has no answer, although the connection is fine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub(crate) kind: ErrorKind,
    pub(crate) detail: String,
}

// Apart from `Request`, whose generic methods are compiled for each method of the user's.
impl Refusal {
    /// One that needs no words beside its kind.
    pub(crate) fn of(kind: ErrorKind) -> Self {
        Self { kind, detail: String::new() }
    }

    #[cold]
    fn of_arguments(error: DecodeError) -> Self {
        let detail = format!("the arguments could not be decoded: {error}");
        Self { kind: ErrorKind::MalformedRequest, detail }
    }

    #[cold]
    fn without_items() -> Self {
        let detail = "the method takes a stream, and none came with the request".into();
        Self { kind: ErrorKind::MalformedRequest, detail }
    }

    #[cold]
    fn of_reply(error: EncodeError) -> Self {
        let detail = format!("the reply could not be encoded: {error}");
        Self { kind: ErrorKind::MalformedReply, detail }
    }
}
