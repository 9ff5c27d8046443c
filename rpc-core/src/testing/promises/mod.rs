//! The promises kit: do calls over a transport keep what they promise, whatever happens to them?
//!
//! It makes calls of every sort to servers that are restarted, dropped and drained, cancels some at
//! any moment, lets connections die where the transport can, and keeps a **ledger**: handlers write
//! what they ran, callers what they were told. Then the books have to balance, and nothing may be
//! left: no call, no handler, no connection, no task, no byte.
//!
//! Any transport runs it in a few lines, over its own listener and connector:
//!
//! ```
//! use std::io;
//!
//! use rpc_core::{
//!     testing::promises::{Kit, Network},
//!     transport::{Address, Connector, Listener, memory as transport},
//! };
//!
//! struct Local;
//!
//! impl Network for Local {
//!     async fn listen(&self, again: Option<&Address>) -> io::Result<impl Listener> {
//!         transport::listen(again.map_or("local:0".to_owned(), ToString::to_string)).await
//!     }
//!     fn connector(&self, to: &Address) -> impl Connector {
//!         transport::connector(to)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! println!("{}", Kit::new().seeds(20).run(|_seed| Local).await);
//! # }
//! ```
//!
//! A promise that is broken makes [`run`] panic with the [`Promise`], what was found, the seed, and
//! the command that replays it:
//!
//! ```text
//! a call broke the promise "not sent": a call that says so never ran
//!   found:  call 17: its handler ran
//!   told:   connection lost, NotSent, after 3ms: Promises.Left.plain: connection lost ..
//!   ran:    began 1 times: 1 finished, 0 panicked, 0 stopped
//!   call:   CallPlan { channel: 0, service: 0, shape: Echo, bytes: [10, 20], .. }
//!   seed:   42, of Kit::new()
//!   replay: RPC_SEED=42 cargo test -p my-transport promises
//! ```
//!
//! # Seeds
//! All that is done follows from a seed; what comes of it, from the transport as well. Where that
//! depends on nothing but its seed, on one thread and in paused time, a seed does the same each time.
//! `RPC_SEEDS=n` in the environment tries so many seeds instead of [`Kit::seeds`]; `RPC_SEED=x`
//! tries that one alone, and prints what it does.
//!
//! # What it needs
//! Tokio, with time enabled, on either kind of runtime. In tests with paused time thousands of seeds
//! take seconds; transports over real sockets need real time, some 100 ms a seed. It counts the
//! runtime's tasks, so nothing else may start any there meanwhile.
//!
//! The map of this directory: `network` is what a transport brings, `plan` is what a seed makes
//! happen, `sessions` are plans that no seed makes, `run` carries a plan out, `service` has the handlers
//! and callers, `flow` their streams, `ledger` what they wrote and the verdict.

mod flow;
mod ledger;
mod network;
mod plan;
mod run;
mod service;
mod sessions;

use std::{collections::BTreeMap, env, fmt, thread, time::Duration};

pub use network::{Memory, Network};

use self::plan::Plan;
use super::{checkout, in_time};

/// How many seeds are tried, unless told otherwise.
const SEEDS: u64 = 100;

/// Bytes of a large message, unless told otherwise: more than two frames of any stream.
const LARGE_BYTES: usize = 150_000;

/// How long calls may take that say nothing about it: longer than what is left of a call may take
/// to go away, so that a handler that nobody stops isn't taken for one that its deadline stopped.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How long one seed may take: longer than everything in it that has a limit of its own.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs the kit with its usual settings. `network` makes a network for each seed.
///
/// # Panics
/// A promise is broken.
///
/// # Cancel safety
/// Dropping the future drops everything that runs.
pub async fn run<N: Network>(network: impl Fn(u64) -> N) -> Tally {
    Kit::new().run(network).await
}

/// The kit, with settings.
#[derive(Debug, Clone)]
pub struct Kit {
    seeds: u64,
    share: (u64, u64),
    large_bytes: usize,
    session: Option<usize>,
    late: Duration,
    left: Option<Duration>,
}

impl Default for Kit {
    fn default() -> Self {
        Self {
            seeds: SEEDS,
            share: (0, 1),
            large_bytes: LARGE_BYTES,
            session: None,
            late: ledger::LATE,
            left: None,
        }
    }
}

impl Kit {
    /// 100 seeds, large messages of 150,000 bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many seeds to try, from 0 on. Default: 100. `RPC_SEEDS` in the environment comes first.
    #[must_use]
    pub fn seeds(self, seeds: u64) -> Self {
        Self { seeds, ..self }
    }

    /// Only every `of`-th seed is tried, from `first` on, which is less than `of`: so that kits can run at
    /// the same time, each in a runtime and a thread of its own, and share the seeds. Default: all of them.
    #[must_use]
    pub fn share(self, first: u64, of: u64) -> Self {
        Self { share: (first, of.max(1)), ..self }
    }

    /// About how many bytes a large message has: several frames of the transport. Default: 150,000.
    #[must_use]
    pub fn large_bytes(self, bytes: usize) -> Self {
        Self { large_bytes: bytes.max(100), ..self }
    }

    /// Every seed does the same: a short session on one connection, with one call of each sort. For
    /// networks that do something else for each seed, such as cutting the session at another byte.
    /// `RPC_SEEDS` has no effect.
    #[must_use]
    pub fn session(self) -> Self {
        self.nth_session(0)
    }

    /// The same with another session: there are [`SESSIONS`](Self::SESSIONS), each with another mix of
    /// calls. To be replayed, those but the first have to be chosen by `RPC_SESSION=n` in the
    /// environment; reading that is the test's business.
    #[must_use]
    pub fn nth_session(self, number: usize) -> Self {
        Self { session: Some(number), ..self }
    }

    /// How many sessions there are.
    pub const SESSIONS: usize = sessions::SESSIONS;

    /// For paused time: calls end within 10 ms of their deadlines, and nothing is left of a call 10 ms
    /// after all have ended. Else either may take five seconds, in which timers help out where somebody
    /// wasn't woken.
    #[must_use]
    pub fn prompt(self) -> Self {
        Self { left: Some(Duration::from_millis(10)), ..self.punctual() }
    }

    /// For paused time: calls end within 10 ms of their deadlines. What is left of them may need as long as
    /// the network's [`patience`](Network::patience), for a peer that was lost learns nothing of their end.
    #[must_use]
    pub fn punctual(self) -> Self {
        Self { late: Duration::from_millis(10), ..self }
    }

    /// Tries the seeds. `network` makes a network for each. Returns what happened, to be printed.
    ///
    /// # Panics
    /// A promise is broken.
    ///
    /// # Cancel safety
    /// Dropping the future drops everything that runs.
    pub async fn run<N: Network>(&self, network: impl Fn(u64) -> N) -> Tally {
        let mut tally = Tally::default();
        let chosen = variable("RPC_SEED");
        let seeds = variable("RPC_SEEDS").filter(|_| self.session.is_none()).unwrap_or(self.seeds);
        let all = chosen.map_or(0..seeds, |seed| seed..seed.saturating_add(1));
        for seed in all.filter(|seed| self.is_mine(*seed)) {
            let plan = self.plan(seed);
            if chosen.is_some() {
                eprintln!("seed {seed}: {plan:#?}");
            }
            // What a program draws of its own, such as the pauses between attempts to connect.
            fastrand::seed(seed);
            let network = network(seed);
            let limit = LIMIT.max(4 * network.patience());
            let outcome = in_time(limit, Box::pin(run::run(&network, &plan))).await;
            let outcome = outcome
                .unwrap_or_else(|| Err(Promise::Ends.broken(format!("not done within {limit:?}"))));
            let outcome = outcome.and_then(|done| match network.objection() {
                Ok(()) => Ok(done),
                Err(found) => Err(Promise::Manners.broken(found)),
            });
            match outcome {
                Ok((calls, ends)) => tally.add(calls, ends),
                Err(broken) => panic!("{}", Report { seed, broken, kit: self }),
            }
        }
        tally
    }

    fn is_mine(&self, seed: u64) -> bool {
        let (first, of) = self.share;
        seed % of == first
    }

    fn plan(&self, seed: u64) -> Plan {
        let plan = match self.session {
            Some(number) => Plan::session(number, self.large_bytes),
            None => Plan::random(seed, self.large_bytes),
        };
        Plan { late: self.late, left: self.left, ..plan }
    }
}

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// What a call promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Promise {
    /// A handler runs at most once for a call, unless its method is idempotent.
    Once,
    /// A handler gets the arguments, metadata and timeout that its caller gave, of its own call.
    Whole,
    /// Who gets a value or an error of the handler's gets that of its own call, whose handler has
    /// finished.
    Answered,
    /// A call that was never sent, and says so, has not run and never will.
    NotSent,
    /// A call that was refused, and says so, has not run and never will.
    Rejected,
    /// A call whose handler ended without an answer, and says so, has run to its end.
    Replied,
    /// A call fails for a reason: its own fault, its deadline and not before, or the end of a
    /// connection or server.
    Cause,
    /// A drain with time enough loses no call, and ends.
    Drain,
    /// Every call ends.
    Ends,
    /// When all calls have ended nothing of them is left: no handler, no task, no connection.
    Rest,
    /// A transport does nothing to its network that it must not.
    Manners,
}

impl Promise {
    /// Its name, and what it means.
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Once => ("once", "a handler runs at most once for a call"),
            Self::Whole => ("whole", "a handler gets what its caller gave"),
            Self::Answered => ("answered", "a caller gets what its handler returned"),
            Self::NotSent => ("not sent", "a call that says so never ran"),
            Self::Rejected => ("rejected", "a call that says so never ran"),
            Self::Replied => ("replied", "a call that says so ran to its end"),
            Self::Cause => ("cause", "a call fails only for a reason"),
            Self::Drain => ("drain", "a drain with time enough loses no call, and ends"),
            Self::Ends => ("ends", "every call ends"),
            Self::Rest => ("rest", "nothing is left of calls that have ended"),
            Self::Manners => {
                ("manners", "a transport does nothing to its network that it must not")
            }
        }
    }

    fn broken(self, found: impl Into<String>) -> Broken {
        Broken { promise: self, found: found.into() }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.texts().0)
    }
}

/// A promise that was broken, and what showed it.
#[derive(Debug)]
struct Broken {
    promise: Promise,
    found: String,
}

/// What happened in a run that broke no promise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    seeds: u64,
    calls: u64,
    ends: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, calls: usize, ends: BTreeMap<String, u64>) {
        self.seeds += 1;
        self.calls += calls as u64;
        for (end, count) in ends {
            *self.ends.entry(end).or_default() += count;
        }
    }

    /// How many seeds were tried.
    #[must_use]
    pub fn seeds(&self) -> u64 {
        self.seeds
    }

    /// How many calls were made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// How many calls ended so: `value`, `error of the handler`, `dropped`, or the kind and
    /// delivery of an error, as in `connection lost, NotSent`.
    #[must_use]
    pub fn ended(&self, end: &str) -> u64 {
        self.ends.get(end).copied().unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, calls, ends } = self;
        let kinds = ends.len();
        write!(f, "{calls} calls over {seeds} seeds, {kinds} kinds of ends: ")?;
        for (end, count) in ends {
            write!(f, "{count} {end}; ")?;
        }
        f.write_str("0 violations")
    }
}

/// The text of the panic.
struct Report<'a> {
    seed: u64,
    broken: Broken,
    kit: &'a Kit,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, broken, kit } = self;
        let (name, meaning) = broken.promise.texts();
        writeln!(f, "a call broke the promise \"{name}\": {meaning}")?;
        writeln!(f, "  found:  {}", broken.found)?;
        writeln!(f, "  seed:   {seed}, of {kit:?}")?;
        // Cargo tells tests their package; a test's thread has its name.
        let package =
            env::var("CARGO_PKG_NAME").map_or(String::new(), |name| format!(" -p {name}"));
        let thread = thread::current();
        let test = thread.name().filter(|name| *name != "main");
        let test = test.map_or(String::new(), |name| format!(" {name}"));
        let session = kit.session.filter(|number| *number > 0);
        let session = session.map_or(String::new(), |number| format!("RPC_SESSION={number} "));
        let commit = checkout();
        write!(f, "  replay: {session}RPC_SEED={seed} cargo test{package}{test}{commit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_in_one_share() {
        let shares = [0, 1, 2].map(|first| Kit::new().share(first, 3));
        for seed in 0..10 {
            assert_eq!(shares.iter().filter(|kit| kit.is_mine(seed)).count(), 1, "{seed}");
            assert!(Kit::new().is_mine(seed));
        }
    }
}
