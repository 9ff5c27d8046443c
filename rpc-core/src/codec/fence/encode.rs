//! The writing side of the fence: a `Serializer` that counts levels, so that nothing is sent which
//! the other side's fence refuses for its depth, and that a deep value can't exhaust our own stack.
//! Writes no byte itself.

use std::cell::Cell;

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::codec::{DEPTH_MAX, EncodeError};

/// How deep a value may still go, and whether it tried to go further.
#[derive(Default)]
pub(in crate::codec) struct Depth {
    refusal: Cell<Option<EncodeError>>,
}

impl Depth {
    #[inline]
    pub(in crate::codec) fn top(&self) -> Level<'_> {
        Level { left: DEPTH_MAX, refusal: &self.refusal }
    }

    /// Why the value was refused, if it was.
    #[inline]
    pub(in crate::codec) fn into_refusal(self) -> Option<EncodeError> {
        self.refusal.into_inner()
    }
}

/// How deep we are, as the levels that are left.
pub(in crate::codec) struct Level<'b> {
    left: u32,
    refusal: &'b Cell<Option<EncodeError>>,
}

impl<'b> Level<'b> {
    /// `value`, to be serialized within the limit.
    #[inline]
    pub(in crate::codec) fn bound<T>(&'b self, value: &'b T) -> impl Serialize + use<'b, T>
    where
        T: Serialize + ?Sized,
    {
        Bound { value, at: self }
    }

    #[inline]
    fn down<E: Error>(&self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Level { left, refusal: self.refusal }),
            None => Err(self.refuse(EncodeError::TooDeep { limit: DEPTH_MAX })),
        }
    }

    #[cold]
    #[inline(never)]
    fn refuse<E: Error>(&self, reason: EncodeError) -> E {
        self.refusal.set(Some(reason));
        E::custom("refused by the fence")
    }
}

/// A value at its level.
struct Bound<'b, T: ?Sized> {
    value: &'b T,
    at: &'b Level<'b>,
}

impl<T: Serialize + ?Sized> Serialize for Bound<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, inner: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Fence { inner, at: self.at })
    }
}

/// The serializer of a value at its level.
struct Fence<'b, S> {
    inner: S,
    at: &'b Level<'b>,
}

macro_rules! leaves {
    ($($method:ident($ty:ty),)*) => {$(
        #[inline]
        fn $method(self, value: $ty) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        }
    )*};
}

/// Everything that is followed by its parts.
macro_rules! nodes {
    ($($method:ident($($arg:ident: $ty:ty),*) -> $parts:ident,)*) => {$(
        #[inline]
        fn $method(self, $($arg: $ty),*) -> Result<Self::$parts, S::Error> {
            let at = self.at.down()?;
            Ok(Parts { inner: self.inner.$method($($arg),*)?, at })
        }
    )*};
}

impl<'b, S: Serializer> Serializer for Fence<'b, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Parts<'b, S::SerializeSeq>;
    type SerializeTuple = Parts<'b, S::SerializeTuple>;
    type SerializeTupleStruct = Parts<'b, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<'b, S::SerializeTupleVariant>;
    type SerializeMap = Parts<'b, S::SerializeMap>;
    type SerializeStruct = Parts<'b, S::SerializeStruct>;
    type SerializeStructVariant = Parts<'b, S::SerializeStructVariant>;

    leaves! {
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str),
    }

    nodes! {
        serialize_seq(len: Option<usize>) -> SerializeSeq,
        serialize_map(len: Option<usize>) -> SerializeMap,
        serialize_tuple(len: usize) -> SerializeTuple,
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct,
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct,
        serialize_tuple_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> SerializeTupleVariant,
        serialize_struct_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> SerializeStructVariant,
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let at = &self.at.down()?;
        self.inner.serialize_some(&Bound { value, at })
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_struct(name, &Bound { value, at: self.at })
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let at = &self.at.down()?;
        self.inner.serialize_newtype_variant(name, index, variant, &Bound { value, at })
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// What writes the parts of a value, at the level of the parts.
struct Parts<'b, S> {
    inner: S,
    at: Level<'b>,
}

/// Parts that go by position.
macro_rules! parts {
    ($($access:ident($($method:ident),*);)*) => {$(
        impl<S: $access> $access for Parts<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            $(#[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.inner.$method(&Bound { value, at: &self.at })
            })*

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        }
    )*};
}

parts! {
    SerializeSeq(serialize_element);
    SerializeTuple(serialize_element);
    SerializeTupleStruct(serialize_field);
    SerializeTupleVariant(serialize_field);
    SerializeMap(serialize_key, serialize_value);
}

/// Parts that have a name, and may be left out for a reader that knows them by it.
macro_rules! fields {
    ($($access:ident)*) => {$(
        impl<S: $access> $access for Parts<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                field: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                self.inner.serialize_field(field, &Bound { value, at: &self.at })
            }

            fn skip_field(&mut self, field: &'static str) -> Result<(), S::Error> {
                Err(self.at.refuse(EncodeError::SkippedField { field }))
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        }
    )*};
}

fields!(SerializeStruct SerializeStructVariant);
