//! The fence: bounds what a message may cost, whatever codec reads it and whatever type it becomes.
//! Not a codec, and not a check of what the bytes mean.
//!
//! serde's formats trust the message with the depth of the recursion, the number of elements and
//! the size of the result; none of bincode 1, bincode 2 and postcard bounds them. So [`decode`]
//! stands between a type and the codec's deserializer, [`encode`] between a value and the
//! serializer, and both see every level of a value pass by.
//!
//! What is counted, and when, is chosen so that a flat message pays nothing and a nested one next
//! to nothing:
//!
//! - *Depth* is a number that every level has of its own, and a constant where the type isn't
//!   recursive and the compiler inlines.
//! - *Elements* are claimed once per sequence, by the length that the codec announces, which has to
//!   be exact; not one by one.
//! - *Memory* is charged where it is allocated: for the elements of a sequence at once, and where a
//!   value is larger than the place it was announced for, which is then a box. A field lies inside
//!   a struct that is paid for already. All those sizes are constants, and so are most decisions.
//! - *Strings* cost nothing: they are asked of the codec as slices of the message, copied by the
//!   type itself, and together never longer than the message.
//!
//! Against bincode alone, in instructions (callgrind, x86-64): COST

mod access;
mod budget;
mod decode;
mod encode;

pub(super) use self::budget::Budget;
pub(super) use self::encode::Depth;
