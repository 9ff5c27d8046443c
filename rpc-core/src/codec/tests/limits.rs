//! Hostile messages and unfit types: each is refused with the limit's name, before it costs
//! anything.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU8;
use std::thread;
use std::time::Duration;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::ser::SerializeTuple;

use super::*;
use crate::codec::{DECODED_BYTES_MAX, DEPTH_MAX, ELEMENTS_SPARE};

#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Self>),
}

#[derive(Debug, Serialize, Deserialize)]
struct List {
    next: Option<Box<Self>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Chain(Option<Box<Self>>);

#[derive(Debug, Serialize, Deserialize)]
struct Nest(Vec<Self>);

#[derive(Debug, Serialize, Deserialize)]
struct Nests {
    map: BTreeMap<(), Self>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Mixed {
    End,
    Struct { tree: (Box<Self>,) },
    Tuple(Box<Self>, ()),
}

#[derive(Debug, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Skip {
    #[serde(skip)]
    _pad: [u64; 16],
}

#[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "that is what makes it fat")]
enum Fat {
    Thin,
    Fat([u64; 32]),
}

fn tree(levels: u32) -> Tree {
    (0..levels).fold(Tree::Leaf, |tree, _| Tree::Node(Box::new(tree)))
}

/// Runs on a stack far smaller than any that serves calls.
fn on_a_small_stack<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> R {
    thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap()
}

#[track_caller]
fn too_deep<T: for<'de> Deserialize<'de> + fmt::Debug>(message: Vec<u8>) {
    let error = on_a_small_stack(move || decode::<T>(&message).map(|_| ()).unwrap_err());
    assert_eq!(error, DecodeError::TooDeep { limit: DEPTH_MAX });
}

// r[verify codec.limits]
#[test]
fn bottomless_messages_end_at_the_limit() {
    for levels in [100_000, 1_000_000] {
        too_deep::<Tree>([1, 0, 0, 0].repeat(levels));
        too_deep::<List>(vec![1; levels]);
        too_deep::<Chain>(vec![1; levels]);
        too_deep::<Nest>(1u64.to_le_bytes().repeat(levels));
        too_deep::<Nests>(1u64.to_le_bytes().repeat(levels));
        too_deep::<Mixed>([1, 0, 0, 0, 2, 0, 0, 0].repeat(levels));
    }
}

/// A recursion that serde's own types can't make, over nothing but tuples.
#[test]
fn handwritten_recursion_ends_at_the_limit() {
    #[derive(Debug)]
    struct More;
    impl<'de> Deserialize<'de> for More {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Go;
            impl<'de> Visitor<'de> for Go {
                type Value = More;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("more")
                }
                fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<More, A::Error> {
                    match seq.next_element()? {
                        Some(true) => seq.next_element::<More>().map(|_| More),
                        _ => Ok(More),
                    }
                }
            }
            from.deserialize_tuple(2, Go)
        }
    }
    too_deep::<More>(vec![1; 1_000_000]);
}

#[test]
fn bottomless_values_are_not_sent() {
    let error = on_a_small_stack(|| {
        let tree = tree(1_000_000);
        let error = encode(&tree).unwrap_err();
        std::mem::forget(tree); // dropping it is what overflows the stack
        error
    });
    assert_eq!(error, EncodeError::TooDeep { limit: DEPTH_MAX });
    let mut out = b"header".to_vec();
    Bincode::encode(&tree(DEPTH_MAX + 1), &mut out).unwrap_err();
    assert_eq!(out, b"header");
}

/// Whatever a level is made of, both sides count it alike, and the deepest value makes the journey.
#[test]
fn both_directions_draw_the_line_at_the_same_level() {
    #[track_caller]
    fn check<T>(wrap: impl Fn(T) -> T, levels_each: u32, mut value: T)
    where
        T: Serialize + for<'de> Deserialize<'de> + fmt::Debug + Send + 'static,
    {
        for _ in 0..DEPTH_MAX / levels_each - 1 {
            value = wrap(value);
        }
        let mut refused = 0;
        for _ in 0..3 {
            let unfenced = bincode1::serialize(&value).unwrap();
            let sent = encode(&value);
            let read = on_a_small_stack(move || decode::<T>(&unfenced).map(|_| ()));
            match (sent, read) {
                (Ok(_), Ok(())) => assert_eq!(refused, 0),
                (Err(EncodeError::TooDeep { .. }), Err(DecodeError::TooDeep { .. })) => {
                    refused += 1;
                }
                (sent, read) => panic!("sent: {sent:?}, read: {read:?}"),
            }
            value = wrap(value);
        }
        assert!((1..3).contains(&refused), "{refused}");
    }
    check(|inner| Tree::Node(Box::new(inner)), 1, Tree::Leaf);
    check(|inner| Chain(Some(Box::new(inner))), 1, Chain(None));
    check(|inner| List { next: Some(Box::new(inner)) }, 2, List { next: None });
    check(|inner| Nest(vec![inner]), 1, Nest(vec![]));
    check(|inner| Nests { map: [((), inner)].into() }, 2, Nests { map: [].into() });
    check(|inner| Mixed::Struct { tree: (Box::new(inner),) }, 2, Mixed::End);
    check(|inner| Mixed::Tuple(Box::new(inner), ()), 1, Mixed::End);
}

#[track_caller]
fn too_many<T: for<'de> Deserialize<'de>>(message: &[u8], claimed: u64) {
    let limit = message.len() + ELEMENTS_SPARE;
    let claimed = usize::try_from(claimed).unwrap();
    assert_eq!(
        decode::<T>(message).map(|_| ()),
        Err(DecodeError::TooManyElements { claimed, limit })
    );
}

#[test]
fn claims_beyond_the_message_are_refused() {
    for count in [2_000, 100_000_000, 1 << 36, 1 << 60, u64::MAX] {
        let message = claim(count, &[]);
        too_many::<Vec<u8>>(&message, count);
        too_many::<Vec<u64>>(&message, count);
        too_many::<Vec<String>>(&message, count);
        too_many::<Vec<()>>(&message, count);
        too_many::<Vec<Unit>>(&message, count);
        too_many::<Vec<[u64; 0]>>(&message, count);
        too_many::<Vec<PhantomData<u64>>>(&message, count);
        too_many::<Vec<Skip>>(&message, count);
        too_many::<HashMap<(), ()>>(&message, count);
        too_many::<BTreeMap<(), ()>>(&message, count);
        too_many::<HashSet<()>>(&message, count);
        too_many::<BTreeSet<()>>(&message, count);
        too_many::<Box<[()]>>(&message, count);
        too_many::<Vec<Vec<Vec<u64>>>>(&message, count);
    }
}

/// The visitor, which would allocate, isn't even called.
// r[verify codec.limits]
#[test]
fn claims_are_refused_before_anyone_allocates() {
    #[derive(Debug)]
    struct Unseen;
    impl<'de> Deserialize<'de> for Unseen {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Never;
            impl<'de> Visitor<'de> for Never {
                type Value = Unseen;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("nothing")
                }
                fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Unseen, A::Error> {
                    panic!("asked to hold {:?}", seq.size_hint())
                }
            }
            from.deserialize_seq(Never)
        }
    }
    too_many::<Unseen>(&claim(5_000, &[0; 2_000]), 5_000);
}

#[test]
fn elements_without_bytes_are_few_and_shared() {
    let spare = 8 + ELEMENTS_SPARE as u64;
    assert_eq!(decode::<Vec<()>>(&claim(spare, &[])).unwrap().len() as u64, spare);
    too_many::<Vec<()>>(&claim(spare + 1, &[]), spare + 1);
    // two sequences of 800 are one too many, however they are nested
    let message = [claim(800, &[]), claim(800, &[])].concat();
    too_many::<(Vec<()>, Vec<()>)>(&message, 800);
    let message = claim(2, &message);
    too_many::<Vec<Vec<()>>>(&message, 800);
    too_many::<BTreeMap<Vec<()>, Vec<()>>>(&message, 800);
}

#[track_caller]
fn too_large<T: for<'de> Deserialize<'de>>(message: &[u8]) {
    let limit = DECODED_BYTES_MAX + 4 * message.len();
    assert_eq!(decode::<T>(message).map(|_| ()), Err(DecodeError::TooLarge { limit }));
}

/// A million elements of a byte or four in the message and 128 to 264 in memory.
#[test]
fn amplified_elements_are_refused() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Tagged(u8, Skip);
    #[derive(Debug, Serialize, Deserialize)]
    struct Fields {
        boxed: Box<Tagged>,
    }
    let bytes = claim(1_000_000, &[0; 1_000_000]);
    too_large::<Vec<Tagged>>(&bytes);
    too_large::<Vec<Option<[u64; 32]>>>(&bytes);
    too_large::<Vec<Fields>>(&bytes);
    too_large::<Vec<Box<Tagged>>>(&bytes);
    too_large::<Vec<(Box<Tagged>,)>>(&bytes);
    too_large::<Vec<Option<[[u8; 32]; 8]>>>(&bytes);

    let words = claim(1_000_000, &[0; 4_000_000]);
    too_large::<Vec<Fat>>(&words);
    too_large::<Vec<Box<Fat>>>(&words);
    too_large::<BTreeMap<u32, Fat>>(&claim(500_000, &[0; 4_000_000]));
    too_large::<HashMap<Fat, ()>>(&words);

    // in a sequence of sequences the inner ones pay
    let rows = (0..1_000).flat_map(|_| claim(1_000, &[0; 1_000]));
    too_large::<Vec<Vec<Tagged>>>(&claim(1_000, &rows.collect::<Vec<_>>()));
}

/// A sequence need not be of one type, nor ask for what it was asked first.
#[test]
fn elements_of_mixed_types_are_all_paid_for() {
    struct Mix;
    impl<'de> Deserialize<'de> for Mix {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Go;
            impl<'de> Visitor<'de> for Go {
                type Value = Mix;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a byte, and large things")
                }
                fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Mix, A::Error> {
                    seq.next_element::<u8>()?;
                    seq.next_element::<(u64, u64)>()?;
                    seq.next_element::<Fat>()?.map_or(Ok(Mix), |_| panic!("not paid for"))
                }
            }
            from.deserialize_seq(Go)
        }
    }
    too_large::<Mix>(&claim(1_000_000, &[0; 1_000_000]));
}

/// A tuple whose length was read from the message is a sequence by another name.
#[test]
fn tuples_as_long_as_the_message_says_are_refused() {
    #[derive(Clone, Copy)]
    struct Units(usize);
    impl<'de> de::DeserializeSeed<'de> for Units {
        type Value = ();
        fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
            from.deserialize_tuple(self.0, self)
        }
    }
    impl<'de> Visitor<'de> for Units {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("units")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
            while seq.next_element::<()>()?.is_some() {}
            Ok(())
        }
    }
    struct Counted;
    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_tuple(2, Self)
        }
    }
    impl<'de> Visitor<'de> for Counted {
        type Value = Self;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number and as many units")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
            let count = seq.next_element()?.unwrap_or_default();
            seq.next_element_seed(Units(count)).map(|_| self)
        }
    }
    assert!(decode::<Counted>(&claim(1_000, &[])).is_ok());
    too_many::<Counted>(&claim(1 << 60, &[]), 1 << 60);
}

/// A visitor of the user's may box what it draws: then the part doesn't lie in the whole.
#[test]
fn parts_boxed_by_hand_are_paid_for() {
    struct Boxed<const ENUM: bool>;
    impl<'de, const ENUM: bool> Deserialize<'de> for Boxed<ENUM> {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            match ENUM {
                true => from.deserialize_enum("Boxed", &["Fat"], Self),
                false => from.deserialize_tuple(1, Self),
            }
        }
    }
    impl<'de, const ENUM: bool> Visitor<'de> for Boxed<ENUM> {
        type Value = Self;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("something fat")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
            seq.next_element::<Fat>().map(|_| self)
        }
        fn visit_enum<A: de::EnumAccess<'de>>(self, from: A) -> Result<Self, A::Error> {
            let (0u32, variant) = from.variant()? else { panic!("there is one variant") };
            de::VariantAccess::newtype_variant::<Fat>(variant).map(|_| self)
        }
    }
    too_large::<Vec<Boxed<false>>>(&claim(1_000_000, &[0; 4_000_000]));
    too_large::<Vec<Boxed<true>>>(&claim(1_000_000, &[0; 8_000_000]));
}

#[test]
fn large_honest_values_pass() {
    let numbers: Vec<u64> = (0..1 << 20).collect();
    assert_eq!(decode::<Vec<u64>>(&encode(&numbers).unwrap()).unwrap(), numbers);
    let pairs: Vec<(u64, u64, u64)> = (0..1 << 18).map(|n| (n, n, n)).collect();
    assert_eq!(decode::<Vec<(u64, u64, u64)>>(&encode(&pairs).unwrap()).unwrap(), pairs);
    let empties = vec![Vec::<u8>::new(); 1 << 20];
    assert_eq!(decode::<Vec<Vec<u8>>>(&encode(&empties).unwrap()).unwrap(), empties);
    // a value lies in its place and is paid for once, however many structs it is wrapped in
    type Wrapped = Vec<((((([u64; 16],),),),),)>;
    let wrapped: Wrapped = vec![((((([7; 16],),),),),); 400_000];
    assert_eq!(decode::<Wrapped>(&encode(&wrapped).unwrap()).unwrap().len(), 400_000);
}

/// A `Serialize` that makes do without a part must not send what the peer can't read.
#[test]
fn a_swallowed_refusal_to_encode_is_still_one() {
    struct OrUnit(Tree);
    impl Serialize for OrUnit {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            let mut parts = to.serialize_tuple(2)?;
            let _ = parts.serialize_element(&self.0);
            parts.serialize_element(&7u8)?;
            parts.end()
        }
    }
    assert_eq!(encode(&OrUnit(tree(DEPTH_MAX - 1))).map(|bytes| bytes.len()), Ok(4 * 64 + 1));
    assert_eq!(encode(&OrUnit(tree(DEPTH_MAX))), Err(EncodeError::TooDeep { limit: DEPTH_MAX }));
}

/// A `Deserialize` that falls back to a default must not turn a refusal into a value.
#[test]
fn a_swallowed_refusal_is_still_one() {
    #[derive(Debug)]
    struct OrNone;
    impl<'de> Deserialize<'de> for OrNone {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let _ = Vec::<()>::deserialize(from);
            Ok(Self)
        }
    }
    too_many::<OrNone>(&claim(5_000, &[]), 5_000);
    too_many::<(OrNone, Vec<u8>)>(&[claim(5_000, &[]), claim(1, &[1])].concat(), 5_000);
}

// r[verify codec.whole]
#[test]
fn messages_hold_exactly_one_value() {
    for cut in 0..16 {
        assert_eq!(decode::<(u64, u64)>(&[0; 16][..cut]), Err(DecodeError::UnexpectedEnd));
    }
    assert_eq!(decode::<u8>(&[1, 2, 3]), Err(DecodeError::TrailingBytes { extra: 2 }));
    assert_eq!(decode::<()>(&[0]), Err(DecodeError::TrailingBytes { extra: 1 }));
    assert_eq!(decode::<&str>(&claim(0, b"x")), Err(DecodeError::TrailingBytes { extra: 1 }));
}

#[test]
fn bytes_that_are_no_value_are_refused() {
    assert_eq!(decode::<bool>(&[2]), Err(DecodeError::InvalidTag { found: 2 }));
    assert_eq!(decode::<Option<u8>>(&[2, 1]), Err(DecodeError::InvalidTag { found: 2 }));
    assert_eq!(decode::<String>(&claim(2, b"\xff\xfe")), Err(DecodeError::InvalidUtf8));
    assert_eq!(decode::<&str>(&claim(2, b"\xc3\x28")), Err(DecodeError::InvalidUtf8));
    for char in [&b"\xed\xa0\x80"[..], b"\xff\x01\x02\x03", b"\xf4\x90\x80\x80", b"\xc0\x80"] {
        assert_eq!(decode::<char>(char), Err(DecodeError::InvalidChar), "{char:x?}");
    }
    #[track_caller]
    fn custom<T: for<'de> Deserialize<'de>>(message: &[u8], text: &str) {
        let Err(DecodeError::Custom(found)) = decode::<T>(message).map(|_| ()) else {
            panic!("not refused by its type")
        };
        assert!(found.contains(text), "{found}");
    }
    custom::<Tree>(&9u32.to_le_bytes(), "variant index 0 <= i < 2");
    custom::<NonZeroU8>(&[0], "nonzero u8");
    custom::<Duration>(&[0xff; 12], "overflow deserializing Duration");
    custom::<std::ffi::CString>(&claim(3, b"A\0B"), "nul byte");
}

#[test]
fn types_without_a_fixed_layout_are_refused() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Optional {
        first: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        second: Option<u8>,
        third: u8,
    }
    let full = Optional { first: 1, second: Some(2), third: 3 };
    assert_eq!(encode(&full).unwrap(), [1, 1, 2, 3]);
    let skipped = encode(&Optional { second: None, ..full });
    assert_eq!(skipped, Err(EncodeError::SkippedField { field: "second" }));

    #[derive(Debug, Serialize, Deserialize)]
    struct Flattened {
        #[serde(flatten)]
        inner: Skip,
    }
    let flattened = encode(&Flattened { inner: Skip::default() });
    assert_eq!(flattened, Err(EncodeError::UnknownLength));

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
    }
    let untagged = decode::<Untagged>(&[1]).map(|_| ());
    assert_eq!(untagged, Err(DecodeError::SelfDescribing));
    let ignored = decode::<de::IgnoredAny>(&[]).map(|_| ());
    assert_eq!(ignored, Err(DecodeError::SelfDescribing));
}
