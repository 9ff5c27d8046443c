//! Byte strings that are coded as one piece: what generated code wraps byte arguments and replies
//! in. Not a different layout: a peer may write the same bytes element by element.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Bytes, sent as a length and one copy.
///
/// serde takes a `Vec<u8>` for a sequence of numbers and passes them one by one, some ten
/// instructions each. For `T` of `Vec<u8>`, `&[u8]` and `Option`s of them; a `&[u8]` borrows from
/// the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Octets<T>(pub T);

impl Serialize for Octets<&[u8]> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Serialize for Octets<Vec<u8>> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl Serialize for Octets<Option<&[u8]>> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.map(Octets).serialize(serializer)
    }
}

impl Serialize for Octets<Option<Vec<u8>>> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_deref().map(Octets).serialize(serializer)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Octets<&'a [u8]> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Octets)
    }
}

impl<'de> Deserialize<'de> for Octets<Vec<u8>> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(Owned).map(Octets)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Octets<Option<&'a [u8]>> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<&[u8]>::deserialize(deserializer).map(Octets)
    }
}

impl<'de> Deserialize<'de> for Octets<Option<Vec<u8>>> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let octets = Option::<Octets<Vec<u8>>>::deserialize(deserializer)?;
        Ok(Self(octets.map(|Octets(bytes)| bytes)))
    }
}

struct Owned;

impl Visitor<'_> for Owned {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    #[inline]
    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    #[inline]
    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}
