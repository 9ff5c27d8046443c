//! Values to message bodies and back: what a codec promises, what it refuses, and how it says so.
//! Not framing and not message sizes; those are settled before a codec sees a byte.
//!
//! ```text
//! codec    the trait, its errors, its limits     (this file)
//! bincode  the one codec we have                 layout: bincode 1, fixed width, little endian
//! fence    bounds what a message may cost        knows serde only, no codec
//! octets   byte strings in one copy              same bytes on the wire as `Vec<u8>`
//! whole    large bytes at the end in no copy     same bytes on the wire as any other
//! ```

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

use serde::{Deserialize, Serialize};

mod bincode;
mod fence;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod octets;
pub(crate) mod whole;

pub(crate) use self::bincode::Bincode;
pub use self::octets::Octets;

/// Turns values into message bodies and back.
///
/// What both directions hold to, whatever the layout:
///
/// - **Depth.** At most 64 levels of structs, tuples, sequences, maps, options that are `Some` and
///   enum variants that carry something; newtypes add none. Encoding refuses what decoding would.
/// - **Elements.** All sequences and maps of a message together claim at most one element per byte
///   of the message and 1,024 more: an element that takes no bytes is paid for from the spare ones.
///   A larger claim is refused before anything is allocated for it.
/// - **Memory.** A value takes at most 64 MiB and twelve times its message, besides its strings,
///   which are never longer than the message, and what an allocator and a map add.
///
/// The limits on elements and memory bind the decoder alone, so that a sender can be refused by the
/// peer if it sends, say, 5,000 units in a `Vec<()>`.
pub(crate) trait Codec {
    /// Names the layout in the hello, so that peers who differ part with a clean error.
    const ID: u16;

    /// Appends the body of `value` to `out`.
    ///
    /// On an error `out` is as long as it was before. `T::serialize` is the user's code: if it
    /// panics, the bytes written so far stay in `out`, and whoever catches the panic truncates it.
    ///
    /// # Errors
    ///
    /// If the value is nested too deep, has no fixed layout, or its `Serialize` fails.
    fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Reads the one value that `bytes`, a whole body, holds. `&str` and `&[u8]` borrow from it.
    ///
    /// # Errors
    ///
    /// If `bytes` isn't exactly one `T`, or the value would exceed a limit.
    fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError>;

    /// Reads the value that `bytes`, a whole body, begins with, and how many bytes it takes.
    ///
    /// # Errors
    ///
    /// If `bytes` doesn't begin with a `T`, or the value would exceed a limit.
    fn decode_front<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<(T, usize), DecodeError>;
}

/// How deep a value may be nested.
///
/// Both directions recurse once per level. Reading, the hungriest of small types take 2.8 KiB of
/// stack a level in a debug build and a tenth of it in a release build: 64 levels fit a stack of
/// 256 KiB, and leave room on the 2 MiB of a worker thread for types whose fields are large.
pub(crate) const DEPTH_MAX: u32 = 64;

/// How many elements that take no bytes a message may hold, all its sequences and maps together.
pub(crate) const ELEMENTS_SPARE: usize = 1024;

/// How much memory a value may take beyond four times the bytes of its message, elements of up to 8
/// bytes, of which there can't be many, not counted.
///
/// A flat sum, as honest values outgrow their messages by any factor: a `None` is one byte in the
/// message, and in memory as large as what it doesn't hold. It bounds one message; how many are
/// decoded at once is bounded elsewhere.
pub(crate) const DECODED_BYTES_MAX: usize = 64 << 20;

/// How long a message body may be.
///
/// As much as the hello can say of a message; what a connection accepts is `Limits::message_bytes`.
pub(crate) const BODY_BYTES_MAX: usize = u32::MAX as usize;

/// Why a value can't be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Nested deeper than 64 levels; the peer would refuse it.
    #[error("the value is nested deeper than {limit} levels")]
    TooDeep {
        /// The limit, in levels.
        limit: u32,
    },
    /// A struct left a field out (`skip_serializing_if`); the layout goes by position, so every
    /// later field would be read as the one before it.
    #[error("the field `{field}` was skipped, and fields are told apart by position alone")]
    SkippedField {
        /// The name of the field.
        field: &'static str,
    },
    /// A sequence or map that doesn't know its length beforehand, such as a struct with `flatten`.
    #[error("a sequence or map doesn't know its length beforehand")]
    UnknownLength,
    /// What the type's `Serialize` said, cut to some 256 bytes, control characters escaped.
    #[error("{0}")]
    Custom(String),
}

/// Why a message isn't a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Longer than 4 GiB − 1.
    #[error("the message has {length} bytes, the limit is {limit}")]
    TooLong {
        /// The length of the message, in bytes.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The message ends before the value does, or something in it claims to be longer than the
    /// message.
    #[error("the message ends before its value does")]
    UnexpectedEnd,
    /// Bytes follow the value.
    #[error("{extra} bytes follow the value")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// Nested deeper than 64 levels.
    #[error("the value is nested deeper than {limit} levels")]
    TooDeep {
        /// The limit, in levels.
        limit: u32,
    },
    /// A sequence or map claims more elements than the message can hold.
    #[error("a sequence claims {claimed} elements, the limit for this whole message is {limit}")]
    TooManyElements {
        /// What the sequence claims to hold.
        claimed: usize,
        /// The limit for all sequences of the message together.
        limit: usize,
    },
    /// The value would take more memory than a message of this length may.
    #[error("the value takes more than {limit} bytes of memory, the limit for this message")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A string isn't UTF-8.
    #[error("a string isn't UTF-8")]
    InvalidUtf8,
    /// A `bool` or the tag of an option is neither 0 nor 1.
    #[error("{found} is neither 0 nor 1")]
    InvalidTag {
        /// What was found.
        found: u32,
    },
    /// A `char` isn't one Unicode scalar value in UTF-8.
    #[error("a char isn't a Unicode scalar value")]
    InvalidChar,
    /// The type asks what comes next (`untagged`, internally tagged or flattened types, ignored
    /// values), and the layout doesn't say.
    #[error("the type can't be read from a layout that doesn't describe itself")]
    SelfDescribing,
    /// What the type's `Deserialize` said, cut to some 256 bytes, control characters escaped: an
    /// unknown variant, a zero in a `NonZero`, a check of the user's own.
    #[error("{0}")]
    Custom(String),
}

/// Keeps foreign text fit for a log line: some 256 bytes, and nothing in it that a terminal obeys.
fn printable(text: &str) -> String {
    const BYTES_MAX: usize = 256;
    let mut out = String::new();
    for char in text.chars() {
        if out.len() >= BYTES_MAX {
            out.push('…');
            break;
        }
        match char {
            // `escape_debug` would escape these as well, and serde's messages are full of them
            '"' | '\'' => out.push(char),
            _ => out.extend(char.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests;
