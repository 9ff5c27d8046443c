//! The table of cases: every case of the catalogue is in it, and the tests that it names exist.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, files, report};

/// Where the table is.
const TABLE: &str = "rpc-core/spec/cases.md";

/// The groups of the catalogue, and how many cases each has.
const GROUPS: [(char, usize); 6] =
    [('W', 25), ('R', 20), ('P', 19), ('L', 16), ('H', 11), ('C', 12)];

/// The rows of a Markdown table whose first cell is the id of a case.
fn rows(table: &Source) -> Vec<(usize, Vec<&str>)> {
    let rows = table.lines().filter(|(_, line)| line.starts_with("| "));
    let rows = rows.map(|(at, line)| {
        (at, line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>())
    });
    rows.filter(|(_, cells)| is_case(cells.first().copied().unwrap_or_default())).collect()
}

fn is_case(id: &str) -> bool {
    let mut chars = id.chars();
    let group = chars.next().unwrap_or_default();
    GROUPS.iter().any(|(name, _)| *name == group)
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
    let table = Source::open(TABLE).expect("the table of cases");
    let tests = tests();
    let mut complaints = Vec::new();
    let mut seen = BTreeMap::new();
    for (line, cells) in rows(&table) {
        let place = format!("{TABLE}:{line}");
        let [id, _case, what, shown] = cells[..] else {
            complaints.push(format!("{place}: a row has four cells"));
            continue;
        };
        if seen.insert(id.to_owned(), line).is_some() {
            complaints.push(format!("{place}: {id} a second time"));
        }
        let named: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        if named.is_empty() && !what.starts_with('—') {
            complaints.push(format!("{place}: {id} names no test, and gives no reason"));
        }
        for name in named.iter().filter(|name| name.contains("::") && !tests.contains(**name)) {
            complaints.push(format!("{place}: there is no test {name}"));
        }
    }
    for (group, count) in GROUPS {
        let missing =
            (1..=count).map(|n| format!("{group}{n}")).filter(|id| !seen.contains_key(id));
        complaints.extend(missing.map(|id| format!("{id} is missing")));
    }
    report("A case is shown by a test, or by the reason why it doesn't apply.", &complaints);
}
