//! The report: medians over the rounds, and ratios paired within a round.

use std::fmt;
use std::fs;
use std::time::Duration;

use crate::awake::Awake;
use crate::contender::Contender;
use crate::driver::{Measurement, Plan};
use crate::sample::Latency;
use crate::scenario::Scenario;

/// What the figures depend on: the machine, its load, kernel settings, the plan.
pub(crate) fn conditions(plan: &Plan, cores: Option<[usize; 2]>, awake: &Awake) -> String {
    let pinning = match cores {
        Some([server, client]) => format!("server on core {server}, client on core {client}"),
        None => "\n*** NOT PINNED: no two cores to pin to; the figures mean little ***".to_owned(),
    };
    format!(
        "{}; {pinning}; {}\n\
         load average {}; TCP congestion control {}\n\
         medians of {} rounds of {:?}; client, server, both: CPU µs per call",
        kernel_line("/proc/cpuinfo", "model name\t: "),
        awake.describe(),
        kernel_line("/proc/loadavg", ""),
        kernel_line("/proc/sys/net/ipv4/tcp_congestion_control", ""),
        plan.rounds,
        plan.time,
    )
}

/// What follows `prefix` on the first line that has it, in a file that the kernel shows.
fn kernel_line(path: &str, prefix: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix(prefix));
    found.unwrap_or("unknown").to_owned()
}

/// One contender under one scenario, over all rounds.
struct Row {
    contender: Contender,
    p50: Option<f64>,
    p99: Option<f64>,
    rate: f64,
    client_cpu: f64,
    server_cpu: f64,
    both_cpu: f64,
    /// This contender's figure over the limit's, round by round; empty without the limit.
    ratios: Vec<f64>,
}

pub(crate) fn print_tables(plan: &Plan, measurements: &[Measurement]) {
    for &scenario in &plan.scenarios {
        print_title(scenario);
        let measured: Vec<_> = measurements.iter().filter(|m| m.scenario == scenario).collect();
        for &contender in plan.contenders.iter().filter(|c| c.takes(scenario)) {
            println!("{}", Row::new(contender, &measured));
        }
    }
}

fn print_title(scenario: Scenario) {
    let Scenario { name, connections, in_flight } = scenario;
    let limits = [Contender::Ours, Contender::OursUdp].map(|it| it.limit(scenario).name());
    let limits = limits.join("'s or ");
    let ratio = if scenario.is_ping_pong() {
        format!("p50 ÷ {limits}'s, lower is better")
    } else {
        format!("calls/s ÷ {limits}'s, higher is better")
    };
    println!("\n{name}: connections {connections}, in flight on each {in_flight}; ratio: {ratio}");
    println!(
        "  {:<10}{:>8}{:>8}{:>11}{:>9}{:>9}{:>9}{:>8}   range",
        "contender", "p50 µs", "p99 µs", "calls/s", "client", "server", "both", "ratio",
    );
}

impl Row {
    fn new(contender: Contender, measured: &[&Measurement]) -> Self {
        let own: Vec<_> = measured.iter().filter(|m| m.contender == contender).collect();
        let over_rounds = |figure: fn(&Measurement) -> f64| {
            median(own.iter().map(|m| figure(m)).collect()).unwrap_or(f64::NAN)
        };
        let percentile = |pick: fn(Latency) -> Duration| {
            let recorded = own.iter().filter_map(|m| m.client.latency);
            median(recorded.map(|latency| micros(pick(latency))).collect())
        };
        Self {
            contender,
            p50: percentile(|latency| latency.p50),
            p99: percentile(|latency| latency.p99),
            rate: over_rounds(rate),
            client_cpu: over_rounds(|m| per_call(m, m.client.cpu)),
            server_cpu: over_rounds(|m| per_call(m, m.server_cpu)),
            both_cpu: over_rounds(|m| per_call(m, m.client.cpu + m.server_cpu)),
            ratios: own.iter().filter_map(|m| ratio_to_limit(m, measured)).collect(),
        }
    }
}

/// The figure that the scenario compares, over the limit's in the same round.
fn ratio_to_limit(measurement: &Measurement, measured: &[&Measurement]) -> Option<f64> {
    let limit = measurement.contender.limit(measurement.scenario);
    let is_pair = |m: &&&Measurement| m.round == measurement.round && m.contender == limit;
    Some(compared_figure(measurement) / compared_figure(measured.iter().find(is_pair)?))
}

fn compared_figure(measurement: &Measurement) -> f64 {
    match measurement.client.latency {
        Some(latency) => micros(latency.p50),
        None => rate(measurement),
    }
}

fn rate(measurement: &Measurement) -> f64 {
    measurement.client.calls as f64 / measurement.client.elapsed.as_secs_f64()
}

fn per_call(measurement: &Measurement, cpu: Duration) -> f64 {
    micros(cpu) / measurement.client.calls as f64
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let upper = *figures.get(figures.len() / 2)?;
    let lower = figures[(figures.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_dash = |figure: Option<f64>, decimals| match figure {
            Some(figure) => format!("{figure:.decimals$}"),
            None => "-".to_owned(),
        };
        write!(
            f,
            "  {:<10}{:>8}{:>8}{:>11.0}{:>9.2}{:>9.2}{:>9.2}{:>8}",
            self.contender.name(),
            or_dash(self.p50, 1),
            or_dash(self.p99, 1),
            self.rate,
            self.client_cpu,
            self.server_cpu,
            self.both_cpu,
            or_dash(median(self.ratios.clone()), 2),
        )?;
        let lowest = self.ratios.iter().copied().reduce(f64::min);
        let highest = self.ratios.iter().copied().reduce(f64::max);
        write!(f, "   {} to {}", or_dash(lowest, 2), or_dash(highest, 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;

    fn measurement(round: usize, contender: Contender, calls: u64) -> Measurement {
        let scenario = Scenario { name: "1x64", connections: 1, in_flight: 64 };
        let second = Duration::from_secs(1);
        let client = Sample { calls, elapsed: second, cpu: second / 2, latency: None };
        Measurement { round, scenario, contender, client, server_cpu: second / 4 }
    }

    #[test]
    fn ratios_are_paired_within_a_round() {
        let measured = [
            measurement(1, Contender::RawMux, 100),
            measurement(1, Contender::RawPp, 50),
            measurement(2, Contender::RawMux, 1000),
            measurement(2, Contender::RawPp, 800),
        ];
        let row = Row::new(Contender::RawPp, &measured.iter().collect::<Vec<_>>());
        assert_eq!(row.ratios, [0.5, 0.8]);
        assert_eq!(row.rate, 425.0);
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
