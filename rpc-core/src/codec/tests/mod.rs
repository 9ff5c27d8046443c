//! Tests of the codec, by what they watch: the layout in `layout.rs`, the limits in `limits.rs`,
//! byte strings in `octets.rs`. Here only what they share.

use serde::{Deserialize, Serialize};

use super::{Bincode, Codec, DecodeError, EncodeError, Octets, printable};

mod layout;
mod limits;
mod octets;

fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    Bincode::encode(value, &mut out).map(|()| out)
}

fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    Bincode::decode(bytes)
}

/// A sequence or string that claims so many elements, and then says `rest`.
fn claim(count: u64, rest: &[u8]) -> Vec<u8> {
    [&count.to_le_bytes(), rest].concat()
}

#[test]
fn encode_appends() {
    let mut out = b"header".to_vec();
    Bincode::encode(&7u16, &mut out).unwrap();
    assert_eq!(out, b"header\x07\0");
}

#[test]
fn failed_encode_leaves_nothing() {
    struct Fails;
    impl Serialize for Fails {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let mut out = b"header".to_vec();
    let error = Bincode::encode(&(1u64, "text", Fails), &mut out).unwrap_err();
    assert_eq!(error, EncodeError::Custom("no".into()));
    assert_eq!(out, b"header");
}

#[test]
fn foreign_text_is_bounded_and_harmless() {
    assert_eq!(printable("it's \"fine\""), "it's \"fine\"");
    assert_eq!(printable("\x1b[2J\n\0\u{202e}\\"), r"\u{1b}[2J\n\0\u{202e}\\");
    assert_eq!(printable(&"é".repeat(1000)), "é".repeat(128) + "…");
    assert!(printable(&"\u{1}".repeat(1000)).len() < 270);
}

#[test]
fn custom_errors_keep_their_text() {
    #[derive(Debug)]
    struct Checked;
    impl<'de> Deserialize<'de> for Checked {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let text = <&str>::deserialize(from)?;
            Err(serde::de::Error::custom(format!("{text} is taken")))
        }
    }
    let bytes = encode("\x1b[31mAda").unwrap();
    let error = decode::<Checked>(&bytes).unwrap_err();
    assert_eq!(error, DecodeError::Custom("\\u{1b}[31mAda is taken".into()));
}

#[test]
fn errors_speak_lower_case_and_name_the_limit() {
    let errors = [
        DecodeError::TooLong { length: 5, limit: 4 }.to_string(),
        DecodeError::TooDeep { limit: 64 }.to_string(),
        DecodeError::TooManyElements { claimed: 9, limit: 4 }.to_string(),
        DecodeError::TooLarge { limit: 4 }.to_string(),
        EncodeError::TooDeep { limit: 64 }.to_string(),
    ];
    for text in errors {
        assert!(text.starts_with(char::is_lowercase) && !text.ends_with('.'), "{text}");
        assert!(text.contains('4'), "{text}");
    }
}
