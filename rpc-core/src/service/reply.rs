//! The shapes a handler's output can have, and how each goes over the wire; no frames.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use bytes::Bytes;

use crate::{
    body::Body,
    codec::{Bincode, Codec, DecodeError, EncodeError, Octets, whole},
    error::{CallError, RpcError},
};

/// How a handler's output becomes a reply, and a reply what the caller awaits.
///
/// Implemented by markers that generated code names: [`Plain`], [`Fallible`], [`OctetsReply`],
/// [`Whole`], [`FallibleWhole`] and [`Oneway`].
pub trait Reply {
    /// What the handler returns.
    type Output;
    /// What the caller gets when all went well.
    type Ok;
    /// What the caller gets otherwise.
    type Failure: From<RpcError>;

    /// Whether the call ends when its request has left this process. The reply is of nothing then,
    /// and nobody sees it.
    const ONEWAY: bool = false;

    /// Appends the body of the reply. Returns whether it is an error that the handler returned.
    ///
    /// # Errors
    /// The output can't be encoded.
    fn encode(output: &Self::Output, body: &mut Vec<u8>) -> Result<bool, EncodeError>;

    /// What follows what [`encode`](Reply::encode) appended: large bytes, which aren't copied.
    #[doc(hidden)]
    fn tail(output: &Self::Output) -> Option<&Bytes> {
        let _ = output;
        None
    }

    /// Decodes a body, parts of which may be kept without a copy.
    ///
    /// # Errors
    /// The body isn't what the caller expects.
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "only this crate calls it")]
    fn decode_body(
        body: Body,
        app_error: bool,
    ) -> Result<Result<Self::Ok, Self::Failure>, DecodeError> {
        Self::decode(body.as_slice(), app_error)
    }

    /// Decodes a body. `app_error` is what [`encode`](Reply::encode) returned on the other side.
    ///
    /// # Errors
    /// The body isn't what the caller expects.
    fn decode(body: &[u8], app_error: bool)
    -> Result<Result<Self::Ok, Self::Failure>, DecodeError>;
}

/// A reply, or one half of a `Result`: anything that serde encodes, and decodes without borrowing.
///
/// One name for both, so that the compiler complains once about a type that isn't: not for each of
/// the two traits, nor for client and server apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't go over the wire",
    label = "serde has to know it, for both directions",
    note = "derive `serde::Serialize` and `serde::Deserialize` for your types in it; those of other \
            crates may need the crate's feature `serde`"
)]
pub trait ReplyPart: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> ReplyPart for T {}

/// Any serde type; the caller gets `Result<T, RpcError>`.
#[derive(Debug)]
pub struct Plain<T>(PhantomData<T>);

impl<T: ReplyPart> Reply for Plain<T> {
    type Output = T;
    type Ok = T;
    type Failure = RpcError;

    fn encode(output: &T, body: &mut Vec<u8>) -> Result<bool, EncodeError> {
        Bincode::encode(output, body).map(|()| false)
    }

    fn decode(body: &[u8], app_error: bool) -> Result<Result<T, RpcError>, DecodeError> {
        refuse_app_error(app_error)?;
        Bincode::decode(body).map(Ok)
    }
}

/// Nothing, of a method that is called one-way: the caller learns that the request has left.
#[derive(Debug)]
pub struct Oneway;

impl Reply for Oneway {
    type Output = ();
    type Ok = ();
    type Failure = RpcError;

    const ONEWAY: bool = true;

    fn encode((): &(), body: &mut Vec<u8>) -> Result<bool, EncodeError> {
        Plain::encode(&(), body)
    }

    fn decode(body: &[u8], app_error: bool) -> Result<Result<(), RpcError>, DecodeError> {
        Plain::decode(body, app_error)
    }
}

/// `Result<T, E>`; the caller gets `Result<T, CallError<E>>`.
#[derive(Debug)]
pub struct Fallible<R>(PhantomData<R>);

impl<T, E> Reply for Fallible<Result<T, E>>
where
    T: ReplyPart,
    E: ReplyPart,
{
    type Output = Result<T, E>;
    type Ok = T;
    type Failure = CallError<E>;

    fn encode(output: &Result<T, E>, body: &mut Vec<u8>) -> Result<bool, EncodeError> {
        match output {
            // r[impl codec.reply]
            Ok(value) => Bincode::encode(value, body).map(|()| false),
            Err(error) => Bincode::encode(error, body).map(|()| true),
        }
    }

    fn decode(body: &[u8], app_error: bool) -> Result<Result<T, CallError<E>>, DecodeError> {
        if app_error {
            Bincode::decode(body).map(|error| Err(CallError::App(error)))
        } else {
            Bincode::decode(body).map(Ok)
        }
    }
}

/// A value that may be `Bytes`, which are then sent and received without a copy if they are many.
#[derive(Debug)]
pub struct Whole<T>(PhantomData<T>);

impl<T: ReplyPart + 'static> Reply for Whole<T> {
    type Output = T;
    type Ok = T;
    type Failure = RpcError;

    fn encode(output: &T, body: &mut Vec<u8>) -> Result<bool, EncodeError> {
        whole::encode_last(output, body).map(|()| false)
    }

    fn tail(output: &T) -> Option<&Bytes> {
        whole::tail(output)
    }

    #[expect(private_interfaces, reason = "only this crate calls it")]
    fn decode_body(body: Body, app_error: bool) -> Result<Result<T, RpcError>, DecodeError> {
        refuse_app_error(app_error)?;
        whole::decode(body).map(Ok)
    }

    fn decode(body: &[u8], app_error: bool) -> Result<Result<T, RpcError>, DecodeError> {
        Plain::decode(body, app_error)
    }
}

/// A `Result` of what [`Whole`] is for.
#[derive(Debug)]
pub struct FallibleWhole<R>(PhantomData<R>);

impl<T, E> Reply for FallibleWhole<Result<T, E>>
where
    T: ReplyPart + 'static,
    E: ReplyPart,
{
    type Output = Result<T, E>;
    type Ok = T;
    type Failure = CallError<E>;

    fn encode(output: &Result<T, E>, body: &mut Vec<u8>) -> Result<bool, EncodeError> {
        match output {
            Ok(value) => whole::encode_last(value, body).map(|()| false),
            Err(error) => Bincode::encode(error, body).map(|()| true),
        }
    }

    fn tail(output: &Result<T, E>) -> Option<&Bytes> {
        output.as_ref().ok().and_then(whole::tail)
    }

    #[expect(private_interfaces, reason = "only this crate calls it")]
    fn decode_body(body: Body, app_error: bool) -> Result<Result<T, CallError<E>>, DecodeError> {
        if app_error { Self::decode(body.as_slice(), true) } else { whole::decode(body).map(Ok) }
    }

    fn decode(body: &[u8], app_error: bool) -> Result<Result<T, CallError<E>>, DecodeError> {
        Fallible::decode(body, app_error)
    }
}

/// `Vec<u8>`, `Option<Vec<u8>>` and `Result`s of them, in one copy instead of byte by byte. The
/// bytes on the wire are the same as those of [`Plain`] and [`Fallible`].
#[derive(Debug)]
pub struct OctetsReply<R>(PhantomData<R>);

macro_rules! octets_reply {
    ($($ty:ty),*) => {$(
        impl Reply for OctetsReply<$ty> {
            type Output = $ty;
            type Ok = $ty;
            type Failure = RpcError;

            fn encode(output: &$ty, body: &mut Vec<u8>) -> Result<bool, EncodeError> {
                Bincode::encode(&Octets(output.as_deref_octets()), body).map(|()| false)
            }

            fn decode(body: &[u8], app_error: bool) -> Result<Result<$ty, RpcError>, DecodeError> {
                refuse_app_error(app_error)?;
                Bincode::decode(body).map(|Octets(value)| Ok(value))
            }
        }

        impl<E: ReplyPart> Reply for OctetsReply<Result<$ty, E>> {
            type Output = Result<$ty, E>;
            type Ok = $ty;
            type Failure = CallError<E>;

            fn encode(output: &Result<$ty, E>, body: &mut Vec<u8>) -> Result<bool, EncodeError> {
                match output {
                    Ok(value) => {
                        Bincode::encode(&Octets(value.as_deref_octets()), body).map(|()| false)
                    }
                    Err(error) => Bincode::encode(error, body).map(|()| true),
                }
            }

            fn decode(
                body: &[u8],
                app_error: bool,
            ) -> Result<Result<$ty, CallError<E>>, DecodeError> {
                if app_error {
                    Bincode::decode(body).map(|error| Err(CallError::App(error)))
                } else {
                    Bincode::decode(body).map(|Octets(value)| Ok(value))
                }
            }
        }
    )*};
}

octets_reply!(Vec<u8>, Option<Vec<u8>>);

/// Borrows octets for encoding.
trait AsDerefOctets {
    type Borrowed<'a>
    where
        Self: 'a;
    fn as_deref_octets(&self) -> Self::Borrowed<'_>;
}

impl AsDerefOctets for Vec<u8> {
    type Borrowed<'a> = &'a [u8];
    fn as_deref_octets(&self) -> &[u8] {
        self
    }
}

impl AsDerefOctets for Option<Vec<u8>> {
    type Borrowed<'a> = Option<&'a [u8]>;
    fn as_deref_octets(&self) -> Option<&[u8]> {
        self.as_deref()
    }
}

/// Names the two halves of a `Result`, so that an alias of that name works in a service trait.
pub trait ResultType {
    /// The value.
    type Ok;
    /// The error.
    type Err;
}

impl<T, E> ResultType for Result<T, E> {
    type Ok = T;
    type Err = E;
}

fn refuse_app_error(app_error: bool) -> Result<(), DecodeError> {
    // r[impl reply.app-error]
    if app_error {
        Err(DecodeError::Custom("an error from a method that returns none".into()))
    } else {
        Ok(())
    }
}
