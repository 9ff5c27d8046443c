//! The results of a comparison as Markdown: all contenders side by side, the plots, the details.

use std::fmt::Write;

use crate::contender::Contender;
use crate::plots::Plot;
use crate::scale;
use crate::scenario::{Figure, Scenario, Work};
use crate::summary::{self, Ratios, Row, Table};
use crate::text::{bytes, short};
use crate::turns::{self, Outcome};

/// Everything below the conditions. `plots` says where the plots are, as the document links them.
pub(crate) fn write_results(
    tables: &[Table],
    turns: &[Outcome],
    drawn: &[Plot],
    plots: &str,
) -> String {
    let mut out = String::new();
    let shown = shown(tables);
    out += &side_by_side(tables, &shown);
    out += &ratios(&shown);
    out += "\n### One call at a time, in turns\n\n";
    out += &turns::write_table(turns);
    for Plot { file, shows, .. } in drawn {
        add(&mut out, format_args!("\n![{shows}]({plots}/{file})\n"));
    }
    out += "\n### How costs grow\n\n";
    out += &scale::write_table(tables);
    out += "\n### Every scenario\n\n";
    out += "Latencies in µs, CPU in µs per call, ratios to the raw loop of the same round.\n";
    for table in tables {
        out += &details(table);
    }
    out
}

/// All but those of the scale table: those that add by their size, the others as they are listed.
fn shown(tables: &[Table]) -> Vec<&Table> {
    let is_scale = |table: &&Table| Scenario::SCALE.contains(&table.scenario);
    let mut shown: Vec<_> = tables.iter().filter(|table| !is_scale(table)).collect();
    shown.sort_by_key(|Table { scenario, .. }| match scenario.work {
        Work::Add => (0, scenario.connections, scenario.in_flight),
        Work::Echo { .. } | Work::Connect | Work::Idle => (1, 0, 0),
    });
    shown
}

/// A row for each scenario, a column for each contender.
fn side_by_side(tables: &[Table], shown: &[&Table]) -> String {
    let took_part = |contender: &Contender| {
        shown.iter().any(|table| table.rows.iter().any(|row| row.contender == *contender))
    };
    let contenders: Vec<_> = Contender::compared().filter(took_part).collect();
    let mut out = String::from("| |");
    for contender in &contenders {
        add(&mut out, format_args!(" {} |", contender.name()));
    }
    add(&mut out, format_args!("\n|---|{}\n", "---:|".repeat(contenders.len())));
    let mut line = |label: &str, cell: &dyn Fn(Contender) -> Option<f64>| {
        add(&mut out, format_args!("| {label} |"));
        for &contender in &contenders {
            let cell = cell(contender).map(short).unwrap_or_default();
            add(&mut out, format_args!(" {} |", emphasize(contender, &cell)));
        }
        out.push('\n');
    };
    for table in shown {
        let row = |contender| table.rows.iter().find(|row| row.contender == contender);
        line(&label(table.scenario), &|contender| row(contender).map(|row| row.figure));
    }
    let cpu = |contender| summary::find(tables, "1x64", contender).map(|row| row.both_cpu);
    line("1 connection × 64, CPU of both sides per call, µs", &cpu);
    out
}

/// How far ours is from the raw loops, and from the best of the others.
fn ratios(shown: &[&Table]) -> String {
    let mut out = String::from(
        "\nRatios within a round: the median, and the range over the rounds.\n\n\
         | | ours ÷ raw loop | ours over UDP ÷ raw loop | ours ÷ best peer | better is |\n\
         |---|---|---|---|---|\n",
    );
    for table in shown {
        let to_limit = |contender| {
            let row = table.rows.iter().find(|row| row.contender == contender);
            row.map(|row| with_range(&row.ratios)).unwrap_or_default()
        };
        add(
            &mut out,
            format_args!(
                "| {} | {} | {} | {} | {} |\n",
                label(table.scenario),
                to_limit(Contender::Ours),
                to_limit(Contender::OursUdp),
                with_range(&table.ratios_to_best_peer()),
                if table.scenario.figure().lower_is_better() { "lower" } else { "higher" },
            ),
        );
    }
    out
}

fn with_range(ratios: &Ratios) -> String {
    match (ratios.median(), ratios.range()) {
        (Some(median), Some((from, to))) => format!("**{median:.2}** ({from:.2} to {to:.2})"),
        _ => String::new(),
    }
}

/// Ours are what readers look for.
fn emphasize(contender: Contender, cell: &str) -> String {
    let ours = matches!(contender, Contender::Ours | Contender::OursUdp);
    if ours && !cell.is_empty() { format!("**{cell}**") } else { cell.to_owned() }
}

/// What a scenario is, and the unit of its figure.
fn label(scenario: Scenario) -> String {
    let Scenario { connections, in_flight, work, .. } = scenario;
    match work {
        Work::Add if scenario.is_ping_pong() => "1 call at a time, p50 in µs".to_owned(),
        Work::Add if connections == 1 => format!("1 connection × {in_flight}, calls/s"),
        Work::Add => format!("{connections} connections × {in_flight}, calls/s"),
        Work::Echo { bytes: size } => format!("echo {} × {in_flight}, MB/s", bytes(size)),
        Work::Connect => "connect and first call, p50 in µs".to_owned(),
        Work::Idle => "idle connection, KiB of the server".to_owned(),
    }
}

/// A folded table of all figures of a scenario.
fn details(Table { scenario, rows }: &Table) -> String {
    let has_figure = matches!(scenario.figure(), Figure::Throughput | Figure::Memory);
    let mut out = format!(
        "\n<details><summary><code>{}</code>: {}</summary>\n\n\
         | contender | p50 | p99 | p99.9 | calls/s | {} | client | server | both | ratio | range |\n\
         |---|{}\n",
        scenario.name,
        label(*scenario),
        if has_figure { "figure" } else { "" },
        "---:|".repeat(10),
    );
    let or_nothing = |figure: Option<f64>| figure.map(short).unwrap_or_default();
    for row in rows {
        let Row { contender, p50, p99, p999, rate, figure, .. } = row;
        add(
            &mut out,
            format_args!(
                "| {} | {} | {} | {} | {rate:.0} | {} | {:.2} | {:.2} | {:.2} | {} | {} |\n",
                contender.name(),
                or_nothing(*p50),
                or_nothing(*p99),
                or_nothing(*p999),
                or_nothing(has_figure.then_some(*figure)),
                row.client_cpu,
                row.server_cpu,
                row.both_cpu,
                row.ratios.median().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                row.ratios
                    .range()
                    .map(|(from, to)| format!("{from:.2} to {to:.2}"))
                    .unwrap_or_default(),
            ),
        );
    }
    out + "\n</details>\n"
}

fn add(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes all that is written");
}
