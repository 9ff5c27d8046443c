//! Rules for sources, manifests and documents that no compiler knows.

use std::{collections::BTreeSet, fs, path::Path};

use super::{Source, files, report, root};

/// The longest a file may be that isn't a test.
const LINES_MAX: usize = 600;

/// Words that our sources don't use for something that has a name, and that name. One glossary
/// for code and documents: `rpc-core/spec/wire.md`, chapter 1.
const BANNED: [(&str, &str); 9] = [
    ("response", "a reply; an answer, where it isn't a message"),
    ("responses", "replies"),
    ("callee", "the peer, or the handler"),
    ("opcode", "a kind of frame, or a method id"),
    ("correlation", "a call id ties a reply to its request"),
    ("request_id", "a call id: there is one id for both directions"),
    ("stream_id", "a lane"),
    ("deadline_ms", "a deadline is an instant; a duration is a timeout"),
    ("timeout_at", "a timeout is a duration; an instant is a deadline"),
];

/// Sources that are written for their error messages, or written by a tool.
fn is_fixture(source: &Source) -> bool {
    source.path.contains("/tests/ui/")
        || source.in_dir("snapshots")
        || source.path.ends_with("_capnp.rs")
}

fn sources() -> Vec<Source> {
    let mut sources = files("", "rs");
    sources.retain(|source| !is_fixture(source));
    assert!(sources.len() > 40, "only {} sources found", sources.len());
    sources
}

#[test]
fn every_source_says_what_it_is() {
    let without: Vec<_> = sources()
        .into_iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.path)
        .collect();
    report("a source begins with `//!`: one sentence on what it is, then what it is not", &without);
}

#[test]
fn no_source_is_too_long() {
    let complaints: Vec<_> = sources()
        .into_iter()
        .filter(|source| !source.is_test() && source.text.lines().count() > LINES_MAX)
        .map(|source| format!("{}: {} lines", source.path, source.text.lines().count()))
        .collect();
    report(&format!("a source has at most {LINES_MAX} lines"), &complaints);
}

#[test]
fn every_thing_has_one_name() {
    let mut complaints = Vec::new();
    // Other frameworks, in the benchmarks, have words of their own.
    let of_others = ["benches/src/peers/", "benches/lightness/tonic/"];
    let exempt = |source: &Source| {
        source.path.ends_with("repo/tidy.rs")
            || of_others.iter().any(|dir| source.path.starts_with(dir))
    };
    for source in sources().iter().filter(|source| !exempt(source)) {
        for (number, line) in source.lines() {
            let line = line.to_lowercase();
            for word in line.split(|c: char| !c.is_alphanumeric() && c != '_') {
                let parts = word.split('_').chain([word]);
                let found =
                    BANNED.iter().find(|(banned, _)| parts.clone().any(|part| part == *banned));
                if let Some((banned, instead)) = found {
                    let path = &source.path;
                    complaints.push(format!("{path}:{number}: `{banned}`: say {instead}"));
                }
            }
        }
    }
    report("one name for one thing", &complaints);
}

/// The crates of the workspace, from its manifest.
fn members() -> Vec<String> {
    let manifest = Source::open("Cargo.toml").expect("the workspace's manifest");
    let (_, list) = manifest.text.split_once("members = [").expect("members");
    let (list, _) = list.split_once(']').expect("the end of members");
    let names = list.split(',').map(|name| name.trim().trim_matches('"').to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// The crates of ours that a manifest names, each with the section that names it.
fn ours_in(manifest: &str, members: &[String]) -> Vec<(String, String)> {
    let mut section = "";
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            // `[dependencies.rpc-core]`
            if let Some((table, name)) = section.rsplit_once("dependencies.") {
                found.push((format!("{table}dependencies"), name.to_owned()));
            }
        } else if section.ends_with("dependencies") {
            let key = line.split(['=', '.']).next().unwrap_or_default().trim();
            // A crate may be renamed, so the value counts too.
            let name = |member: &&String| {
                key == *member
                    || line.contains(&format!("package = \"{member}\""))
                    || line.contains(&format!("../{member}\""))
            };
            found.extend(members.iter().find(name).map(|name| (section.to_owned(), name.clone())));
        }
    }
    found.retain(|(_, name)| members.contains(name));
    found
}

#[test]
fn dependencies_point_one_way() {
    let members = members();
    let mut complaints = Vec::new();
    // Examples, and crates that are tests, may name what they like.
    let published = |member: &&String| *member != "examples" && !member.contains("/tests/");
    for member in members.iter().filter(published) {
        let path = format!("{member}/Cargo.toml");
        let manifest = Source::open(&path).unwrap_or_else(|| panic!("{path} is missing"));
        for (section, name) in ours_in(&manifest.text, &members) {
            let dev = section.ends_with("dev-dependencies");
            let allowed = match member.as_str() {
                "rpc-macros" => dev,
                "rpc-core" => name == "rpc-macros" || dev && name == "rpc-core",
                transport if transport.starts_with("rpc-transport-") => {
                    name == "rpc-core" || dev && name == transport
                }
                _ => false,
            };
            if !allowed {
                complaints.push(format!("{path}: [{section}] names {name}"));
            }
        }
    }
    let rule = "macros name nothing of ours (but for their tests), core names macros alone, a \
                transport names core alone";
    report(rule, &complaints);
}

#[test]
fn bincode_is_named_in_one_source() {
    let mut complaints = Vec::new();
    let one = "rpc-core/src/codec/bincode.rs";
    for source in sources().iter().filter(|source| !source.is_test() && source.path != one) {
        for (number, line) in source.lines() {
            let code = line.split("//").next().unwrap_or_default();
            let named = code.match_indices("bincode::").any(|(at, _)| {
                let before = &code[..at];
                let ours =
                    ["self::", "super::", "codec::"].iter().any(|path| before.ends_with(path));
                !ours && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
            });
            if named && !source.path.starts_with("benches/") {
                complaints.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(Source::open(one).is_some_and(|source| source.text.contains("::bincode::")), "{one}");
    report(&format!("only {one} names bincode: all else goes through `Codec`"), &complaints);
}

/// The value of a key that stands on a line of its own.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let found = lines.filter(|(found, _)| found.trim() == key).map(|(_, value)| value);
    found.map(|value| value.trim().trim_matches('"')).next()
}

#[track_caller]
fn document(path: &str) -> Source {
    Source::open(path).unwrap_or_else(|| panic!("{path} doesn't exist yet: it has to be written"))
}

#[test]
fn the_compiler_that_documents_name_is_the_one_that_is_needed() {
    let manifest = document("Cargo.toml");
    let msrv = value(&manifest.text, "rust-version").expect("rust-version");
    let clippy = document("clippy.toml");
    assert_eq!(value(&clippy.text, "msrv"), Some(msrv), "clippy.toml and Cargo.toml");
    let readme = document("README.md");
    let named: Vec<_> = readme
        .text
        .match_indices("Rust 1.")
        .map(|(at, _)| {
            let rest = &readme.text[at + "Rust ".len()..];
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            rest[..end].trim_end_matches('.')
        })
        .collect();
    assert!(!named.is_empty(), "README.md has to name the oldest compiler, as in `Rust {msrv}`");
    assert!(named.iter().all(|name| *name == msrv), "README.md says {named:?}, Cargo.toml {msrv}");
}

/// The lines of a text without indentation, without empty ones.
fn bare(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// What a document shows of a source: what stands between lines that say `// README begin` and
/// `// README end`, or, without such lines, all that follows the head of the file.
fn shown(source: &Source) -> Vec<String> {
    let lines: Vec<_> = source.text.lines().collect();
    let Some(begin) = lines.iter().position(|line| line.trim() == "// README begin") else {
        let head = lines.iter().take_while(|line| line.starts_with("//!")).count();
        return bare(&lines[head..]);
    };
    let end = lines.iter().position(|line| line.trim() == "// README end");
    let end = end.unwrap_or_else(|| panic!("{}: `// README end` is missing", source.path));
    bare(&lines[begin + 1..end])
}

/// A block of Rust in the README is code that compiles and runs: a comment before it names the
/// source that it is taken from, as in `<!-- examples/hello.rs -->`.
#[test]
fn the_samples_in_the_readme_are_examples() {
    let readme = document("README.md");
    let mut lines = readme.text.lines();
    let mut source = None;
    let mut samples = 0;
    while let Some(line) = lines.next() {
        if let Some(path) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(".rs -->"))
        {
            source = Some(document(&format!("{path}.rs")));
        } else if line.starts_with("```rust") {
            let source = source.take();
            let source = source.expect("a line like `<!-- examples/hello.rs -->` before ```rust");
            let sample: Vec<_> =
                lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            let (sample, example) = (bare(&sample), shown(&source));
            let path = &source.path;
            let differs = sample.iter().zip(&example).find(|(ours, theirs)| ours != theirs);
            if let Some((ours, theirs)) = differs {
                panic!("README.md says `{ours}` where {path} says `{theirs}`");
            }
            assert_eq!(sample.len(), example.len(), "one of README.md and {path} goes on");
            samples += 1;
        } else if !line.is_empty() {
            assert!(
                source.is_none(),
                "README.md: {line}: a block of Rust has to follow the comment"
            );
        }
    }
    assert!(
        samples > 0,
        "README.md has no sample with a line like `<!-- examples/hello.rs -->` before it"
    );
}

/// Names of the examples: sources right below `examples`, and directories with a `main.rs`.
fn examples() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("examples")).expect("examples");
    let paths = entries.map(|entry| entry.expect("a directory entry").path());
    let is_one = |path: &Path| {
        path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").is_file()
    };
    let found = paths.filter(|path| is_one(path));
    found.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
}

/// What a row of a table or an item of a list begins with, in backticks.
fn entry(line: &str) -> Option<&str> {
    let item = line.trim_start().strip_prefix(['|', '-', '*'])?.trim_start();
    let name = item.trim_start_matches('[').strip_prefix('`')?;
    name.split_once('`').map(|(name, _)| name.trim_end_matches(".rs"))
}

#[test]
fn every_example_is_listed_and_built() {
    let examples = examples();
    let manifest = document("examples/Cargo.toml");
    let readme = document("examples/README.md");
    let listed: BTreeSet<_> = readme.text.lines().filter_map(entry).map(str::to_owned).collect();
    let mut complaints = Vec::new();
    for name in &examples {
        if !listed.contains(name) {
            complaints.push(format!("examples/README.md doesn't list `{name}`"));
        }
        if !manifest.text.contains(&format!("name = \"{name}\"")) {
            complaints.push(format!("examples/Cargo.toml has no [[example]] named \"{name}\""));
        }
    }
    for name in listed.difference(&examples) {
        complaints.push(format!("examples/README.md lists `{name}`, which isn't there"));
    }
    report(
        "every example has an entry in examples/README.md, as in \"| `hello` | what it shows |\"",
        &complaints,
    );
}

#[test]
fn manifests_are_read_as_cargo_reads_them() {
    let members = ["rpc-core", "rpc-macros"].map(str::to_owned);
    let manifest = "[package]\nname = \"rpc-core\"\n[dependencies]\nrpc-core.workspace = true\n\
                    # rpc-macros = 1\n[target.'cfg(unix)'.dev-dependencies]\n\
                    other = { package = \"rpc-macros\", path = \"x\" }\n\
                    [build-dependencies.rpc-core]\n";
    let found = ours_in(manifest, &members);
    let expected = [
        ("dependencies", "rpc-core"),
        ("target.'cfg(unix)'.dev-dependencies", "rpc-macros"),
        ("build-dependencies", "rpc-core"),
    ];
    assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn hello_world_takes_at_most_twenty_lines() {
    let hello = Source::open("examples/smallest.rs").expect("examples/smallest.rs");
    let code = |line: &&str| !line.trim().is_empty() && !line.starts_with("//!");
    let lines = hello.text.lines().filter(code).count();
    assert!(lines <= 20, "examples/smallest.rs has {lines} lines of code");
}
