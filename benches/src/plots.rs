//! The plots of a comparison: which figures of which scenarios each one shows.

use crate::chart::{Bars, Group, Line, Lines};
use crate::contender::Contender;
use crate::scenario::{Scenario, Work};
use crate::summary::{self, Row, Table};
use crate::text;

/// A file of a plot, what it shows, and its content.
pub(crate) struct Plot {
    pub(crate) file: &'static str,
    pub(crate) shows: &'static str,
    pub(crate) svg: String,
}

pub(crate) fn draw_all(tables: &[Table]) -> Vec<Plot> {
    vec![
        draw_throughput(tables),
        draw_latency(tables),
        draw_cpu(tables),
        draw_payloads(tables),
        draw_memory(tables),
    ]
}

/// One connection, and how many calls it has in flight.
const IN_FLIGHT: [(&str, f64); 5] =
    [("pingpong", 1.0), ("1x4", 4.0), ("1x16", 16.0), ("1x64", 64.0), ("1x256", 256.0)];

fn draw_throughput(tables: &[Table]) -> Plot {
    let points = |contender| {
        let point = |&(name, x): &(&str, f64)| {
            summary::find(tables, name, contender).map(|row| [x, row.rate])
        };
        IN_FLIGHT.iter().filter_map(point).collect::<Vec<_>>()
    };
    let chart = Lines {
        title: "Calls per second",
        subtitle: "One connection, add(u64, u64); both axes logarithmic; higher is better",
        x_axis: "calls in flight",
        x_ticks: IN_FLIGHT.iter().map(|&(_, x)| (x, format!("{x}"))).collect(),
        y_log: true,
        lines: lines(points),
    };
    let shows = "calls per second against calls in flight";
    Plot { file: "throughput.svg", shows, svg: chart.draw() }
}

fn draw_payloads(tables: &[Table]) -> Plot {
    let mut echoes: Vec<(f64, &Table)> = tables
        .iter()
        .filter_map(|table| match table.scenario.work {
            Work::Echo { bytes } => Some((bytes as f64, table)),
            Work::Add | Work::Connect | Work::Idle => None,
        })
        .collect();
    echoes.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let points = |contender| {
        let point = |&(x, table): &(f64, &Table)| {
            table.rows.iter().find(|row| row.contender == contender).map(|row| [x, row.figure])
        };
        echoes.iter().filter_map(point).collect::<Vec<_>>()
    };
    let tick = |&(x, table): &(f64, &Table)| (x, size(table.scenario));
    let chart = Lines {
        title: "Payloads, MB/s",
        subtitle: "One connection, echo, payloads in one direction; higher is better",
        x_axis: "payload",
        x_ticks: echoes.iter().map(tick).collect(),
        y_log: false,
        lines: lines(points),
    };
    Plot { file: "payloads.svg", shows: "MB/s against the size of payloads", svg: chart.draw() }
}

fn size(scenario: Scenario) -> String {
    match scenario.work {
        Work::Echo { bytes } => text::bytes(bytes),
        Work::Add | Work::Connect | Work::Idle => String::new(),
    }
}

fn draw_latency(tables: &[Table]) -> Plot {
    let chart = Bars {
        title: "Latency, µs",
        subtitle: "One call at a time: p50, and fainter p99 and p99.9; lower is better",
        stacked: false,
        groups: groups(tables, "pingpong", |row| {
            [row.p50, row.p99, row.p999].into_iter().collect()
        }),
    };
    Plot { file: "latency.svg", shows: "percentiles of latency", svg: chart.draw() }
}

fn draw_cpu(tables: &[Table]) -> Plot {
    let chart = Bars {
        title: "CPU per call, µs",
        subtitle: "One connection, 64 calls in flight: client, and fainter server; lower is better",
        stacked: true,
        groups: groups(tables, "1x64", |row| Some(vec![row.client_cpu, row.server_cpu])),
    };
    Plot { file: "cpu.svg", shows: "CPU time per call", svg: chart.draw() }
}

fn draw_memory(tables: &[Table]) -> Plot {
    let chart = Bars {
        title: "Memory of an idle connection, KiB",
        subtitle: "Resident memory of the server over 1,000 connections; lower is better",
        stacked: false,
        groups: groups(tables, "idle", |row| Some(vec![row.figure])),
    };
    Plot { file: "memory.svg", shows: "memory of an idle connection", svg: chart.draw() }
}

/// A line for each contender that has something to show.
fn lines(points: impl Fn(Contender) -> Vec<[f64; 2]>) -> Vec<Line> {
    let line = |contender: Contender| Line {
        name: contender.name(),
        color: contender.color(),
        dashed: contender.is_raw(),
        points: points(contender),
    };
    Contender::compared().map(line).filter(|line| line.points.len() > 1).collect()
}

fn groups(
    tables: &[Table],
    scenario: &str,
    values: impl Fn(&Row) -> Option<Vec<f64>>,
) -> Vec<Group> {
    let group = |contender: Contender| {
        let values = values(summary::find(tables, scenario, contender)?)?;
        Some(Group { name: contender.name(), color: contender.color(), values })
    };
    Contender::compared().filter_map(group).collect()
}
