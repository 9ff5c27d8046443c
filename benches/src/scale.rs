//! The scale table: what a call costs as connections, calls in flight, methods and payloads grow.

use std::fmt::Write;

use crate::contender::Contender;
use crate::driver::{Pairs, Plan};
use crate::scenario::{Figure, Scenario};
use crate::summary::{self, Row, Table};
use crate::text::{micros, short};

const CONTENDERS: [Contender; 5] = [
    Contender::RawMux,
    Contender::RawEcho,
    Contender::Ours,
    Contender::OursUdp,
    Contender::OursMany,
];

/// What grows, and the scenarios in which it does, each with how much of it there is.
const FAMILIES: [(&str, &[(&str, &str)]); 4] = [
    (
        "connections, with 1,024 calls in flight over all of them",
        &[
            ("1x1024", "1"),
            ("64x16", "64"),
            ("1024x1", "1,024"),
            ("19000x1", "19,000, a call on each"),
        ],
    ),
    (
        "calls in flight",
        &[
            ("1x64", "64 on one connection"),
            ("1x1024", "1,024 on one connection"),
            ("1x4096", "4,096 on one connection"),
            ("100x1024", "102,400 on 100 connections"),
        ],
    ),
    (
        "methods of the server, 64 calls in flight",
        &[("1x64", "2"), (MANY, "1,024 in four services")],
    ),
    (
        "payload, there and back",
        &[
            ("echo-1b", "1 B, 8 in flight"),
            ("echo-1k", "1 KiB, 8 in flight"),
            ("echo-16k", "16 KiB, 8 in flight"),
            ("echo-64k", "64 KiB, 8 in flight"),
            ("echo-256k", "256 KiB, 8 in flight"),
            ("echo-1m", "1 MiB, 4 in flight"),
            ("echo-8m", "8 MiB, 2 in flight"),
            ("echo-64m", "64 MiB, one at a time"),
        ],
    ),
];

/// Stands for `1x64` of the contender that has many methods.
const MANY: &str = "methods";

/// All that the table shows.
pub(crate) fn pairs() -> Pairs {
    let is_shown = |scenario: &Scenario| {
        FAMILIES.iter().flat_map(|(_, steps)| *steps).any(|(name, _)| *name == scenario.name)
    };
    Plan::pairs(Scenario::all().filter(is_shown), &CONTENDERS)
}

/// The table in Markdown.
pub(crate) fn write_table(tables: &[Table]) -> String {
    let mut out = String::from(
        "CPU time per call of both sides together, and what that comes to in a second. A connection of \
         ours has 1,024 calls under way by default; further ones wait at their caller.\n\n\
         | what grows | | raw loop | ours | ours over UDP |\n|---|---|---|---|---|\n",
    );
    for (family, steps) in FAMILIES {
        let mut family = family;
        for (scenario, step) in steps {
            let [raw, ours, udp] = cells(tables, scenario);
            writeln!(out, "| {family} | {step} | {raw} | {ours} | {udp} |")
                .expect("a String takes all that is written");
            family = "";
        }
    }
    out
}

fn cells(tables: &[Table], scenario: &str) -> [String; 3] {
    let cell = |name: &str, contender| {
        let figure = tables.iter().find(|table| table.scenario.name == name);
        let figure = figure.map(|table| table.scenario.figure());
        summary::find(tables, name, contender).map(|row| cell(row, figure))
    };
    let cells = if scenario == MANY {
        [None, cell("1x64", Contender::OursMany), None]
    } else {
        let raw = cell(scenario, Contender::RawMux).or(cell(scenario, Contender::RawEcho));
        [raw, cell(scenario, Contender::Ours), cell(scenario, Contender::OursUdp)]
    };
    cells.map(Option::unwrap_or_default)
}

fn cell(row: &Row, figure: Option<Figure>) -> String {
    let unit = if figure == Some(Figure::Throughput) { "MB/s" } else { "calls/s" };
    format!("{}, {} {unit}", micros(row.both_cpu), short(row.figure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_a_scenario() {
        let names = FAMILIES.iter().flat_map(|(_, steps)| *steps).map(|(name, _)| *name);
        for name in names.filter(|name| *name != MANY) {
            name.parse::<Scenario>().expect(name);
        }
        assert!(
            Scenario::SCALE.iter().all(|scenario| pairs().iter().any(|(it, _)| it == scenario))
        );
    }
}
