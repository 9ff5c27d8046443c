//! Every rule of a specification has an id; every id is cited by code and by a test, and no other.
//!
//! A rule begins its paragraph with its id in brackets behind the letter r. Code cites it in a
//! comment with `impl` before the id, a test with `verify`. Without either word it is a mention.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, files, report};

/// What one citation says.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Cites {
    Impl,
    Verify,
    Mention,
}

/// All ids that a line cites. In sources only comments and texts do: an id has a dot in it, so an
/// index is none.
fn cited(line: &str) -> impl Iterator<Item = (Cites, &str)> {
    line.match_indices("r[").filter_map(|(at, _)| {
        let before = line[..at].chars().next_back();
        let (inside, _) = line[at + 2..].split_once(']')?;
        let (cites, id) = match inside.split_once(' ') {
            Some(("impl", id)) => (Cites::Impl, id),
            Some(("verify", id)) => (Cites::Verify, id),
            _ => (Cites::Mention, inside),
        };
        let is_id =
            id.contains('.') && id.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-'));
        (is_id && !before.is_some_and(char::is_alphanumeric)).then_some((cites, id))
    })
}

/// The rules of all specifications, and where each one stands.
fn rules(complaints: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut rules = BTreeMap::new();
    for spec in files("", "md").iter().filter(|file| file.in_dir("spec")) {
        for (number, line) in spec.lines().filter(|(_, line)| line.starts_with("r[")) {
            let Some((Cites::Mention, id)) = cited(line).next() else { continue };
            let place = format!("{}:{number}", spec.path);
            if let Some(first) = rules.insert(id.to_owned(), place.clone()) {
                complaints.push(format!("{place}: {id} stands at {first} already"));
            }
        }
    }
    rules
}

/// Sources that cite: the core and the transports, without this test.
fn sources() -> Vec<Source> {
    let dirs = ["rpc-core/src/", "rpc-core/tests/", "rpc-transport-"];
    let mut sources = files("", "rs");
    sources.retain(|source| {
        let path = &source.path;
        dirs.iter().any(|dir| path.starts_with(dir)) && !path.starts_with("rpc-core/tests/repo/")
    });
    sources
}

#[test]
fn every_rule_is_implemented_and_verified_and_no_other_is_cited() {
    let mut complaints = Vec::new();
    let rules = rules(&mut complaints);
    assert!(rules.len() > 50, "only {} rules found", rules.len());
    let (mut implemented, mut verified) = (BTreeSet::new(), BTreeSet::new());
    let specs = files("", "md").into_iter().filter(|file| file.in_dir("spec"));
    for source in sources().into_iter().chain(specs) {
        for (number, line) in source.lines() {
            for (cites, id) in cited(line) {
                let place = format!("{}:{number}", source.path);
                if !rules.contains_key(id) {
                    complaints.push(format!("{place}: there is no rule {id}"));
                }
                if cites != Cites::Mention && !line.trim_start().starts_with("//") {
                    complaints.push(format!("{place}: {id} is cited outside of a comment"));
                }
                match cites {
                    Cites::Impl => implemented.insert(id.to_owned()),
                    Cites::Verify => verified.insert(id.to_owned()),
                    Cites::Mention => false,
                };
            }
        }
    }
    for (id, place) in &rules {
        let missing = match (implemented.contains(id), verified.contains(id)) {
            (true, true) => continue,
            (true, false) => "no test verifies",
            (false, true) => "no code implements",
            (false, false) => "no code implements and no test verifies",
        };
        complaints.push(format!("{place}: {missing} {id}"));
    }
    report("rules, code and tests belong together", &complaints);
}

/// A paragraph that binds begins with an id, so that it can be cited.
#[test]
fn every_must_has_an_id() {
    let mut complaints = Vec::new();
    for spec in files("", "md").iter().filter(|file| file.in_dir("spec")) {
        let mut starts_with_id = false;
        let mut before = "";
        for (number, line) in spec.lines() {
            if before.is_empty() {
                starts_with_id = line.starts_with("r[");
            }
            let binds = line.split(|c: char| !c.is_alphabetic()).any(|word| word == "MUST");
            if binds && !starts_with_id {
                complaints.push(format!("{}:{number}: {line}", spec.path));
            }
            before = line;
        }
    }
    report("a paragraph with a MUST begins with the id of its rule", &complaints);
}

#[test]
fn citations_are_told_from_code() {
    let open = "r[";
    let line =
        format!("// {open}impl a.b] {open}verify c-d.e2] see `{open}f.g]`, arr[0], attr[x.y]");
    let found: Vec<_> = cited(&line).collect();
    let expected = [(Cites::Impl, "a.b"), (Cites::Verify, "c-d.e2"), (Cites::Mention, "f.g")];
    assert_eq!(found, expected);
}
