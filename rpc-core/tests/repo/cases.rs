//! The tables of cases: every case of the catalogue is in its table, and the tests that it names exist.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, files, report};

/// A table, and the cases that are to be in it.
struct Table {
    path: &'static str,
    /// The groups of the catalogue, and how many cases each has.
    groups: &'static [(char, usize)],
    /// Cases of which the tests are still to come.
    later: &'static [&'static str],
}

const TABLES: [Table; 2] = [
    Table {
        path: "rpc-core/spec/cases.md",
        groups: &[('W', 25), ('R', 20), ('P', 19), ('L', 16), ('H', 11), ('C', 12)],
        later: &[],
    },
    Table {
        path: "rpc-transport-udp/spec/cases.md",
        groups: &[('T', 50), ('U', 7)],
        // Whether flows share a path with the kernel's own TCP.
        later: &["T41"],
    },
];

/// The rows of a Markdown table whose first cell is the id of a case.
fn rows<'a>(source: &'a Source, table: &Table) -> Vec<(usize, Vec<&'a str>)> {
    let rows = source.lines().filter(|(_, line)| line.starts_with("| "));
    let rows = rows.map(|(at, line)| {
        (at, line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>())
    });
    rows.filter(|(_, cells)| is_case(table, cells.first().copied().unwrap_or_default())).collect()
}

fn is_case(table: &Table, id: &str) -> bool {
    let mut chars = id.chars();
    let group = chars.next().unwrap_or_default();
    table.groups.iter().any(|(name, _)| *name == group)
        && !chars.as_str().is_empty()
        && chars.all(|char| char.is_ascii_digit())
}

/// Every test of the workspace, as `module::name`, where the module is the file or its directory.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for source in files("", "rs") {
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
                tests.insert(format!("{file}::{name}"));
                tests.insert(format!("{directory}::{name}"));
                marked = false;
            }
        }
    }
    tests
}

#[test]
fn every_case_of_the_catalogue_names_tests_that_exist_or_says_why_not() {
    let tests = tests();
    let complaints: Vec<_> = TABLES.iter().flat_map(|table| complaints(table, &tests)).collect();
    report("A case is shown by a test, or by the reason why it doesn't apply.", &complaints);
}

fn complaints(table: &Table, tests: &BTreeSet<String>) -> Vec<String> {
    let source = Source::open(table.path).expect("the table of cases");
    let mut complaints = Vec::new();
    let mut seen = BTreeMap::new();
    for (line, cells) in rows(&source, table) {
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
        for name in named.filter(|name| name.contains("::") && !tests.contains(*name)) {
            complaints.push(format!("{place}: there is no test {name}"));
        }
    }
    for (group, count) in table.groups {
        let missing = (1..=*count)
            .map(|n| format!("{group}{n}"))
            .filter(|id| !seen.contains_key(id) && !table.later.contains(&id.as_str()));
        complaints.extend(missing.map(|id| format!("{}: {id} is missing", table.path)));
    }
    complaints
}
