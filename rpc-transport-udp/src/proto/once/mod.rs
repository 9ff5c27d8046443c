//! A model that checks that requests run at most once, whatever becomes of datagrams, sessions and
//! servers; tests only.
//!
//! One client with one or two requests and up to two sessions, one after the other, a server that may
//! be started anew once, and a network that loses, repeats, reorders and delays without bounds. The
//! decisions are those of the real code: `Table`, `CookieKey`, `SetUpClient`, `Judgement` and
//! `Positions`, with real datagrams between them; the insides of a session are a set of frame numbers.
//! Every state within the [`Bounds`] is looked at. In each of them
//! - a request was executed at most once,
//! - exactly once if its caller was told that it was answered,
//! - and never if its caller was told, then or earlier, that it never ran.
//!
//! Each [`Mutant`] leaves one rule out. That it is caught shows that the rule is needed, and that the
//! model would see it missing.
//!
//! The map of this directory: `search` finds all states, `world` is what may happen, `net` what is
//! under way, `server` and `client` the two sides, `mutants` what may be wrong with them.

mod client;
mod mutants;
mod net;
mod search;
mod server;
mod world;

use std::time::{Duration, Instant};

use mutants::{MUTANTS, Mutant, SPARE};
use search::{Report, search};
use world::World;

/// The step of time: the slack of the rules about epochs, so that a tick more or less matters.
const TICK: Duration = Duration::from_secs(1);

/// How much there is of everything. Times are in ticks.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    name: &'static str,
    requests: usize,
    /// How often the client connects.
    attempts: u8,
    /// When all ends.
    ticks: u8,
    cookie_lifetime: u8,
    retention: u8,
    /// Whether the server may be started anew, and for how long the old process still reads then.
    restarts: bool,
    overlap: u8,
    /// Whether it may leave: offer no sessions, then take none.
    leaves: bool,
    /// How often it becomes full or has room again.
    crowds: u8,
    /// Whether the client's address may change.
    moves: bool,
    /// Whether the server's clock is fast by a half: that is a slack in two retentions.
    is_clock_fast: bool,
}

/// One request, one session, and nothing but the network and sessions that end.
const QUIET: Bounds = Bounds {
    name: "quiet",
    requests: 1,
    attempts: 1,
    ticks: 5,
    cookie_lifetime: 2,
    retention: 3,
    restarts: false,
    overlap: 0,
    leaves: false,
    crowds: 0,
    moves: false,
    is_clock_fast: false,
};

/// What is looked at by default: some seconds without optimization.
fn small() -> Vec<Bounds> {
    let short = Bounds { cookie_lifetime: 1, retention: 2, ..QUIET };
    let anew = Bounds { name: "restart", restarts: true, overlap: 1, ..QUIET };
    let fast = Bounds { name: "fast clock", retention: 4, is_clock_fast: true, ..QUIET };
    vec![
        QUIET,
        Bounds { name: "two requests", requests: 2, ticks: 4, ..short },
        Bounds { name: "two sessions", attempts: 2, ticks: 4, ..short },
        Bounds { name: "two of each", requests: 2, attempts: 2, ticks: 1, ..short },
        Bounds { name: "equal times", retention: 2, ..QUIET },
        anew,
        Bounds { name: "restart, two sessions", attempts: 2, ticks: 2, ..anew },
        Bounds { name: "restart, two requests", requests: 2, ticks: 2, ..anew },
        Bounds { name: "full", crowds: 2, ..QUIET },
        Bounds { name: "leaving", leaves: true, ..QUIET },
        Bounds { name: "moving", moves: true, ..QUIET },
        Bounds { name: "all at once", crowds: 2, leaves: true, ticks: 1, ..anew },
        fast,
        Bounds { name: "fast clock, restart", overlap: 0, restarts: true, ..fast },
    ]
}

/// What is looked at when asked for: see [`requests_run_at_most_once`].
fn large() -> Vec<Bounds> {
    let anew = Bounds { restarts: true, overlap: 1, ..QUIET };
    let all = Bounds { crowds: 2, leaves: true, moves: true, ..anew };
    vec![
        Bounds { name: "two requests", requests: 2, ticks: 8, ..QUIET },
        Bounds { name: "two sessions", attempts: 2, ticks: 6, ..QUIET },
        Bounds { name: "two of each", requests: 2, attempts: 2, ticks: 6, ..QUIET },
        Bounds { name: "restart", ticks: 8, ..anew },
        Bounds { name: "restart, two requests", requests: 2, ..anew },
        Bounds { name: "restart, two sessions", attempts: 2, ..anew },
        Bounds {
            name: "restart, two of each",
            requests: 2,
            attempts: 2,
            ticks: 4,
            cookie_lifetime: 1,
            retention: 2,
            ..anew
        },
        Bounds { name: "full, leaving, moving", restarts: false, ..all },
        Bounds { name: "all at once", ticks: 4, ..all },
        Bounds {
            name: "fast clock",
            overlap: 0,
            is_clock_fast: true,
            retention: 4,
            ticks: 8,
            ..anew
        },
    ]
}

/// A counterexample is the shortest there is. With the variable `UDP_MODEL` set to a number of states, in millions, larger bounds are looked at,
/// each as far as that number goes. Memory is about 300 bytes a state.
///
/// ```console
/// UDP_MODEL=20 cargo test --release -p rpc-transport-udp --lib once -- --nocapture
/// ```
#[test]
fn requests_run_at_most_once() {
    let millions = std::env::var("UDP_MODEL").ok().map(|it| it.parse::<usize>().unwrap());
    let all = if millions.is_some() { large() } else { small() };
    for bounds in all {
        let begin = Instant::now();
        let states_max = millions.map_or(usize::MAX, |it| it * 1_000_000);
        let report = search(&mut World::new(bounds, None), states_max);
        let Report { states, depth, fault, is_exhaustive } = report;
        let extent = if is_exhaustive { "all" } else { "not all" };
        let took = begin.elapsed();
        println!("{:24}{states:>9} states, {extent}, {depth:2} steps, {took:.1?}", bounds.name);
        if let Some(fault) = fault {
            panic!("{bounds:?}: {}:\n{}", fault.what, fault.steps.join("\n"));
        }
        assert!(is_exhaustive || millions.is_some());
    }
}

/// With the variable `UDP_MODEL_STEPS`, it says how.
#[test]
fn every_mutant_is_caught() {
    for mutant in MUTANTS {
        let report = search(&mut World::new(mutant.bounds(), Some(mutant)), usize::MAX);
        let Some(fault) = report.fault else { panic!("{mutant:?} is not caught") };
        println!("{:30} {:2} steps: {}", format!("{mutant:?}"), fault.steps.len(), fault.what);
        if std::env::var_os("UDP_MODEL_STEPS").is_some() {
            println!("    {}", fault.steps.join("\n    "));
        }
    }
}

#[test]
fn spare_rules_are_spare() {
    for mutant in SPARE {
        let report = search(&mut World::new(mutant.bounds(), Some(mutant)), usize::MAX);
        println!("{:30} {} states", format!("{mutant:?}"), report.states);
        assert!(report.fault.is_none() && report.is_exhaustive, "{mutant:?} does harm");
    }
}
