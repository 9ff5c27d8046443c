//! Frames against `spec/vectors`, against any bytes, and there and back; no connection state.
//!
//! `vectors` reads the files of frames, `ids` those of ids and metadata, `stream` that of the
//! stream framing; `properties` makes up its own bytes. Here is what they share: the format of the
//! files, as `spec/vectors/README.md` describes it.

mod ids;
mod properties;
#[cfg(feature = "runtime")]
mod stream;
mod vectors;

use super::*;

/// One line of a file.
struct Vector {
    name: String,
    fields: Fields,
    bytes: Vec<u8>,
}

/// The middle column: keys and values, in order.
struct Fields(Vec<(String, String)>);

impl Vector {
    /// All vectors of a file.
    fn read(file: &str) -> Vec<Self> {
        let path = format!("{}/spec/vectors/{file}.txt", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let vectors: Vec<_> = lines.map(|line| Self::parse(file, line)).collect();
        for (i, vector) in vectors.iter().enumerate() {
            let earlier = vectors.iter().take(i);
            assert!(earlier.clone().all(|other| other.name != vector.name), "{}", vector.name);
        }
        assert!(!vectors.is_empty(), "{file}: no vectors");
        vectors
    }

    fn parse(file: &str, line: &str) -> Self {
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        let [name, fields, hex] = columns[..] else { panic!("{file}: not three columns: {line}") };
        let digits = hex.replace(' ', "");
        Self {
            name: format!("{file}/{name}"),
            fields: Fields::parse(fields),
            bytes: unhex(&digits),
        }
    }

    /// The prefix, and the frame behind it, which has to be all there is.
    fn frame(&self) -> (Lane, bool, &[u8]) {
        let (length, end, lane) = decode_prefix(&self.bytes).expect("a whole prefix");
        let frame = &self.bytes[PREFIX_BYTES..];
        assert_eq!(frame.len(), length, "{}: the length word", self.name);
        (lane, end, frame)
    }
}

impl Fields {
    fn parse(mut text: &str) -> Self {
        let mut fields = Vec::new();
        while let Some((key, rest)) = text.split_once('=') {
            let (value, rest) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').expect("a closing quote"),
                None => rest.split_once(' ').unwrap_or((rest, "")),
            };
            fields.push((key.to_owned(), value.to_owned()));
            text = rest.trim_start();
        }
        assert_eq!(text, "", "not a field");
        Self(fields)
    }

    fn find(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|(k, value)| (k == key).then_some(value.as_str()))
    }

    #[track_caller]
    fn text(&self, key: &str) -> &str {
        self.find(key).unwrap_or_else(|| panic!("no field {key}"))
    }

    #[track_caller]
    fn number(&self, key: &str) -> u128 {
        number(self.text(key)).unwrap_or_else(|| panic!("{key} is not a number"))
    }

    #[track_caller]
    fn u64(&self, key: &str) -> u64 {
        self.number(key).try_into().expect("64 bits")
    }

    #[track_caller]
    fn u32(&self, key: &str) -> u32 {
        self.number(key).try_into().expect("32 bits")
    }

    #[track_caller]
    fn u16(&self, key: &str) -> u16 {
        self.number(key).try_into().expect("16 bits")
    }

    #[track_caller]
    fn flag(&self, key: &str) -> bool {
        match self.text(key) {
            "0" => false,
            "1" => true,
            other => panic!("{key} is {other}, not a flag"),
        }
    }

    #[track_caller]
    fn bytes(&self, key: &str) -> Vec<u8> {
        unhex(self.text(key))
    }

    /// Whether an encoder of ours makes these bytes.
    fn is_ours(&self) -> bool {
        self.find("only") != Some("decode") && self.refused().is_none()
    }

    fn refused(&self) -> Option<&str> {
        self.find("refused")
    }
}

fn number(text: &str) -> Option<u128> {
    match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[track_caller]
fn unhex(digits: &str) -> Vec<u8> {
    if digits == "-" {
        return Vec::new();
    }
    assert!(digits.len().is_multiple_of(2), "half a byte: {digits}");
    let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A lane that a call of the connecting side can have.
const CALL_LANE: Lane = Lane::new(1 << 24);
