//! The full comparison: every scenario, the scale table and the plots, written to a document.

use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::conditions;
use crate::contender::Contender;
use crate::driver::{Machine, Plan};
use crate::markdown;
use crate::plots;
use crate::publish::Destination;
use crate::report;
use crate::scale;
use crate::scenario::{Scenario, Work};
use crate::summary;
use crate::turns;

/// Everything: some twenty minutes with five rounds of a second.
pub(crate) fn plan(rounds: NonZeroUsize, time: Duration) -> Plan {
    let compared: Vec<_> = Contender::compared().collect();
    // All contenders move payloads of all sizes: the plot is about those.
    let echoes = Scenario::SCALE.into_iter().filter(|it| matches!(it.work, Work::Echo { .. }));
    let scenarios = Scenario::BASIC.into_iter().chain(Scenario::FURTHER).chain(echoes);
    let mut pairs = Plan::pairs(scenarios, &compared);
    let further: Vec<_> = scale::pairs().into_iter().filter(|pair| !pairs.contains(pair)).collect();
    pairs.extend(further);
    Plan { rounds, time, pairs }
}

pub(crate) fn run(plan: &Plan, awake: bool, destination: &Destination) -> io::Result<()> {
    destination.check()?;
    let machine = Machine::prepare(awake);
    report::print_head(plan, &machine);
    let conditions = conditions::describe_at_length(&machine, plan);
    let measurements = machine.run(plan);
    report::print_tables(&measurements);
    let tables = summary::tables(&measurements);
    let drawn = plots::draw_all(&tables);
    let turns =
        turns::measure(&machine, plan.time * u32::try_from(plan.rounds.get()).unwrap_or(1))?;
    let results = markdown::write_results(&tables, &turns, &drawn, destination.plots());
    destination.write(&[conditions, results].join("\n"), &drawn)?;
    plan.check_complete(&measurements)
}

/// The scale table alone, on standard output.
pub(crate) fn run_scale(plan: &Plan, awake: bool) -> io::Result<()> {
    let machine = Machine::prepare(awake);
    report::print_head(plan, &machine);
    let measurements = machine.run(plan);
    println!("\n{}", scale::write_table(&summary::tables(&measurements)));
    plan.check_complete(&measurements)
}
