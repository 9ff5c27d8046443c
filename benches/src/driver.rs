//! The driver: interleaved rounds, each measurement with a server and a client of its own.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::awake::Awake;
use crate::contender::Contender;
use crate::cpu;
use crate::harness::BEGIN;
use crate::process::Process;
use crate::report;
use crate::sample::Sample;
use crate::scenario::Scenario;

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: NonZeroUsize,
    pub(crate) time: Duration,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) contenders: Vec<Contender>,
    /// Whether to keep the cores from halting.
    pub(crate) awake: bool,
}

/// One contender under one scenario in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement {
    pub(crate) round: usize,
    pub(crate) scenario: Scenario,
    pub(crate) contender: Contender,
    pub(crate) client: Sample,
    /// CPU time of the server process while the client measured.
    pub(crate) server_cpu: Duration,
}

pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let cores = cpu::first_two();
    let awake = Awake::start(plan.awake, cores);
    println!("{}", report::conditions(plan, cores, &awake));
    let mut measurements = Vec::new();
    for round in 1..=plan.rounds.get() {
        for &scenario in &plan.scenarios {
            for &contender in plan.contenders.iter().filter(|c| c.takes(scenario)) {
                eprintln!("round {round}/{}: {} {}", plan.rounds, scenario.name, contender.name());
                let (client, server_cpu) = measure(contender, scenario, plan.time, cores)?;
                measurements.push(Measurement { round, scenario, contender, client, server_cpu });
            }
        }
    }
    report::print_tables(plan, &measurements);
    Ok(())
}

/// The client's sample, and the server's CPU time over the same calls.
fn measure(
    contender: Contender,
    scenario: Scenario,
    time: Duration,
    cores: Option<[usize; 2]>,
) -> io::Result<(Sample, Duration)> {
    let [server_core, client_core] = cores.map_or([None; 2], |cores| cores.map(Some));
    let contender = contender.name();
    let mut server = Process::start(&["serve", contender], server_core)?;
    let addr = server.read::<SocketAddr>()?.to_string();

    let seconds = time.as_secs_f64().to_string();
    let load = ["--addr", &addr, "--scenario", scenario.name, "--seconds", &seconds];
    let mut client = Process::start(&[&["load", contender], &load[..]].concat(), client_core)?;
    let announced: String = client.read()?;
    assert_eq!(announced, BEGIN, "what the client prints first");
    let server_cpu_before: u64 = server.ask()?;
    let sample = client.read()?;
    let server_cpu = server.ask::<u64>()? - server_cpu_before;
    Ok((sample, Duration::from_nanos(server_cpu)))
}
