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
//! Instructions to decode and drop a value (callgrind, x86-64, LTO), bincode alone, which also
//! looks for trailing bytes, and fenced:
//!
//! | | bare | fenced | |
//! |---|---|---|---|
//! | `(u64, u64)` | 27 | 26 | -4 % |
//! | `(u64, String)`: no buffer is zeroed | 457 | 377 | -18 % |
//! | nested struct of 528 bytes | 6,325 | 6,365 | +1 % |
//! | `Vec<u64>` of 1,000 | 12,359 | 12,408 | +0 % |
//! | `Vec<(u64, Enum)>` of 100 | 11,375 | 11,922 | +5 % |
//! | `Vec<Vec<Option<u64>>>`, 100 of 3, the worst found | 45,341 | 55,098 | +22 % |
//!
//! Encoding costs nothing for the flat ones and 6 % for the nested struct.

mod access;
mod budget;
mod decode;
mod encode;

pub(super) use self::budget::Budget;
pub(super) use self::encode::Depth;
