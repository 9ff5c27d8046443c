//! Reads `spec/vectors`, for the tests of each layout; the format is described there.

use std::{fs, str::FromStr};

/// One line of a file.
pub(super) struct Vector {
    pub(super) name: String,
    /// The last column as it stands.
    pub(super) text: String,
    fields: Vec<(String, String)>,
}

impl Vector {
    /// All vectors of a file.
    #[track_caller]
    pub(super) fn read(file: &str) -> Vec<Self> {
        let path = format!("{}/spec/vectors/{file}.txt", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let vectors: Vec<_> = lines.map(|line| Self::parse(file, line)).collect();
        for (i, vector) in vectors.iter().enumerate() {
            let mut earlier = vectors.iter().take(i);
            assert!(earlier.all(|other| other.name != vector.name), "{} twice", vector.name);
        }
        assert!(!vectors.is_empty(), "{file}: no vectors");
        vectors
    }

    fn parse(file: &str, line: &str) -> Self {
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        let [name, fields, text] = columns[..] else { panic!("{file}: not three columns: {line}") };
        let fields = fields.split(' ').filter(|field| !field.is_empty()).map(|field| {
            let (key, value) = field.split_once('=').expect("key=value");
            (key.to_owned(), value.to_owned())
        });
        Self { name: format!("{file}/{name}"), text: text.to_owned(), fields: fields.collect() }
    }

    /// The bytes that the last column stands for.
    pub(super) fn bytes(&self) -> Vec<u8> {
        unhex(&self.text)
    }

    pub(super) fn find(&self, key: &str) -> Option<&str> {
        self.fields.iter().find_map(|(k, value)| (k == key).then_some(value.as_str()))
    }

    #[track_caller]
    pub(super) fn field(&self, key: &str) -> &str {
        self.find(key).unwrap_or_else(|| panic!("{}: no field {key}", self.name))
    }

    /// A field that is a number, of as many bits as are asked for.
    #[track_caller]
    pub(super) fn number<N: TryFrom<u64>>(&self, key: &str) -> N {
        let number = number(self.field(key));
        N::try_from(number).ok().unwrap_or_else(|| panic!("{}: {key} is {number}", self.name))
    }

    #[track_caller]
    pub(super) fn flag(&self, key: &str) -> bool {
        match self.field(key) {
            "0" => false,
            "1" => true,
            other => panic!("{}: {key} is {other}, not a flag", self.name),
        }
    }

    /// A field that is bytes.
    #[track_caller]
    pub(super) fn octets(&self, key: &str) -> Vec<u8> {
        unhex(self.field(key))
    }

    /// A field that something else knows how to read.
    #[track_caller]
    pub(super) fn parsed<T: FromStr>(&self, key: &str) -> T {
        let value = self.field(key);
        value.parse().ok().unwrap_or_else(|| panic!("{}: {key} is {value}", self.name))
    }

    /// Whether an encoder of ours makes these bytes.
    pub(super) fn is_ours(&self) -> bool {
        self.find("only") != Some("decode") && self.refused().is_none()
    }

    pub(super) fn refused(&self) -> Option<&str> {
        self.find("refused")
    }
}

/// A number in decimal, or hexadecimal behind `0x`.
#[track_caller]
pub(super) fn number(text: &str) -> u64 {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn unhex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split(' ').filter(|word| *word != "-") {
        let (digits, times) = word.split_once('*').unwrap_or((word, "1"));
        assert!(digits.len().is_multiple_of(2), "half a byte: {digits}");
        let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
        let part: Vec<_> =
            pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex digits")).collect();
        bytes.extend(part.repeat(times.parse().expect("how many times")));
    }
    bytes
}
