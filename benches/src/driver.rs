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
use crate::sample::Sample;
use crate::scenario::Scenario;
use crate::usage::Usage;

pub(crate) type Pairs = Vec<(Scenario, Contender)>;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: NonZeroUsize,
    pub(crate) time: Duration,
    /// What a round measures, in this order.
    pub(crate) pairs: Pairs,
}

impl Plan {
    /// An error if something was left out.
    pub(crate) fn check_complete(&self, measurements: &[Measurement]) -> io::Result<()> {
        match self.pairs.len() * self.rounds.get() - measurements.len() {
            0 => Ok(()),
            count => Err(io::Error::other(format!("{count} measurements failed, see above"))),
        }
    }

    /// Each of the contenders under each of the scenarios that it takes.
    pub(crate) fn pairs(
        scenarios: impl IntoIterator<Item = Scenario>,
        contenders: &[Contender],
    ) -> Pairs {
        let mut pairs = Vec::new();
        for scenario in scenarios {
            let takers = contenders.iter().filter(|contender| contender.takes(scenario));
            pairs.extend(takers.map(|&contender| (scenario, contender)));
        }
        pairs
    }
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
    /// What the server's resident memory grew by meanwhile.
    pub(crate) server_grew_kib: u64,
}

/// The cores to measure on, ready for it.
pub(crate) struct Machine {
    pub(crate) cores: Option<[usize; 2]>,
    pub(crate) awake: Awake,
}

impl Machine {
    /// Keeps the cores from halting until this is dropped, if it is asked to and can.
    pub(crate) fn prepare(awake: bool) -> Self {
        let cores = cpu::first_two();
        Self { cores, awake: Awake::start(awake, cores) }
    }

    /// Measures all of a plan. What fails is said and left out: it should not cost the others.
    pub(crate) fn run(&self, plan: &Plan) -> Vec<Measurement> {
        let mut measurements = Vec::new();
        for round in 1..=plan.rounds.get() {
            for &(scenario, contender) in &plan.pairs {
                eprintln!("round {round}/{}: {} {}", plan.rounds, scenario.name, contender.name());
                match self.measure(round, contender, scenario, plan.time) {
                    Ok(measurement) => measurements.push(measurement),
                    Err(error) => eprintln!("left out: {error}"),
                }
            }
        }
        measurements
    }

    fn measure(
        &self,
        round: usize,
        contender: Contender,
        scenario: Scenario,
        time: Duration,
    ) -> io::Result<Measurement> {
        let [server_core, client_core] = self.cores.map_or([None; 2], |cores| cores.map(Some));
        let mut server = Process::start(&["serve", contender.name()], server_core)?;
        let addr = server.read::<SocketAddr>()?.to_string();

        let seconds = time.as_secs_f64().to_string();
        let load = ["--addr", &addr, "--scenario", scenario.name, "--seconds", &seconds];
        let load = [&["load", contender.name()], &load[..]].concat();
        let mut client = Process::start(&load, client_core)?;
        let announced: String = client.read()?;
        assert_eq!(announced, BEGIN, "what the client prints first");
        let before: Usage = server.ask()?;
        let sample = client.read()?;
        let after: Usage = server.ask()?;
        Ok(Measurement {
            round,
            scenario,
            contender,
            client: sample,
            server_cpu: after.cpu - before.cpu,
            server_grew_kib: after.memory_kib.saturating_sub(before.memory_kib),
        })
    }
}
