//! Runs a model many times, each time with other decisions about who goes on; no model itself.
//!
//! Each run has a seed, so one alone can be run again. `RPC_SEEDS=n` makes so many runs of each model,
//! `RPC_SEED=x` that one.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use shuttle::{
    Config, FailurePersistence, MaxSteps, Runner,
    scheduler::{DfsScheduler, Schedule, Scheduler, Task, TaskId},
};

use rpc_core::testing::checkout;

/// Runs of a model unless something else is asked for.
const RUNS: u64 = 100;

/// More than any model takes, many times over: one that takes more goes round in circles.
const STEPS_MAX: usize = 100_000;

/// A driver's poll in a debug build has large frames.
const STACK_BYTES: usize = 256 * 1024;

/// Runs a model as often as the environment asks for. It has failed if it panics, or if a thread that
/// isn't through waits for what nobody does any more: that is how a lost wake-up shows.
pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
    let one = number("RPC_SEED");
    let first = one.unwrap_or(0);
    let runs = if one.is_some() { 1 } else { number("RPC_SEEDS").unwrap_or(RUNS) };
    let seed = Arc::new(AtomicU64::new(first));
    let replay = Replay { seed: Arc::clone(&seed), is_over: false };
    let whim = Whim { left: runs, next: first, seed, random: fastrand::Rng::new(), stays: 0 };
    let made = Runner::new(whim, config()).run(model);
    replay.done();
    // Of `.ci/concurrency`, which adds them up.
    eprintln!("FIGURE concurrency.schedules={made}");
}

/// Runs a model with every decision that there is.
pub(crate) fn exhaust(model: impl Fn() + Send + Sync + 'static) {
    let replay = Replay { seed: Arc::default(), is_over: false };
    let made = Runner::new(DfsScheduler::new(None, false), config()).run(model);
    replay.done();
    eprintln!("FIGURE concurrency.exhausted={made}");
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().expect("a number"))
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    // A seed says it in one line.
    config.failure_persistence = FailurePersistence::None;
    // Of atomics it knows sequential consistency alone. Ours count, and order nothing.
    config.silence_warnings = true;
    config
}

/// Says how to see a failure again.
struct Replay {
    seed: Arc<AtomicU64>,
    is_over: bool,
}

impl Replay {
    fn done(mut self) {
        self.is_over = true;
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let seed = self.seed.load(Ordering::Relaxed);
        let current = thread::current();
        let (package, name) = (env!("CARGO_PKG_NAME"), current.name().unwrap_or_default());
        eprintln!(
            "to see it again: RUSTFLAGS='--cfg rpc_shuttle' RPC_SEED={seed} cargo test -p {package} --lib \
             --target-dir target/concurrency {name}{}",
            checkout()
        );
    }
}

/// Decides at random. Of three runs one decides anew at every step, and in two of them whoever runs
/// goes on for a while: some races want many changes, others few, at the right place.
struct Whim {
    left: u64,
    next: u64,
    seed: Arc<AtomicU64>,
    random: fastrand::Rng,
    /// Of eight steps, after how many whoever runs goes on.
    stays: u8,
}

impl Scheduler for Whim {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.left = self.left.checked_sub(1)?;
        let seed = self.next;
        self.next += 1;
        self.seed.store(seed, Ordering::Relaxed);
        self.random.seed(seed);
        self.stays = [0, 4, 7][usize::try_from(seed % 3).expect("less than three")];
        Some(Schedule::new(seed))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        now: Option<TaskId>,
        yields: bool,
    ) -> Option<TaskId> {
        let stays = !yields && self.random.u8(..8) < self.stays;
        if let Some(now) = now.filter(|now| stays && runnable.iter().any(|task| task.id() == *now))
        {
            return Some(now);
        }
        self.random.choice(runnable).map(|task| task.id())
    }

    fn next_u64(&mut self) -> u64 {
        self.random.u64(..)
    }
}
