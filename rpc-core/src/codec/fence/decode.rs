//! The reading side of the fence: a `Deserializer`, and what serde needs around one, that pays from
//! a budget before it lets a level through. Reads no byte itself.
//!
//! Every wrapper knows the **place** that its value goes to: a type whose memory is paid for
//! already, being an element of a sequence, a field of a struct or the root. A value larger than
//! its place must be boxed.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use super::access::{ElementAccess, PartAccess};
use super::budget::Level;
use crate::codec::DecodeError;

impl Level<'_> {
    /// Reads a `T` on this budget.
    #[inline]
    pub(in crate::codec) fn seed<'de, T: Deserialize<'de>>(
        &self,
    ) -> impl DeserializeSeed<'de, Value = T> {
        Seed { inner: PhantomData::<T>, at: self }
    }
}

/// A seed whose place is paid for.
pub(super) struct Seed<'b, S> {
    pub(super) inner: S,
    pub(super) at: &'b Level<'b>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Fence::<D, S::Value>::new(inner, self.at))
    }
}

/// The deserializer of a value that goes to a `Place`.
struct Fence<'b, D, Place> {
    inner: D,
    at: &'b Level<'b>,
    place: PhantomData<Place>,
}

impl<'b, D, Place> Fence<'b, D, Place> {
    #[inline]
    fn new(inner: D, at: &'b Level<'b>) -> Self {
        Self { inner, at, place: PhantomData }
    }
}

/// Pays for a `V` that can't be lying in its `Place`. The compiler knows which it is.
#[inline]
pub(super) fn house<V, Place, E: Error>(at: &Level<'_>) -> Result<(), E> {
    if size_of::<V>() > size_of::<Place>() { at.budget.spend(size_of::<V>()) } else { Ok(()) }
}

/// Leaves hold nothing that could cost anything: the visitor goes to the codec as it is.
macro_rules! leaves {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        }
    )*};
}

/// Where a level begins, with the visitor that goes in between.
macro_rules! levels {
    ($($method:ident($($arg:ident: $ty:ty),*) $visitor:ident;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($arg: $ty,)* inner: V) -> Result<V::Value, D::Error> {
            house::<V::Value, Place, _>(self.at)?;
            let at = &self.at.down()?;
            self.inner.$method($($arg,)* $visitor { inner, at })
        }
    )*};
}

/// Where one may begin: an option or enum may be empty, and a newtype is nothing of its own.
macro_rules! shells {
    ($($method:ident($($arg:ident: $ty:ty),*);)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($arg: $ty,)* inner: V) -> Result<V::Value, D::Error> {
            house::<V::Value, Place, _>(self.at)?;
            self.inner.$method($($arg,)* Parts { inner, at: self.at })
        }
    )*};
}

impl<'de, D: Deserializer<'de>, Place> Deserializer<'de> for Fence<'_, D, Place> {
    type Error = D::Error;

    leaves! {
        deserialize_bool deserialize_char deserialize_f32 deserialize_f64
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_str deserialize_bytes deserialize_unit deserialize_identifier
    }

    levels! {
        deserialize_tuple_struct(name: &'static str, len: usize) Parts;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) Parts;
        deserialize_seq() Elements;
        deserialize_map() Elements;
    }

    shells! {
        deserialize_option();
        deserialize_newtype_struct(name: &'static str);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }

    /// serde's own tuples and arrays have up to 32 parts. A longer one may be a sequence in
    /// disguise, its length read from the message, and pays like one.
    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        inner: V,
    ) -> Result<V::Value, D::Error> {
        house::<V::Value, Place, _>(self.at)?;
        let at = &self.at.down()?;
        if len > 32 {
            at.budget.claim(len)?;
        }
        self.inner.deserialize_tuple(len, Parts { inner, at })
    }

    /// As a slice of the message: asked for an owned string, a codec may allocate whatever its
    /// length claims. serde has every visitor of the one take the other.
    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    /// Refused, as the fence can't know what the codec would show the visitor.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, D::Error> {
        Err(self.at.budget.refuse(DecodeError::SelfDescribing))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, D::Error> {
        Err(self.at.budget.refuse(DecodeError::SelfDescribing))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// The visitor of a value whose parts lie inside it: a struct, a tuple, an option, an enum.
pub(super) struct Parts<'b, V> {
    pub(super) inner: V,
    pub(super) at: &'b Level<'b>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Parts<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    #[inline]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let at = &self.at.down()?;
        self.inner.visit_some(Fence::<D, V::Value>::new(inner, at))
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Fence::<D, V::Value>::new(inner, self.at))
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(PartAccess::<A, V::Value>::new(inner, self.at))
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(PartAccess::<A, V::Value>::new(inner, self.at))
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(PartAccess::<A, V::Value>::new(inner, self.at))
    }
}

/// The visitor of a value that allocates as many elements as the message says.
struct Elements<'b, V> {
    inner: V,
    at: &'b Level<'b>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Elements<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let count = inner.size_hint();
        self.inner.visit_seq(ElementAccess::claim(inner, self.at, count)?)
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let count = inner.size_hint();
        self.inner.visit_map(ElementAccess::claim(inner, self.at, count)?)
    }
}
