//! Large bytes at the end of a message, which are neither copied into it nor out of it. Not a
//! different layout: the bytes on the wire are those of any other value.
//!
//! serde hands bytes over as slices, so what owns them is looked for here, before serde is asked:
//! a [`Bytes`] as the last value of a message. Everything else goes through the codec as it is.

use std::any::Any;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Bincode, Codec, DecodeError, EncodeError};
use crate::{body::Body, outbox::BULK_BYTES};

/// The length that stands before bytes.
const LENGTH_BYTES: usize = size_of::<u64>();

/// What isn't copied of `last`, the last value of a message: bytes, if there are many.
pub(crate) fn tail<T: 'static>(last: &T) -> Option<&Bytes> {
    let bytes = (last as &dyn Any).downcast_ref::<Bytes>()?;
    (bytes.len() >= BULK_BYTES).then_some(bytes)
}

/// Appends `last` to `out`, except for what [`tail`] says of it.
pub(crate) fn encode_last<T>(last: &T, out: &mut Vec<u8>) -> Result<(), EncodeError>
where
    T: Serialize + 'static,
{
    match tail(last) {
        Some(bytes) => Bincode::encode(&(bytes.len() as u64), out),
        None => Bincode::encode(last, out),
    }
}

/// Reads a whole message that is one value.
pub(crate) fn decode<T: DeserializeOwned + 'static>(body: Body) -> Result<T, DecodeError> {
    let body = body.into_shared();
    match &body {
        Body::Shared(message) => decode_last(message, message),
        Body::Buffer(message) => Bincode::decode(message),
    }
}

/// Reads a whole message: a tuple, which may borrow from it, and a value behind it.
pub(crate) fn decode_both<'de, A, T>(body: &'de Body) -> Result<(A, T), DecodeError>
where
    A: Deserialize<'de>,
    T: DeserializeOwned + 'static,
{
    match body {
        Body::Shared(message) if is_bytes::<T>() => {
            let (front, read) = Bincode::decode_front(message)?;
            Ok((front, decode_last(message, message.get(read..).unwrap_or_default())?))
        }
        Body::Shared(_) | Body::Buffer(_) => Bincode::decode(body.as_slice()),
    }
}

/// Reads `rest`, which is the end of `message`. Bytes are a part of the message.
fn decode_last<T>(message: &Bytes, rest: &[u8]) -> Result<T, DecodeError>
where
    T: DeserializeOwned + 'static,
{
    if !is_bytes::<T>() {
        return Bincode::decode(rest);
    }
    let Some((length, bytes)) = rest.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(DecodeError::UnexpectedEnd);
    };
    // r[impl codec.whole]
    match usize::try_from(u64::from_le_bytes(*length)).ok().map(|n| bytes.len().checked_sub(n)) {
        Some(Some(0)) => {}
        Some(Some(extra)) => return Err(DecodeError::TrailingBytes { extra }),
        Some(None) | None => return Err(DecodeError::UnexpectedEnd),
    }
    let mut found = Some(message.slice_ref(bytes));
    let value = (&mut found as &mut dyn Any).downcast_mut::<Option<T>>().and_then(Option::take);
    value.ok_or(DecodeError::UnexpectedEnd)
}

fn is_bytes<T: 'static>() -> bool {
    std::any::TypeId::of::<T>() == std::any::TypeId::of::<Bytes>()
}
