//! Checks of the repository itself, by reading its files: no code of ours runs here.
//!
//! `cases` holds the table of cases and the tests together, `delivery` the table of deliveries and
//! its tests, `private` what generated code may use and what it uses, `spec_ids` the specification,
//! the code and the tests, `tidy` the sources, the manifests and the documents and the rules of the
//! project. Needs nothing but std.

mod cases;
mod delivery;
mod private;
mod spec_ids;
mod tidy;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The directory of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// A file, with the path that messages name.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Reads a file of the workspace, if it is there.
    fn open(path: &str) -> Option<Self> {
        let text = fs::read_to_string(root().join(path)).ok()?;
        Some(Self { path: path.to_owned(), text })
    }

    /// The lines, with their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    fn in_dir(&self, dir: &str) -> bool {
        self.path.starts_with(&format!("{dir}/")) || self.path.contains(&format!("/{dir}/"))
    }

    /// Whether it is a test: nobody who uses the crates meets it.
    fn is_test(&self) -> bool {
        self.in_dir("tests") || self.path.ends_with("/tests.rs")
    }
}

/// All files below a directory of the workspace with this extension, in order of their paths.
fn files(dir: &str, extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for path in entries.map(|entry| entry.expect("a directory entry").path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                dirs.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let relative = path.strip_prefix(root()).expect("below the root");
                found.extend(Source::open(relative.to_str().expect("a path in UTF-8")));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Fails with all complaints at once.
#[track_caller]
fn report(rule: &str, complaints: &[String]) {
    let count = complaints.len();
    assert!(complaints.is_empty(), "{rule}\n{count} to mend:\n  {}", complaints.join("\n  "));
}
