//! The reading side of the fence: a `Deserializer`, and what serde needs around one, that pays from a
//! [`Budget`] before it lets a level through. Reads no byte itself.
//!
//! Every wrapper knows the **place** that its value goes to: a type whose memory is paid for already, being
//! an element of a sequence, a field of a struct or the root. A value larger than its place must be boxed.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::budget::{Budget, Level};
use crate::codec::DecodeError;

impl Budget {
    /// Reads a `T` on this budget.
    #[inline]
    pub(in crate::codec) fn seed<'de, T: Deserialize<'de>>(
        &self,
    ) -> impl DeserializeSeed<'de, Value = T> {
        Seed { inner: PhantomData::<T>, at: self.top() }
    }
}

/// A seed whose place is paid for.
struct Seed<'b, S> {
    inner: S,
    at: Level<'b>,
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
    at: Level<'b>,
    place: PhantomData<Place>,
}

impl<'b, D, Place> Fence<'b, D, Place> {
    #[inline]
    fn new(inner: D, at: Level<'b>) -> Self {
        Self { inner, at, place: PhantomData }
    }
}

/// Pays for a `V` that can't be lying in its `Place`. Which it is was known to the compiler.
#[inline]
fn house<V, Place, E: Error>(at: Level<'_>) -> Result<(), E> {
    match size_of::<V>() > size_of::<Place>() {
        true => at.budget.spend(size_of::<V>()),
        false => Ok(()),
    }
}

/// Leaves hold nothing that could cost anything: the visitor goes to the codec as it is.
macro_rules! leaves {
    ($($method:ident => $to:ident,)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$to(visitor)
        }
    )*};
}

/// Everything that holds other values, with the wrapper that its visitor gets.
macro_rules! nodes {
    ($($method:ident($($arg:ident: $ty:ty),*) $down:tt $wrapper:ident,)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($arg: $ty,)* inner: V) -> Result<V::Value, D::Error> {
            house::<V::Value, Place, _>(self.at)?;
            let at = nodes!($down self.at);
            self.inner.$method($($arg,)* $wrapper { inner, at })
        }
    )*};
    (down $at:expr) => { $at.down()? };
    (same $at:expr) => { $at };
}

impl<'de, D: Deserializer<'de>, Place> Deserializer<'de> for Fence<'_, D, Place> {
    type Error = D::Error;

    leaves! {
        deserialize_bool => deserialize_bool,
        deserialize_i8 => deserialize_i8,
        deserialize_i16 => deserialize_i16,
        deserialize_i32 => deserialize_i32,
        deserialize_i64 => deserialize_i64,
        deserialize_i128 => deserialize_i128,
        deserialize_u8 => deserialize_u8,
        deserialize_u16 => deserialize_u16,
        deserialize_u32 => deserialize_u32,
        deserialize_u64 => deserialize_u64,
        deserialize_u128 => deserialize_u128,
        deserialize_f32 => deserialize_f32,
        deserialize_f64 => deserialize_f64,
        deserialize_char => deserialize_char,
        deserialize_str => deserialize_str,
        deserialize_bytes => deserialize_bytes,
        // Asked for an owned string, a codec may allocate what the length claims; asked for a slice of the
        // message it can't. serde has every visitor of the one accept the other.
        deserialize_string => deserialize_str,
        deserialize_byte_buf => deserialize_bytes,
        deserialize_unit => deserialize_unit,
        deserialize_identifier => deserialize_identifier,
    }

    // An option and an enum go a level down only where they hold something.
    nodes! {
        deserialize_option() same Parts,
        deserialize_newtype_struct(name: &'static str) same Parts,
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) same Parts,
        deserialize_tuple(len: usize) down Parts,
        deserialize_tuple_struct(name: &'static str, len: usize) down Parts,
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) down Parts,
        deserialize_seq() down Elements,
        deserialize_map() down Elements,
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
struct Parts<'b, V> {
    inner: V,
    at: Level<'b>,
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
        let at = self.at.down()?;
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

/// Hands out the parts of a `Whole`, which is paid for.
struct PartAccess<'b, A, Whole> {
    inner: A,
    at: Level<'b>,
    whole: PhantomData<Whole>,
}

impl<'b, A, Whole> PartAccess<'b, A, Whole> {
    #[inline]
    fn new(inner: A, at: Level<'b>) -> Self {
        Self { inner, at, whole: PhantomData }
    }

    #[inline]
    fn part<'de, S: DeserializeSeed<'de>, E: Error>(&self, inner: S) -> Result<Seed<'b, S>, E> {
        house::<S::Value, Whole, _>(self.at)?;
        Ok(Seed { inner, at: self.at })
    }
}

impl<'de, A: SeqAccess<'de>, Whole> SeqAccess<'de> for PartAccess<'_, A, Whole> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error>
    where
        S: DeserializeSeed<'de>,
    {
        let seed = self.part(seed)?;
        self.inner.next_element_seed(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>, Whole> MapAccess<'de> for PartAccess<'_, A, Whole> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error>
    where
        S: DeserializeSeed<'de>,
    {
        let seed = self.part(seed)?;
        self.inner.next_key_seed(seed)
    }

    #[inline]
    fn next_value_seed<S>(&mut self, seed: S) -> Result<S::Value, A::Error>
    where
        S: DeserializeSeed<'de>,
    {
        let seed = self.part(seed)?;
        self.inner.next_value_seed(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 'b, A: EnumAccess<'de>, Whole> EnumAccess<'de> for PartAccess<'b, A, Whole> {
    type Error = A::Error;
    type Variant = PartAccess<'b, A::Variant, Whole>;

    #[inline]
    fn variant_seed<S>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error>
    where
        S: DeserializeSeed<'de>,
    {
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, PartAccess::new(variant, self.at)))
    }
}

impl<'de, A: VariantAccess<'de>, Whole> VariantAccess<'de> for PartAccess<'_, A, Whole> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S>(mut self, seed: S) -> Result<S::Value, A::Error>
    where
        S: DeserializeSeed<'de>,
    {
        self.at = self.at.down()?;
        let seed = self.part(seed)?;
        self.inner.newtype_variant_seed(seed)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, inner: V) -> Result<V::Value, A::Error> {
        let at = self.at.down()?;
        self.inner.tuple_variant(len, Parts { inner, at })
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        inner: V,
    ) -> Result<V::Value, A::Error> {
        let at = self.at.down()?;
        self.inner.struct_variant(fields, Parts { inner, at })
    }
}

/// The visitor of a value that allocates as many elements as the message says.
struct Elements<'b, V> {
    inner: V,
    at: Level<'b>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Elements<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.at.budget.claim(inner.size_hint().unwrap_or(0))?;
        self.inner.visit_seq(ElementAccess { inner, at: self.at, housed: 0 })
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.at.budget.claim(inner.size_hint().unwrap_or(0))?;
        self.inner.visit_map(ElementAccess { inner, at: self.at, housed: 0 })
    }
}

const HOUSED: usize = 8;

/// Hands out elements, each of them paid for.
struct ElementAccess<'b, A> {
    inner: A,
    at: Level<'b>,
    /// How large an element all those to come are paid for already.
    housed: usize,
}

impl<A> ElementAccess<'_, A> {
    /// Pays for elements of `size` bytes, all those that the codec has announced or this one.
    #[inline]
    fn house<E: Error>(&mut self, size: usize, announced: Option<usize>) -> Result<(), E> {
        let budget = self.at.budget;
        let Some(left) = announced else {
            budget.claim(1)?;
            return budget.spend(size);
        };
        if size > HOUSED && size > self.housed {
            budget.spend(left.saturating_mul(size - self.housed))?;
            self.housed = size;
        }
        Ok(())
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for ElementAccess<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S>(&mut self, inner: S) -> Result<Option<S::Value>, A::Error>
    where
        S: DeserializeSeed<'de>,
    {
        self.house(size_of::<S::Value>(), self.inner.size_hint())?;
        self.inner.next_element_seed(Seed { inner, at: self.at })
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for ElementAccess<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S>(&mut self, inner: S) -> Result<Option<S::Value>, A::Error>
    where
        S: DeserializeSeed<'de>,
    {
        self.house(size_of::<S::Value>(), self.inner.size_hint())?;
        self.inner.next_key_seed(Seed { inner, at: self.at })
    }

    /// Values are paid for one by one: keys and values of different sizes would undo each other's
    /// prepayment, and an entry costs far more than this.
    #[inline]
    fn next_value_seed<S>(&mut self, inner: S) -> Result<S::Value, A::Error>
    where
        S: DeserializeSeed<'de>,
    {
        self.at.budget.spend(size_of::<S::Value>())?;
        self.inner.next_value_seed(Seed { inner, at: self.at })
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}
