//! The bincode 1 layout (fixed width, little endian), by way of the bincode crate, and the only
//! place that names it. Not a place for limits of our own: those are the fence's.

use ::bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use ::bincode::enc::write::Writer;
use ::bincode::error;
use ::bincode::serde::{encode_into_writer, seed_decode_from_slice};
use serde::{Deserialize, Serialize};

use super::fence::{Budget, Depth};
use super::{BODY_BYTES_MAX, Codec, DecodeError, EncodeError, printable};

/// bincode in the layout of bincode 1: little endian, `u64` lengths, `u32` variants, one byte for
/// the tag of an option, nothing for the names of anything.
///
/// `spec/vectors/codec.txt` shows one of each. Every value has exactly one encoding, `HashMap` and
/// `HashSet` aside; a map that repeats a key is read without complaint, and the last one counts, and
/// so is a `Duration` of more nanoseconds than make a second, which serde carries over.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub(crate) struct Bincode;

/// The limit is bincode's own count of bytes read; here it repeats what the length of the slice and
/// the fence already say, and stays because bincode without one allocates whatever a length claims.
const LAYOUT: Configuration<LittleEndian, Fixint, Limit<BODY_BYTES_MAX>> =
    ::bincode::config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<BODY_BYTES_MAX>();

impl Codec for Bincode {
    const ID: u16 = 1;

    #[inline]
    fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let depth = Depth::default();
        // r[impl codec.layout]
        let encoded = encode_into_writer(depth.top().bound(value), Append(out), LAYOUT);
        // the fence's refusal first: a `Serialize` of the user's may have swallowed its error
        let encoded = match depth.into_refusal() {
            Some(refusal) => Err(refusal),
            None => encoded.map_err(not_encoded),
        };
        encoded.inspect_err(|_| out.truncate(start))
    }

    #[inline]
    fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
        match Self::decode_front(bytes)? {
            (value, read) if read == bytes.len() => Ok(value),
            // r[impl codec.whole]
            (_, read) => {
                Err(DecodeError::TrailingBytes { extra: bytes.len().saturating_sub(read) })
            }
        }
    }

    #[inline]
    fn decode_front<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<(T, usize), DecodeError> {
        let length = bytes.len();
        if length > BODY_BYTES_MAX {
            return Err(DecodeError::TooLong { length, limit: BODY_BYTES_MAX });
        }
        // r[impl codec.limits]
        let budget = Budget::for_message(length);
        let top = budget.top();
        let decoded = seed_decode_from_slice(top.seed::<T>(), bytes, LAYOUT);
        if let Some(refusal) = budget.into_refusal() {
            return Err(refusal);
        }
        decoded.map_err(not_decoded)
    }
}

/// Appends to a buffer that already holds a header.
struct Append<'a>(&'a mut Vec<u8>);

impl Writer for Append<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

#[cold]
fn not_encoded(error: error::EncodeError) -> EncodeError {
    use error::EncodeError as E;
    match error {
        E::Serde(_) => EncodeError::UnknownLength,
        E::OtherString(text) => EncodeError::Custom(printable(&text)),
        other => EncodeError::Custom(printable(&other.to_string())),
    }
}

#[cold]
fn not_decoded(error: error::DecodeError) -> DecodeError {
    use error::DecodeError as E;
    match error {
        // the limit is the longest body there is, so what exceeds it exceeds this one
        E::UnexpectedEnd { .. } | E::LimitExceeded | E::OutsideUsizeRange(_) => {
            DecodeError::UnexpectedEnd
        }
        E::Utf8 { .. } => DecodeError::InvalidUtf8,
        E::InvalidBooleanValue(found) => DecodeError::InvalidTag { found: found.into() },
        E::UnexpectedVariant { found, .. } => DecodeError::InvalidTag { found },
        E::InvalidCharEncoding(_) => DecodeError::InvalidChar,
        E::Serde(_) => DecodeError::SelfDescribing,
        E::OtherString(text) => DecodeError::Custom(printable(&text)),
        other => DecodeError::Custom(printable(&other.to_string())),
    }
}
