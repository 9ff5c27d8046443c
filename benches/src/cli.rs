//! The command line: one driver and the two roles it starts.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use crate::compare;
use crate::contender::Contender;
use crate::driver::{Pairs, Plan};
use crate::harness::Load;
use crate::publish::Destination;
use crate::scale;
use crate::scenario::Scenario;

const USAGE: &str = "\
compare [run] [OPTIONS]
compare compare [OPTIONS] [--write-to FILE]
compare quick [OPTIONS] [--write-to FILE]
compare scale [OPTIONS]
compare turns [--seconds S] [--no-awake]
compare serve CONTENDER [--addr ADDR] [--core N]
compare load CONTENDER --addr ADDR --scenario NAME [--seconds S] [--core N]
compare spin [--core N]

run      starts server and client processes by itself and prints the comparison (default)
compare  every scenario, the scale table and plots, into target/compare, or between the markers of
         a document, with the plots in benches/plots beside it
quick    the same in less than five minutes
scale    what calls cost as connections, calls in flight, methods and payloads grow
turns    one call at a time, a raw loop and ours in turns, so that the machine is the same for both
serve    prints its address, then for every line of input its CPU nanoseconds and KiB; ends with
         its input
load     prints `begin` when it is warm, then one line of figures
spin     keeps a core from halting; ends with its input

options: --rounds N, --seconds S (of each measurement), --scenario NAME and --contender NAME (only
         what is named; both may be repeated), --awake and --no-awake (whether to keep the cores
         from halting; `run` doesn't unless it is told to)
";

const DEFAULT_ROUNDS: NonZeroUsize = NonZeroUsize::new(5).expect("five is not zero");
const DEFAULT_TIME: Duration = Duration::from_secs(1);

const QUICK_ROUNDS: NonZeroUsize = NonZeroUsize::new(2).expect("two is not zero");
const QUICK_TIME: Duration = Duration::from_millis(200);

const TURNS_TIME: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Run { plan: Plan, awake: bool },
    Compare { plan: Plan, awake: bool, destination: Destination },
    Scale { plan: Plan, awake: bool },
    Turns { time: Duration, awake: bool },
    Spin { core: Option<usize> },
    Serve { contender: Contender, addr: SocketAddr, core: Option<usize> },
    Load { contender: Contender, load: Load, core: Option<usize> },
}

/// Every option of every subcommand, as far as given.
#[derive(Default)]
struct Options {
    words: Vec<String>,
    help: bool,
    rounds: Option<NonZeroUsize>,
    time: Option<Duration>,
    scenarios: Vec<Scenario>,
    contenders: Vec<Contender>,
    addr: Option<SocketAddr>,
    core: Option<usize>,
    awake: Option<bool>,
    write_to: Option<PathBuf>,
}

/// The commands, and the names they take.
pub(crate) fn help() -> String {
    let contenders: Vec<_> = Contender::all().map(Contender::name).collect();
    let scenarios: Vec<_> = Scenario::all().map(|scenario| scenario.name).collect();
    let [contenders, scenarios] = [contenders, scenarios].map(|names| names.join(" "));
    format!("{USAGE}\ncontenders: {contenders}\nscenarios:  {scenarios}")
}

pub(crate) fn parse() -> Result<Command, lexopt::Error> {
    read_options(Parser::from_env())?.into_command()
}

fn read_options(mut parser: Parser) -> Result<Options, lexopt::Error> {
    let mut options = Options::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => options.help = true,
            Arg::Long("rounds") => options.rounds = Some(parser.value()?.parse()?),
            Arg::Long("seconds") => {
                options.time = Some(parser.value()?.parse_with(|text| {
                    let seconds = text.parse().map_err(|_| "not a number")?;
                    Duration::try_from_secs_f64(seconds).map_err(|_| "not a length of time")
                })?);
            }
            Arg::Long("scenario") => options.scenarios.push(parser.value()?.parse()?),
            Arg::Long("contender") => options.contenders.push(parser.value()?.parse()?),
            Arg::Long("addr") => options.addr = Some(parser.value()?.parse()?),
            Arg::Long("core") => options.core = Some(parser.value()?.parse()?),
            Arg::Long("awake") => options.awake = Some(true),
            Arg::Long("no-awake") => options.awake = Some(false),
            Arg::Long("write-to") => options.write_to = Some(parser.value()?.into()),
            Arg::Value(word) => options.words.push(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

impl Options {
    fn into_command(self) -> Result<Command, lexopt::Error> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        match words[..] {
            _ if self.help => Ok(Command::Help),
            [] | ["run"] => {
                let awake = self.awake.unwrap_or(false);
                Ok(Command::Run { plan: self.into_plan(named), awake })
            }
            ["compare"] => Ok(self.into_compare(DEFAULT_ROUNDS, DEFAULT_TIME)),
            ["quick"] => Ok(self.into_compare(QUICK_ROUNDS, QUICK_TIME)),
            ["scale"] => {
                let awake = self.awake.unwrap_or(true);
                Ok(Command::Scale { plan: self.into_plan(of_scale), awake })
            }
            ["turns"] => Ok(Command::Turns {
                time: self.time.unwrap_or(TURNS_TIME),
                awake: self.awake.unwrap_or(true),
            }),
            ["spin"] => Ok(Command::Spin { core: self.core }),
            ["serve", contender] => Ok(Command::Serve {
                contender: contender.parse()?,
                addr: self.addr.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
                core: self.core,
            }),
            ["load", contender] => Ok(Command::Load {
                contender: contender.parse()?,
                core: self.core,
                load: Load {
                    addr: self.addr.ok_or("load needs --addr")?,
                    scenario: *self.scenarios.first().ok_or("load needs --scenario")?,
                    time: self.time.unwrap_or(DEFAULT_TIME),
                },
            }),
            _ => Err(format!("no such command: {}; try --help", words.join(" ")).into()),
        }
    }

    fn into_compare(self, rounds: NonZeroUsize, time: Duration) -> Command {
        let mut plan = compare::plan(self.rounds.unwrap_or(rounds), self.time.unwrap_or(time));
        plan.pairs = of_named(plan.pairs, &self.scenarios, &self.contenders);
        let awake = self.awake.unwrap_or(true);
        Command::Compare { plan, awake, destination: Destination::new(self.write_to) }
    }

    fn into_plan(self, pairs: fn(Vec<Scenario>, Vec<Contender>) -> Pairs) -> Plan {
        Plan {
            rounds: self.rounds.unwrap_or(DEFAULT_ROUNDS),
            time: self.time.unwrap_or(DEFAULT_TIME),
            pairs: pairs(self.scenarios, self.contenders),
        }
    }
}

/// Those that were named, or the basic ones.
fn named(scenarios: Vec<Scenario>, contenders: Vec<Contender>) -> Pairs {
    let contenders = or_all(contenders, Contender::compared());
    Plan::pairs(or_all(scenarios, Scenario::BASIC), &contenders)
}

/// Those of the scale table, or what is named of them.
fn of_scale(scenarios: Vec<Scenario>, contenders: Vec<Contender>) -> Pairs {
    of_named(scale::pairs(), &scenarios, &contenders)
}

/// What is left when some are named.
fn of_named(mut pairs: Pairs, scenarios: &[Scenario], contenders: &[Contender]) -> Pairs {
    pairs.retain(|(scenario, contender)| {
        (scenarios.is_empty() || scenarios.contains(scenario))
            && (contenders.is_empty() || contenders.contains(contender))
    });
    pairs
}

fn or_all<T>(chosen: Vec<T>, all: impl IntoIterator<Item = T>) -> Vec<T> {
    if chosen.is_empty() { all.into_iter().collect() } else { chosen }
}
