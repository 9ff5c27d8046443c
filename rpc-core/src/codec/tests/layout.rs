//! The layout: golden vectors, every kind of value there and back, and bincode 1.3.3 as a second
//! opinion.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

use bincode1::Options;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Meters(u32);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    Circle(f32),
    Rect(u16, u16),
    Named { name: String, at: Point },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    numbers: (u8, u16, u32, u64, u128, usize),
    signed: (i8, i16, i32, i64, i128, isize),
    floats: (f32, f64),
    flag: bool,
    char: char,
    text: String,
    bytes: Vec<u8>,
    unit: (),
    array: [u16; 4],
    option: Option<Meters>,
    nested: Option<Option<bool>>,
    shapes: Vec<Shape>,
    lists: Vec<Vec<String>>,
    map: BTreeMap<u16, Vec<bool>>,
    set: BTreeSet<char>,
    result: Result<u8, String>,
    boxed: Box<Point>,
    duration: Duration,
    address: IpAddr,
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Empty),
        any::<f32>().prop_map(Shape::Circle),
        any::<(u16, u16)>().prop_map(|(w, h)| Shape::Rect(w, h)),
        any::<(String, i32, i32)>()
            .prop_map(|(name, x, y)| Shape::Named { name, at: Point { x, y } }),
    ]
}

fn everything() -> impl Strategy<Value = Everything> {
    let scalars = any::<(
        (u8, u16, u32, u64, u128, usize),
        (i8, i16, i32, i64, i128, isize),
        (f32, f64),
        (bool, char),
        ([u16; 4], Option<u32>, Option<Option<bool>>),
        (i32, i32),
        (Duration, IpAddr),
    )>();
    let vectors = (
        any::<String>(),
        any::<Vec<u8>>(),
        vec(shape(), 0..5),
        vec(vec(any::<String>(), 0..3), 0..4),
        btree_map(any::<u16>(), any::<Vec<bool>>(), 0..5),
        btree_set(any::<char>(), 0..5),
        any::<Result<u8, String>>(),
    );
    (scalars, vectors).prop_map(|(scalars, vectors)| {
        let (numbers, signed, floats, (flag, char), options, (x, y), (duration, address)) = scalars;
        let (array, option, nested) = options;
        let (text, bytes, shapes, lists, map, set, result) = vectors;
        let option = option.map(Meters);
        let boxed = Box::new(Point { x, y });
        Everything {
            numbers,
            signed,
            floats,
            flag,
            char,
            text,
            bytes,
            unit: (),
            array,
            option,
            nested,
            shapes,
            lists,
            map,
            set,
            result,
            boxed,
            duration,
            address,
        }
    })
}

/// bincode 1.3.3 in our layout, as strict as we are.
fn bincode1_decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
    let layout = bincode1::DefaultOptions::new().with_fixint_encoding().reject_trailing_bytes();
    layout.deserialize(bytes).ok()
}

/// Whatever the bytes are, both say the same of them.
fn agree<'de, T: Deserialize<'de> + Serialize + PartialEq + Debug>(bytes: &'de [u8]) {
    let ours = decode::<T>(bytes);
    let theirs = bincode1_decode::<T>(bytes);
    match (&ours, &theirs) {
        (Ok(ours), Some(theirs)) => {
            // by their bytes, as a NaN doesn't equal itself
            assert_eq!(encode(ours).unwrap(), bincode1::serialize(theirs).unwrap());
        }
        (Err(_), None) => {}
        _ => panic!("ours: {ours:?}, theirs: {theirs:?}"),
    }
}

fn agree_on_all_types(bytes: &[u8]) {
    agree::<Everything>(bytes);
    agree::<Shape>(bytes);
    agree::<Vec<Shape>>(bytes);
    agree::<Vec<Option<String>>>(bytes);
    agree::<BTreeMap<u8, Vec<u16>>>(bytes);
    agree::<(u8, &str, Option<char>)>(bytes);
    agree::<(Octets<&[u8]>, Octets<Option<Vec<u8>>>)>(bytes);
    agree::<Vec<(bool, Result<Meters, Duration>)>>(bytes);
    agree::<(IpAddr, [bool; 3])>(bytes);
}

proptest! {
    #[test]
    fn every_kind_of_value_makes_the_journey(value in everything()) {
        let bytes = encode(&value).unwrap();
        prop_assert_eq!(&decode::<Everything>(&bytes).unwrap(), &value);
        prop_assert_eq!(&bytes, &bincode1::serialize(&value).unwrap());
        prop_assert_eq!(bincode1_decode::<Everything>(&bytes).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        agree_on_all_types(&bytes);
    }

    /// Small numbers make lengths and tags that are plausible.
    #[test]
    fn plausible_bytes_are_a_value_or_an_error(
        bytes in vec(prop_oneof![4 => Just(0u8), 2 => 0..4u8, 1 => any::<u8>()], 0..200),
    ) {
        agree_on_all_types(&bytes);
    }

    #[test]
    fn damaged_values_are_a_value_or_an_error(
        value in everything(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(&value).unwrap();
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        agree::<Everything>(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        agree::<Everything>(&bytes);
    }
}

/// One line of the file: `hex` is `meaning`, in the words of its `Debug`, and nothing else is.
fn check_vector<'de, T>(hex: &'de [u8], meaning: &str)
where
    T: Serialize + Deserialize<'de> + Debug,
{
    match decode::<T>(hex) {
        Ok(value) => {
            assert_eq!(format!("{value:?}"), meaning);
            assert_eq!(encode(&value).unwrap(), hex);
            assert_eq!(bincode1::serialize(&value).unwrap(), hex);
        }
        Err(error) => assert!(meaning.starts_with("refused: "), "{error}"),
    }
}

fn check_line(name: &str, ty: &str, hex: &[u8], meaning: &str) {
    println!("{name}");
    match ty {
        "()" => check_vector::<()>(hex, meaning),
        "bool" => check_vector::<bool>(hex, meaning),
        "u8" => check_vector::<u8>(hex, meaning),
        "u16" => check_vector::<u16>(hex, meaning),
        "u32" => check_vector::<u32>(hex, meaning),
        "u64" => check_vector::<u64>(hex, meaning),
        "u128" => check_vector::<u128>(hex, meaning),
        "i8" => check_vector::<i8>(hex, meaning),
        "i16" => check_vector::<i16>(hex, meaning),
        "i32" => check_vector::<i32>(hex, meaning),
        "i64" => check_vector::<i64>(hex, meaning),
        "i128" => check_vector::<i128>(hex, meaning),
        "f32" => check_vector::<f32>(hex, meaning),
        "f64" => check_vector::<f64>(hex, meaning),
        "char" => check_vector::<char>(hex, meaning),
        "string" => check_vector::<&str>(hex, meaning),
        "octets" => check_vector::<Octets<&[u8]>>(hex, meaning),
        "(u32,)" => check_vector::<(u32,)>(hex, meaning),
        "(u64, string)" => check_vector::<(u64, &str)>(hex, meaning),
        "array<u16, 3>" => check_vector::<[u16; 3]>(hex, meaning),
        "vec<u16>" => check_vector::<Vec<u16>>(hex, meaning),
        "vec<()>" => check_vector::<Vec<()>>(hex, meaning),
        "vec<string>" => check_vector::<Vec<String>>(hex, meaning),
        "map<u8, u16>" => check_vector::<BTreeMap<u8, u16>>(hex, meaning),
        "option<u8>" => check_vector::<Option<u8>>(hex, meaning),
        "option<option<u8>>" => check_vector::<Option<Option<u8>>>(hex, meaning),
        "result<u8, string>" => check_vector::<Result<u8, String>>(hex, meaning),
        "nonzero<u8>" => check_vector::<std::num::NonZeroU8>(hex, meaning),
        "duration" => check_vector::<Duration>(hex, meaning),
        "ipaddr" => check_vector::<IpAddr>(hex, meaning),
        "Point" => check_vector::<Point>(hex, meaning),
        "Meters" => check_vector::<Meters>(hex, meaning),
        "Shape" => check_vector::<Shape>(hex, meaning),
        _ => panic!("{name}: no such type: {ty}"),
    }
}

// r[verify codec.layout]
#[test]
fn golden_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/spec/vectors/codec.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let mut count = 0;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        let [name, ty, hex, meaning] = columns[..] else { panic!("not four columns: {line}") };
        let digits: String = hex.split(' ').collect();
        let bytes = (0..digits.len()).step_by(2);
        let bytes = bytes.map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap());
        check_line(name, ty, &bytes.collect::<Vec<_>>(), meaning);
        count += 1;
    }
    assert!(count > 50, "only {count} vectors");
}
