//! The shapes of replies that are streams; no frames.

use std::marker::PhantomData;

use super::ReplyPart;
use crate::{
    codec::{Bincode, Codec, DecodeError, EncodeError},
    error::{CallError, RpcError},
    streaming::{Incoming, Items, Streaming},
};

/// How a handler's output becomes a stream, and a stream what the caller awaits.
///
/// Implemented by two markers that generated code names: [`Streamed`] and [`FallibleStreamed`].
pub trait StreamReply {
    /// What the handler returns.
    type Output;
    /// What the caller gets when the stream begins.
    type Ok;
    /// What the caller gets otherwise.
    type Failure: From<RpcError>;

    /// The items of the stream, or `None` if an error was appended to `body` in place of them.
    ///
    /// # Errors
    /// The output can't be encoded.
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "only this crate calls it")]
    fn begin(output: Self::Output, body: &mut Vec<u8>) -> Result<Option<Items>, EncodeError>;

    /// The stream that has begun.
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "only this crate calls it")]
    fn receive(items: Incoming) -> Self::Ok;

    /// The reply that came in place of a stream.
    ///
    /// # Errors
    /// The body isn't what the caller expects.
    fn decode(body: &[u8], app_error: bool) -> Result<Self::Failure, DecodeError>;
}

/// `Streaming<T>`; the caller gets `Result<Streaming<T>, RpcError>`.
#[derive(Debug)]
pub struct Streamed<T>(PhantomData<T>);

impl<T: ReplyPart + Send + 'static> StreamReply for Streamed<T> {
    type Output = Streaming<T>;
    type Ok = Streaming<T>;
    type Failure = RpcError;

    #[expect(private_interfaces, reason = "only this crate calls it")]
    fn begin(output: Streaming<T>, _: &mut Vec<u8>) -> Result<Option<Items>, EncodeError> {
        Ok(Some(Box::new(output)))
    }

    #[expect(private_interfaces, reason = "only this crate calls it")]
    fn receive(items: Incoming) -> Streaming<T> {
        Streaming::remote(items)
    }

    fn decode(_: &[u8], _: bool) -> Result<RpcError, DecodeError> {
        Err(no_stream())
    }
}

/// `Result<Streaming<T>, E>`; the caller gets `Result<Streaming<T>, CallError<E>>`.
#[derive(Debug)]
pub struct FallibleStreamed<R>(PhantomData<R>);

impl<T, E> StreamReply for FallibleStreamed<Result<Streaming<T>, E>>
where
    T: ReplyPart + Send + 'static,
    E: ReplyPart,
{
    type Output = Result<Streaming<T>, E>;
    type Ok = Streaming<T>;
    type Failure = CallError<E>;

    #[expect(private_interfaces, reason = "only this crate calls it")]
    fn begin(output: Self::Output, body: &mut Vec<u8>) -> Result<Option<Items>, EncodeError> {
        match output {
            Ok(items) => Ok(Some(Box::new(items))),
            Err(error) => Bincode::encode(&error, body).map(|()| None),
        }
    }

    #[expect(private_interfaces, reason = "only this crate calls it")]
    fn receive(items: Incoming) -> Streaming<T> {
        Streaming::remote(items)
    }

    fn decode(body: &[u8], app_error: bool) -> Result<CallError<E>, DecodeError> {
        if app_error { Bincode::decode(body).map(CallError::App) } else { Err(no_stream()) }
    }
}

fn no_stream() -> DecodeError {
    DecodeError::Custom("a value from a method that returns a stream".into())
}
