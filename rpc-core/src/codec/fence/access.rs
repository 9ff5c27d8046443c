//! What the fence lets a visitor draw parts and elements from, paying for each that the message can
//! multiply. Visitors themselves are in `decode.rs`.

use std::marker::PhantomData;

use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::budget::{FREE_BYTES, Level};
use super::decode::{Parts, Seed, house};

/// Hands out the parts of a `Whole`, which is paid for.
pub(super) struct PartAccess<'b, A, Whole> {
    inner: A,
    at: &'b Level<'b>,
    whole: PhantomData<Whole>,
}

impl<'b, A, Whole> PartAccess<'b, A, Whole> {
    #[inline]
    pub(super) fn new(inner: A, at: &'b Level<'b>) -> Self {
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
    fn newtype_variant_seed<S>(self, seed: S) -> Result<S::Value, A::Error>
    where
        S: DeserializeSeed<'de>,
    {
        let at = &self.at.down()?;
        house::<S::Value, Whole, _>(at)?;
        self.inner.newtype_variant_seed(Seed { inner: seed, at })
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, inner: V) -> Result<V::Value, A::Error> {
        let at = &self.at.down()?;
        self.inner.tuple_variant(len, Parts { inner, at })
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        inner: V,
    ) -> Result<V::Value, A::Error> {
        let at = &self.at.down()?;
        self.inner.struct_variant(fields, Parts { inner, at })
    }
}

/// Hands out elements, each of them paid for.
pub(super) struct ElementAccess<'b, A> {
    inner: A,
    at: &'b Level<'b>,
    /// How large an element those to come are paid for. Not all need be of one type.
    paid: usize,
}

impl<'b, A> ElementAccess<'b, A> {
    /// Takes the claim to hold `count` elements.
    #[inline]
    pub(super) fn claim<E: Error>(
        inner: A,
        at: &'b Level<'b>,
        count: Option<usize>,
    ) -> Result<Self, E> {
        at.budget.claim(count.unwrap_or(0))?;
        Ok(Self { inner, at, paid: 0 })
    }

    /// Pays for an element of `size` bytes and, where the codec knows how many are `left`, for all
    /// of them.
    #[inline]
    fn house<E: Error>(&mut self, size: usize, left: Option<usize>) -> Result<(), E> {
        let budget = self.at.budget;
        let Some(left) = left else {
            budget.claim(1)?;
            return budget.spend(size);
        };
        if size > FREE_BYTES && size > self.paid {
            let more = size.saturating_sub(self.paid);
            self.paid = size;
            return budget.spend_many(left, more);
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

    /// Values are paid for one by one: an entry costs far more than that, and keys are prepaid.
    #[inline]
    fn next_value_seed<S>(&mut self, inner: S) -> Result<S::Value, A::Error>
    where
        S: DeserializeSeed<'de>,
    {
        if size_of::<S::Value>() > FREE_BYTES {
            self.at.budget.spend(size_of::<S::Value>())?;
        }
        self.inner.next_value_seed(Seed { inner, at: self.at })
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}
