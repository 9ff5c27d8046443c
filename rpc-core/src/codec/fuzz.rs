//! Fuzz target: any bytes are a value or an error, another implementation says the same, and the fence
//! keeps what a message may cost.

use std::{collections::BTreeMap, fmt::Debug, mem, net::IpAddr, num::NonZeroU16, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Bincode, Codec, DecodeError, ELEMENTS_SPARE, Octets, whole};
use crate::body::Body;

/// Another implementation of the same layout, without our limits.
pub trait SecondOpinion {
    /// The value that `bytes` are, to the last one.
    fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T>;

    /// The bytes of a value.
    fn encode<T: Serialize>(value: &T) -> Vec<u8>;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    Circle(f32),
    Rect(u16, u16),
    Named { name: String, at: (i32, i64) },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    numbers: (u8, u16, u32, u64, u128),
    flag: bool,
    char: char,
    text: String,
    bytes: Vec<u8>,
    option: Option<Option<bool>>,
    shapes: Vec<Shape>,
    duration: Duration,
    address: IpAddr,
    result: Result<i8, String>,
    unit: (),
    array: [u16; 3],
}

#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Self>),
    Fork(Vec<Self>),
    Maybe { left: Option<Box<Self>>, right: Option<Box<Self>> },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Skips {
    #[serde(skip)]
    _pad: [u64; 16],
    one: u8,
}

/// The first byte chooses a type, the others are the message.
///
/// # Panics
/// If something is wrong.
pub fn codec<S: SecondOpinion>(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    match choice % 16 {
        0 => _ = same::<Everything, S>(bytes),
        1 => exact::<Vec<Shape>, S>(bytes),
        2 => exact::<Tree, S>(bytes),
        3 => exact::<Vec<Vec<String>>, S>(bytes),
        4 => exact::<Vec<()>, S>(bytes),
        5 => exact::<Vec<Skips>, S>(bytes),
        6 => exact::<Vec<Option<[u64; 8]>>, S>(bytes),
        7 => _ = same::<BTreeMap<u8, Vec<u16>>, S>(bytes),
        8 => _ = same::<BTreeMap<(), Vec<()>>, S>(bytes),
        9 => exact::<(u8, &str, Option<char>, &[u8]), S>(bytes),
        10 => exact::<(Octets<&[u8]>, Octets<Option<Vec<u8>>>), S>(bytes),
        11 => exact::<(bool, Result<i128, char>, NonZeroU16), S>(bytes),
        12 => exact::<Vec<u64>, S>(bytes),
        13 => shared::<(u8, Vec<u16>), Bytes>(bytes),
        14 => shared::<(), Bytes>(bytes),
        _ => shared::<(Option<u8>,), Vec<Shape>>(bytes),
    }
}

/// For types of whose values each has one encoding. Maps may repeat keys, and serde carries the
/// nanoseconds of a `Duration` over.
fn exact<'de, T, S>(bytes: &'de [u8])
where
    T: Deserialize<'de> + Serialize + Debug,
    S: SecondOpinion,
{
    if let Some(encoded) = same::<T, S>(bytes) {
        assert_eq!(encoded, bytes, "a value that has two encodings");
    }
}

/// Both say the same of these bytes. Returns how the value is encoded, if there is one.
fn same<'de, T, S>(bytes: &'de [u8]) -> Option<Vec<u8>>
where
    T: Deserialize<'de> + Serialize + Debug,
    S: SecondOpinion,
{
    let ours = Bincode::decode::<T>(bytes);
    if is_of_the_fence(bytes, ours.as_ref().err()) {
        return None;
    }
    match (ours, S::decode::<T>(bytes)) {
        (Ok(ours), Some(theirs)) => {
            let mut out = Vec::new();
            Bincode::encode(&ours, &mut out).expect("what was read can be written");
            // By their bytes, as a NaN doesn't equal itself.
            assert_eq!(out, S::encode(&theirs), "{ours:?} and {theirs:?}");
            Some(out)
        }
        (Err(_), None) => None,
        (ours, theirs) => panic!("ours: {ours:?}, theirs: {theirs:?}"),
    }
}

/// Whether a message was refused for what it costs, of which the other one knows nothing.
fn is_of_the_fence(bytes: &[u8], error: Option<&DecodeError>) -> bool {
    match error {
        Some(DecodeError::TooManyElements { claimed, limit }) => {
            assert_eq!(*limit, bytes.len() + ELEMENTS_SPARE);
            assert!(*claimed > 0);
            true
        }
        // No message of a fuzzer's is deep or large by its honest contents: it has to say so.
        Some(DecodeError::TooDeep { .. } | DecodeError::TooLarge { .. }) => {
            assert!(bytes.len() >= 64, "{error:?} of {} bytes", bytes.len());
            true
        }
        _ => false,
    }
}

/// A message in shared bytes, of which large parts aren't copied, is the same as one in a buffer.
fn shared<A, T>(bytes: &[u8])
where
    A: DeserializeOwned + Debug,
    T: DeserializeOwned + Serialize + Debug + 'static,
{
    let copied = Body::Buffer(bytes.to_vec());
    let kept = Body::Shared(Bytes::copy_from_slice(bytes));
    let (copied, kept) = (whole::decode_both::<A, T>(&copied), whole::decode_both::<A, T>(&kept));
    match (copied, kept) {
        (Ok(copied), Ok(kept)) => assert_eq!(format!("{copied:?}"), format!("{kept:?}")),
        (Err(copied), Err(kept)) => {
            assert_eq!(mem::discriminant(&copied), mem::discriminant(&kept), "{copied} and {kept}");
        }
        (copied, kept) => panic!("copied: {copied:?}, kept: {kept:?}"),
    }
    let alone = |body| whole::decode::<T>(body).map_err(|error| error.to_string());
    let copied = alone(Body::Buffer(bytes.to_vec()));
    let kept = alone(Body::Shared(Bytes::copy_from_slice(bytes)));
    assert_eq!(format!("{copied:?}"), format!("{kept:?}"));
}
