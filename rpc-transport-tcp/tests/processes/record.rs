//! The record of what handlers ran: written before they do anything else, read by the test, also
//! when the process that wrote it was killed.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process,
};

/// Set in an entry that says that a handler was dropped.
const DROPPED: u64 = 1 << 63;

/// The writing end. Several processes may write to one record.
#[derive(Debug)]
pub(crate) struct Record(File);

impl Record {
    pub(crate) fn append_to(path: &Path) -> Self {
        Self(File::options().append(true).create(true).open(path).unwrap())
    }

    /// One write, nothing buffered: what is said here has happened, whatever happens next.
    pub(crate) fn ran(&self, call: u64) {
        (&self.0).write_all(&call.to_le_bytes()).unwrap();
    }

    pub(crate) fn dropped(&self, call: u64) {
        self.ran(call | DROPPED);
    }
}

/// The reading end, with what was read so far.
pub(crate) struct Books {
    path: PathBuf,
    file: File,
    ran: HashMap<u64, u32>,
    dropped: HashMap<u64, u32>,
    entries: usize,
}

impl Books {
    /// An empty record. `name` is the test's own.
    pub(crate) fn open(name: &str) -> Self {
        let name = format!("{name}-{}", process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        drop(File::create(&path).unwrap());
        let file = File::open(&path).unwrap();
        Self { path, file, ran: HashMap::new(), dropped: HashMap::new(), entries: 0 }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Reads what was written meanwhile.
    pub(crate) fn read_on(&mut self) {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).unwrap();
        let (entries, rest) = bytes.as_chunks();
        assert!(rest.is_empty(), "an entry was written in pieces");
        for entry in entries {
            let entry = u64::from_le_bytes(*entry);
            let book = if entry & DROPPED == 0 { &mut self.ran } else { &mut self.dropped };
            *book.entry(entry & !DROPPED).or_default() += 1;
        }
        self.entries += entries.len();
    }

    /// How often a call ran.
    pub(crate) fn ran(&self, call: u64) -> u32 {
        self.ran.get(&call).copied().unwrap_or_default()
    }

    /// Whether the handler of a call was dropped before its end.
    pub(crate) fn dropped(&self, call: u64) -> bool {
        self.dropped.contains_key(&call)
    }

    /// How many calls ran.
    pub(crate) fn calls(&self) -> usize {
        self.ran.len()
    }

    /// The calls that ran more than once: there should be none.
    pub(crate) fn repeated(&self) -> Vec<u64> {
        self.ran.iter().filter(|(_, times)| **times > 1).map(|(call, _)| *call).collect()
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
