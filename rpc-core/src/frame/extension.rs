//! Extensions of a frame, which old peers skip, and metadata, the one that callers see.

use std::fmt;

use super::FrameError;

/// Metadata is limited to this many entries. Spec: `r[metadata.limits]`.
pub(crate) const METADATA_ENTRIES_MAX: usize = 64;

/// Keys are limited to what their length byte can say. Spec: `r[metadata.layout]`.
const KEY_BYTES_MAX: usize = 255;

/// Bytes of an entry beside its key and its value. Spec: `r[metadata.layout]`.
const ENTRY_HEADER_BYTES: usize = 3;

/// Bytes of an extension before its value. Spec: `r[extension.layout]`.
pub(crate) const EXTENSION_HEADER_BYTES: usize = 4;

/// Numbers of the extensions of a REQUEST. Spec: `r[extension.types]`.
mod number {
    pub(super) const METADATA: u16 = 1;
    /// Reserved: the shape fingerprint of the method's arguments and reply.
    #[expect(dead_code, reason = "a place kept in the protocol, see r[extension.types]")]
    pub(super) const FINGERPRINT: u16 = 2;
}

/// The extensions of one frame: known to be well-formed, not yet interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extensions<'a>(&'a [u8]);

impl<'a> Extensions<'a> {
    /// Checks that the entries fill `bytes` exactly. Spec: `r[extension.layout]`.
    #[inline]
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let mut rest = bytes;
        // r[impl extension.layout]
        while !rest.is_empty() {
            (_, _, rest) = split_entry(rest).ok_or(FrameError::BadExtension)?;
        }
        Ok(Self(bytes))
    }

    /// The encoded metadata, empty when there is none.
    #[inline]
    pub(crate) fn metadata(self) -> &'a [u8] {
        let mut rest = self.0;
        while let Some((number, value, after)) = split_entry(rest) {
            // r[impl extension.types]
            if number == number::METADATA {
                return value;
            }
            rest = after;
        }
        &[]
    }

    /// Appends a metadata extension, unless there is no metadata.
    pub(crate) fn encode_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
        if metadata.is_empty() {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked by Metadata::insert")]
        let length = metadata.encoded.len() as u16;
        out.extend_from_slice(&number::METADATA.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&metadata.encoded);
    }
}

/// Number, value, and what follows.
fn split_entry(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (&[n0, n1, l0, l1], rest) = bytes.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([l0, l1])))?;
    Some((u16::from_le_bytes([n0, n1]), value, rest))
}

/// What a caller wrote beside its arguments: text keys, byte values, in order, keys not unique.
///
/// It is the caller's word and nothing more. What the transport itself knows about the caller is
/// [`Peer`](crate::transport::Peer). At most 64 entries, keys of 1 to 255 bytes, 8 KiB in all as
/// encoded (3 bytes an entry beside key and value); a peer can accept less.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    encoded: Vec<u8>,
    entries: usize,
}

/// Why an entry was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The key is empty or too long.
    #[error("a metadata key has {bytes} bytes, 1 to 255 are allowed")]
    Key {
        /// Its length.
        bytes: usize,
    },
    /// All of it together is too long.
    #[error("metadata of {bytes} bytes, {limit} are allowed")]
    TooLarge {
        /// Its length with this entry.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// There are too many entries.
    #[error("more than {METADATA_ENTRIES_MAX} metadata entries")]
    TooMany,
    /// What a peer sent is not metadata.
    #[error("malformed metadata")]
    Malformed,
}

impl Metadata {
    /// The most bytes that metadata may have, encoded.
    pub const BYTES_MAX: usize = 8 * 1024;

    /// No metadata.
    #[must_use]
    pub const fn new() -> Self {
        Self { encoded: Vec::new(), entries: 0 }
    }

    /// Adds an entry at the end.
    ///
    /// # Errors
    /// One of the limits above is hit; nothing is added then.
    pub fn insert(&mut self, key: &str, value: &[u8]) -> Result<(), MetadataError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(MetadataError::Key { bytes: key.len() });
        }
        let more = value.len().saturating_add(key.len()).saturating_add(ENTRY_HEADER_BYTES);
        let bytes = self.encoded.len().saturating_add(more);
        // r[impl metadata.limits]
        if bytes > Self::BYTES_MAX {
            return Err(MetadataError::TooLarge { bytes, limit: Self::BYTES_MAX });
        }
        if self.entries == METADATA_ENTRIES_MAX {
            return Err(MetadataError::TooMany);
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        let (key_length, value_length) = (key.len() as u8, value.len() as u16);
        self.encoded.push(key_length);
        self.encoded.extend_from_slice(key.as_bytes());
        self.encoded.extend_from_slice(&value_length.to_le_bytes());
        self.encoded.extend_from_slice(value);
        self.entries = self.entries.saturating_add(1);
        Ok(())
    }

    /// The value of the first entry with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.iter().find_map(|(k, value)| (k == key).then_some(value))
    }

    /// The value of the first entry with this key, if it is text.
    #[must_use]
    pub fn get_str(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = &self.encoded[..];
        std::iter::from_fn(move || {
            let (key, value, after) = split_metadata(rest)?;
            rest = after;
            Some((key, value))
        })
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Bytes as encoded.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        self.encoded.len()
    }

    /// Reads what a peer sent. Spec: `r[metadata.layout]`.
    pub(crate) fn decode(bytes: &[u8], bytes_max: usize) -> Result<Self, MetadataError> {
        if bytes.is_empty() {
            return Ok(Self::new());
        }
        // r[impl metadata.limits]
        if bytes.len() > bytes_max {
            return Err(MetadataError::TooLarge { bytes: bytes.len(), limit: bytes_max });
        }
        let mut entries = 0_usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            (_, _, rest) = split_metadata(rest).ok_or(MetadataError::Malformed)?;
            entries = entries.saturating_add(1);
        }
        if entries > METADATA_ENTRIES_MAX {
            return Err(MetadataError::TooMany);
        }
        Ok(Self { encoded: bytes.to_vec(), entries })
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(key, value)| (key, value.escape_ascii().to_string())))
            .finish()
    }
}

/// Key, value, and what follows.
fn split_metadata(bytes: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    // r[impl metadata.layout]
    let (&key_length, rest) = bytes.split_first()?;
    let (key, rest) = rest.split_at_checked(usize::from(key_length))?;
    let key = std::str::from_utf8(key).ok().filter(|key| !key.is_empty())?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((key, value, rest))
}
