//! The tables of cases: every case of the catalogue is in its table, and the tests that it names exist.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, files, report};

/// A table, and the cases that are to be in it.
struct Table {
    path: &'static str,
    /// Its groups, and how many cases each has.
    groups: &'static [(char, usize)],
}

const TABLES: [Table; 2] = [
    Table {
        path: "rpc-core/spec/cases.md",
        groups: &[('W', 25), ('R', 20), ('P', 19), ('L', 17), ('H', 11), ('C', 12)],
    },
    Table { path: "rpc-transport-udp/spec/cases.md", groups: &[('U', 14), ('T', 50), ('V', 9)] },
];

/// The rows of a Markdown table whose first cell is the id of a case.
fn rows(source: &Source) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let rows = source.lines().filter(|(_, line)| line.starts_with("| "));
    let rows = rows.map(|(at, line)| {
        (at, line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>())
    });
    rows.filter(|(_, cells)| is_case(cells.first().copied().unwrap_or_default()))
}

/// Whether it is a letter and a number.
fn is_case(id: &str) -> bool {
    let mut chars = id.chars();
    let begins = chars.next().is_some_and(|group| group.is_ascii_uppercase());
    begins && !chars.as_str().is_empty() && chars.all(|char| char.is_ascii_digit())
}

/// Tests as `module::name`, where the module is the file or its directory, with the crates that have one
/// of that name.
type Tests = BTreeMap<String, BTreeSet<String>>;

/// Every test of the workspace.
fn tests() -> Tests {
    let mut tests = Tests::new();
    for source in files("", "rs") {
        let krate = source.path.split('/').next().unwrap_or_default();
        let mut parts = source.path.rsplit('/');
        let file = parts.next().unwrap_or_default().trim_end_matches(".rs");
        let directory = parts.next().unwrap_or_default();
        let mut marked = false;
        for (_, line) in source.lines() {
            let line = line.trim_start();
            marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let name = line.trim_start_matches("async ").strip_prefix("fn ");
            if let (true, Some(name)) = (marked, name) {
                let name = name.split(['(', '<']).next().unwrap_or_default();
                for module in [file, directory] {
                    let test = format!("{module}::{name}");
                    tests.entry(test).or_default().insert(krate.to_owned());
                }
                marked = false;
            }
        }
    }
    tests
}

/// Whether there is such a test, and only one. A crate may stand before it: `rpc-core/calls::…`.
fn find(name: &str, tests: &Tests) -> Result<(), String> {
    let (meant, test) = name.split_once('/').map_or((None, name), |(at, test)| (Some(at), test));
    let crates = tests.get(test).into_iter().flatten();
    let found = crates.filter(|at| meant.is_none_or(|meant| meant == *at)).collect::<Vec<_>>();
    match found[..] {
        [] => Err(format!("there is no test {name}")),
        [_] => Ok(()),
        _ => Err(format!("there is a test {name} in {found:?}: which of them?")),
    }
}

#[test]
fn every_case_of_the_catalogue_names_tests_that_exist_or_says_why_not() {
    let tests = tests();
    let complaints: Vec<_> = TABLES.iter().flat_map(|table| complaints(table, &tests)).collect();
    report("A case is shown by a test, or by the reason why it doesn't apply.", &complaints);
}

fn complaints(table: &Table, tests: &Tests) -> Vec<String> {
    let source = Source::open(table.path).expect("the table of cases");
    let mut complaints = Vec::new();
    let mut seen = BTreeMap::new();
    for (line, cells) in rows(&source) {
        let place = format!("{}:{line}", table.path);
        let [id, _case, what, shown] = cells[..] else {
            complaints.push(format!("{place}: a row has four cells"));
            continue;
        };
        // T01 is the first case of its group.
        let (group, number) = id.split_at(1);
        let id = format!("{group}{}", number.trim_start_matches('0'));
        if seen.insert(id.clone(), line).is_some() {
            complaints.push(format!("{place}: {id} a second time"));
        }
        let named: Vec<_> = what.split('`').skip(1).step_by(2).collect();
        let shown: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        if shown.is_empty() && !what.starts_with('—') {
            complaints.push(format!("{place}: {id} names no test, and gives no reason"));
        }
        let named = named.into_iter().chain(shown);
        let objections = named
            .filter(|name| name.contains("::"))
            .filter_map(|name| find(name, tests).err())
            .map(|objection| format!("{place}: {objection}"));
        complaints.extend(objections);
    }
    for (group, count) in table.groups {
        for id in (1..=*count).map(|n| format!("{group}{n}")) {
            if seen.remove(&id).is_none() {
                complaints.push(format!("{}: {id} is missing", table.path));
            }
        }
    }
    let others = seen.into_iter();
    let path = table.path;
    complaints.extend(others.map(|(id, line)| format!("{path}:{line}: this check knows no {id}")));
    complaints
}
