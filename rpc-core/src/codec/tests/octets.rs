//! Byte strings: one piece, the same bytes, no copy too many.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer, Error, Visitor};

use super::*;

const DATA: &[u8] = b"some octets";

#[test]
fn octets_are_written_like_elements() {
    let elements = encode(&DATA.to_vec()).unwrap();
    assert_eq!(encode(&Octets(DATA)).unwrap(), elements);
    assert_eq!(encode(&Octets(DATA.to_vec())).unwrap(), elements);
    assert_eq!(encode(&Bytes::from_static(DATA)).unwrap(), elements);

    let some = encode(&Some(DATA.to_vec())).unwrap();
    assert_eq!(encode(&Octets(Some(DATA))).unwrap(), some);
    assert_eq!(encode(&Octets(Some(DATA.to_vec()))).unwrap(), some);
    assert_eq!(encode(&Octets(None::<&[u8]>)).unwrap(), [0]);
    assert_eq!(encode(&Octets(None::<Vec<u8>>)).unwrap(), [0]);
}

#[test]
fn octets_read_what_elements_wrote_and_the_reverse() {
    let bytes = encode(&(DATA.to_vec(), Some(DATA.to_vec()), None::<Vec<u8>>, 7u8)).unwrap();
    type Owned = (Octets<Vec<u8>>, Octets<Option<Vec<u8>>>, Octets<Option<Vec<u8>>>, u8);
    let (Octets(a), Octets(b), Octets(c), d) = decode::<Owned>(&bytes).unwrap();
    assert_eq!((&*a, b.as_deref(), c, d), (DATA, Some(DATA), None, 7));

    type Borrowed<'a> = (Octets<&'a [u8]>, Octets<Option<&'a [u8]>>, Octets<Option<&'a [u8]>>, u8);
    let borrowed: Borrowed<'_> = decode(&bytes).unwrap();
    assert_eq!(borrowed, (Octets(DATA), Octets(Some(DATA)), Octets(None), 7));

    let (vec,): (Vec<u8>,) = decode(&encode(&(Octets(DATA),)).unwrap()).unwrap();
    assert_eq!(vec, DATA);
}

#[test]
fn borrowed_arguments_point_into_the_message() {
    let message = encode(&(7u32, "name", DATA, Octets(DATA), Octets(Some(DATA)), true)).unwrap();
    type Args<'a> = (u32, &'a str, &'a [u8], Octets<&'a [u8]>, Octets<Option<&'a [u8]>>, bool);
    let (id, name, slice, Octets(octets), Octets(some), last): Args<'_> = decode(&message).unwrap();
    let some = some.unwrap();
    assert_eq!((id, name, slice, octets, some, last), (7, "name", DATA, DATA, DATA, true));
    let inside = message.as_ptr_range();
    for start in [name.as_ptr(), slice.as_ptr(), octets.as_ptr(), some.as_ptr()] {
        assert!(inside.contains(&start));
    }
}

/// Whoever asks for owned bytes or text gets a slice of the message, to be copied once, by itself.
#[test]
fn owned_values_are_copied_once() {
    #[derive(Debug)]
    struct Seen(*const u8);
    struct See;
    impl<'de> Visitor<'de> for See {
        type Value = Seen;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a slice of the message")
        }
        fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Seen, E> {
            Ok(Seen(bytes.as_ptr()))
        }
        fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Seen, E> {
            Ok(Seen(text.as_ptr()))
        }
    }
    struct Buffer(Seen);
    impl<'de> Deserialize<'de> for Buffer {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_byte_buf(See).map(Self)
        }
    }
    struct Text(Seen);
    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_string(See).map(Self)
        }
    }
    let message = encode(&(Octets(DATA), "text")).unwrap();
    let (Buffer(buffer), Text(text)) = decode(&message).unwrap();
    assert_eq!(buffer.0, message[8..].as_ptr());
    assert_eq!(text.0, message[8 + DATA.len() + 8..].as_ptr());

    let (bytes, string): (Bytes, String) = decode(&message).unwrap();
    assert_eq!((&*bytes, &*string), (DATA, "text"));
}

#[test]
fn octets_claims_are_checked() {
    for length in [12, 1 << 36, 1 << 47, u64::MAX] {
        let bytes = claim(length, DATA);
        assert_eq!(decode::<Octets<Vec<u8>>>(&bytes), Err(DecodeError::UnexpectedEnd));
        assert_eq!(decode::<Octets<&[u8]>>(&bytes), Err(DecodeError::UnexpectedEnd));
        assert_eq!(decode::<Bytes>(&bytes), Err(DecodeError::UnexpectedEnd));
        assert_eq!(decode::<String>(&bytes), Err(DecodeError::UnexpectedEnd));
        assert_eq!(decode::<&str>(&bytes), Err(DecodeError::UnexpectedEnd));
        assert_eq!(decode::<std::ffi::CString>(&bytes), Err(DecodeError::UnexpectedEnd));
        assert_eq!(decode::<std::path::PathBuf>(&bytes), Err(DecodeError::UnexpectedEnd));
    }
}
