//! Every line of the delivery table has a test, and every such test a line.
//!
//! The lines are those of `rpc-core/spec/wire.md`, chapter 11. A test says which one it is about
//! with its name: `row_07_…`, below `rpc-core/tests/it/delivery`.

use std::collections::BTreeSet;

use super::{Source, files, report};

/// The numbers that lines of a chapter's tables begin with.
fn rows(spec: &str, chapter: &str) -> Vec<u32> {
    let lines = spec.lines().skip_while(|line| !line.starts_with(chapter)).skip(1);
    let lines = lines.take_while(|line| !line.starts_with("## "));
    lines.filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect()
}

/// The tests of rows in a source: each one's number and name. What follows an attribute of a test
/// is one.
fn tests(source: &str) -> Vec<(u32, &str)> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if let Some((_, rest)) = line.split_once("fn row_").filter(|_| is_test) {
            let name = rest.split('(').next().unwrap_or_default();
            let number = name.split('_').next().unwrap_or_default();
            found.push((number.parse().unwrap_or(0), name));
        }
        is_test = line.starts_with("#[") && (is_test || line.contains("test"));
    }
    found
}

#[test]
fn every_line_of_the_delivery_table_has_a_test() {
    let spec = Source::open("rpc-core/spec/wire.md").expect("rpc-core/spec/wire.md");
    let rows = rows(&spec.text, "## 11 Delivery");
    assert!(rows.len() > 40, "only {} lines found", rows.len());
    let mut complaints = Vec::new();
    if !rows.iter().copied().eq(1..=u32::try_from(rows.len()).expect("a table")) {
        complaints.push(format!("{}: lines are numbered {rows:?}", spec.path));
    }
    let mut tested = BTreeSet::new();
    for source in files("rpc-core/tests/it/delivery", "rs") {
        for (number, name) in tests(&source.text) {
            tested.insert(number);
            if !rows.contains(&number) {
                complaints.push(format!("{}: row_{name}: there is no such line", source.path));
            }
        }
    }
    let missing = rows.iter().filter(|row| !tested.contains(row));
    complaints.extend(missing.map(|row| format!("{}: no test row_{row:02}_…", spec.path)));
    report("lines of the delivery table and tests belong together", &complaints);
}

#[test]
fn lines_and_tests_are_told_from_what_looks_like_them() {
    let spec = "| 1 | before |\n## 11 Delivery\n| # | event |\n|---|---|\n| 2 | it |\n| a | b |\n\
                ## 12 Other\n| 3 | after |";
    assert_eq!(rows(spec, "## 11 Delivery"), [2]);
    let source = "#[tokio::test(start_paused = true)]\n#[allow(x)]\nasync fn row_07_a() {\n}\n\
                  fn row_08_no_test() {}\n#[test]\nfn row_x() {}";
    assert_eq!(tests(source), [(7, "07_a"), (0, "x")]);
}
