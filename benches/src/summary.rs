//! What the rounds come to: medians of each contender's figures, and ratios paired within a round.

use std::time::Duration;

use crate::contender::Contender;
use crate::driver::Measurement;
use crate::latency::Latency;
use crate::scenario::{Figure, Scenario, Work};

/// One contender under one scenario, over all rounds.
pub(crate) struct Row {
    pub(crate) contender: Contender,
    /// Percentiles in µs, where latency was recorded.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
    /// Calls per second.
    pub(crate) rate: f64,
    /// What the scenario compares contenders by, in its unit.
    pub(crate) figure: f64,
    /// The same, round by round.
    figures: Vec<(usize, f64)>,
    /// CPU µs per call.
    pub(crate) client_cpu: f64,
    pub(crate) server_cpu: f64,
    pub(crate) both_cpu: f64,
    /// This contender's figure over the limit's, round by round; empty without the limit.
    pub(crate) ratios: Ratios,
}

/// Ratios of the rounds.
#[derive(Debug, Default)]
pub(crate) struct Ratios(Vec<f64>);

/// All contenders that were measured under a scenario.
pub(crate) struct Table {
    pub(crate) scenario: Scenario,
    pub(crate) rows: Vec<Row>,
}

/// A table for each scenario that was measured, in the order in which both are listed.
pub(crate) fn tables(measurements: &[Measurement]) -> Vec<Table> {
    let mut tables = Vec::new();
    for scenario in Scenario::all() {
        let measured: Vec<_> = measurements.iter().filter(|m| m.scenario == scenario).collect();
        let rows: Vec<_> = Contender::all().filter_map(|it| Row::new(it, &measured)).collect();
        if !rows.is_empty() {
            tables.push(Table { scenario, rows });
        }
    }
    tables
}

/// What one contender did under one scenario.
pub(crate) fn find<'a>(
    tables: &'a [Table],
    scenario: &str,
    contender: Contender,
) -> Option<&'a Row> {
    let table = tables.iter().find(|table| table.scenario.name == scenario)?;
    table.rows.iter().find(|row| row.contender == contender)
}

impl Row {
    fn new(contender: Contender, measured: &[&Measurement]) -> Option<Self> {
        let own: Vec<_> = measured.iter().filter(|m| m.contender == contender).collect();
        let over_rounds =
            |figure: fn(&Measurement) -> f64| median(own.iter().map(|m| figure(m)).collect());
        let percentile = |pick: fn(Latency) -> Duration| {
            let recorded = own.iter().filter_map(|m| m.client.latency);
            median(recorded.map(|latency| micros(pick(latency))).collect())
        };
        Some(Self {
            contender,
            p50: percentile(|latency| latency.p50),
            p99: percentile(|latency| latency.p99),
            p999: percentile(|latency| latency.p999),
            rate: over_rounds(rate)?,
            figure: over_rounds(compared_figure)?,
            figures: own.iter().map(|m| (m.round, compared_figure(m))).collect(),
            client_cpu: over_rounds(|m| per_call(m, m.client.cpu))?,
            server_cpu: over_rounds(|m| per_call(m, m.server_cpu))?,
            both_cpu: over_rounds(|m| per_call(m, m.client.cpu + m.server_cpu))?,
            ratios: Ratios(own.iter().filter_map(|m| ratio_to_limit(m, measured)).collect()),
        })
    }
}

impl Table {
    /// The ratios of ours to whichever peer was best in the same round.
    pub(crate) fn ratios_to_best_peer(&self) -> Ratios {
        let Some(ours) = self.rows.iter().find(|row| row.contender == Contender::Ours) else {
            return Ratios::default();
        };
        let best = |round: usize| {
            let peers = self.rows.iter().filter(|row| row.contender.is_peer());
            let figures = peers.flat_map(|row| &row.figures).filter(|(of, _)| *of == round);
            let figures = figures.map(|(_, figure)| *figure);
            let lower = self.scenario.figure().lower_is_better();
            figures.reduce(if lower { f64::min } else { f64::max })
        };
        let ratio = |&(round, figure): &(usize, f64)| Some(figure / best(round)?);
        Ratios(ours.figures.iter().filter_map(ratio).collect())
    }
}

impl Ratios {
    pub(crate) fn median(&self) -> Option<f64> {
        median(self.0.clone())
    }

    /// The lowest and the highest of any round.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        let lowest = self.0.iter().copied().reduce(f64::min)?;
        let highest = self.0.iter().copied().reduce(f64::max)?;
        Some((lowest, highest))
    }
}

/// The figure that the scenario compares, over the limit's in the same round.
fn ratio_to_limit(measurement: &Measurement, measured: &[&Measurement]) -> Option<f64> {
    let limit = measurement.contender.limit(measurement.scenario);
    let is_pair = |m: &&&Measurement| m.round == measurement.round && m.contender == limit;
    Some(compared_figure(measurement) / compared_figure(measured.iter().find(is_pair)?))
}

fn compared_figure(measurement: &Measurement) -> f64 {
    let Measurement { scenario, client, .. } = measurement;
    match scenario.figure() {
        Figure::Latency => client.latency.map_or(f64::NAN, |latency| micros(latency.p50)),
        Figure::Rate => rate(measurement),
        Figure::Throughput => match scenario.work {
            Work::Echo { bytes } => rate(measurement) * bytes as f64 / 1e6,
            Work::Add | Work::Connect | Work::Idle => f64::NAN,
        },
        Figure::Memory => measurement.server_grew_kib as f64 / client.calls as f64,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;

    fn measurement(round: usize, contender: Contender, calls: u64) -> Measurement {
        let scenario = "1x64".parse().expect("a scenario");
        let second = Duration::from_secs(1);
        let client = Sample { calls, elapsed: second, cpu: second / 2, latency: None };
        let (server_cpu, server_grew_kib) = (second / 4, 0);
        Measurement { round, scenario, contender, client, server_cpu, server_grew_kib }
    }

    #[test]
    fn ratios_are_paired_within_a_round() {
        let measured = [
            measurement(1, Contender::RawMux, 100),
            measurement(1, Contender::Ours, 50),
            measurement(2, Contender::RawMux, 1000),
            measurement(2, Contender::Ours, 800),
        ];
        let tables = tables(&measured);
        let row = find(&tables, "1x64", Contender::Ours).expect("it was measured");
        assert!(find(&tables, "1x64", Contender::RawPp).is_none());
        assert_eq!(row.ratios.0, [0.5, 0.8]);
        assert_eq!((row.rate, row.figure), (425.0, 425.0));
    }

    #[cfg(feature = "peers")]
    #[test]
    fn the_best_peer_is_that_of_each_round() {
        let measured = [
            measurement(1, Contender::Tarpc, 10),
            measurement(1, Contender::Tonic, 20),
            measurement(1, Contender::Ours, 100),
            measurement(2, Contender::Tarpc, 40),
            measurement(2, Contender::Tonic, 20),
            measurement(2, Contender::Ours, 120),
        ];
        let [table] = &tables(&measured)[..] else { panic!("one scenario was measured") };
        assert_eq!(table.ratios_to_best_peer().range(), Some((3.0, 5.0)));
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
