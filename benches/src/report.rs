//! The report of a plain run: a table of text for each scenario.

use std::fmt;

use crate::conditions;
use crate::contender::Contender;
use crate::driver::{Machine, Measurement, Plan};
use crate::scenario::{Figure, Scenario};
use crate::summary::{self, Row, Table};

/// Before anything is measured.
pub(crate) fn print_head(plan: &Plan, machine: &Machine) {
    println!("{}", conditions::describe(machine));
    let Plan { rounds, time, .. } = plan;
    println!("medians of {rounds} rounds of {time:?}; client, server, both: CPU µs per call");
}

pub(crate) fn print_tables(measurements: &[Measurement]) {
    for Table { scenario, rows } in summary::tables(measurements) {
        print_title(scenario);
        for row in rows {
            println!("{}", Line(scenario, row));
        }
    }
}

fn print_title(scenario: Scenario) {
    let Scenario { name, connections, in_flight, .. } = scenario;
    let figure = match scenario.figure() {
        Figure::Latency => "p50",
        Figure::Rate => "calls/s",
        Figure::Throughput => "MB/s",
        Figure::Memory => "KiB/conn",
    };
    let mut limits =
        [Contender::Ours, Contender::OursUdp].map(|it| it.limit(scenario).name()).to_vec();
    limits.dedup();
    let limits = limits.join("'s or ");
    let better = if scenario.figure().lower_is_better() { "lower" } else { "higher" };
    println!(
        "\n{name}: connections {connections}, in flight on each {in_flight}; \
         ratio: {figure} ÷ {limits}'s, {better} is better"
    );
    println!(
        "  {:<10}{:>8}{:>8}{:>8}{:>11}{:>10}{:>9}{:>9}{:>9}{:>8}   range",
        "contender",
        "p50 µs",
        "p99 µs",
        "p99.9",
        "calls/s",
        if matches!(figure, "MB/s" | "KiB/conn") { figure } else { "" },
        "client",
        "server",
        "both",
        "ratio",
    );
}

/// A row as it is printed.
struct Line(Scenario, Row);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(scenario, row) = self;
        let or_dash = |figure: Option<f64>, decimals| match figure {
            Some(figure) => format!("{figure:.decimals$}"),
            None => "-".to_owned(),
        };
        let figure = match scenario.figure() {
            Figure::Latency | Figure::Rate => String::new(),
            Figure::Throughput => format!("{:.0}", row.figure),
            Figure::Memory => format!("{:.1}", row.figure),
        };
        write!(
            f,
            "  {:<10}{:>8}{:>8}{:>8}{:>11.0}{figure:>10}{:>9.2}{:>9.2}{:>9.2}{:>8}",
            row.contender.name(),
            or_dash(row.p50, 1),
            or_dash(row.p99, 1),
            or_dash(row.p999, 1),
            row.rate,
            row.client_cpu,
            row.server_cpu,
            row.both_cpu,
            or_dash(row.ratios.median(), 2),
        )?;
        match row.ratios.range() {
            Some((lowest, highest)) => write!(f, "   {lowest:.2} to {highest:.2}"),
            None => write!(f, "   -"),
        }
    }
}
