//! Calls, streams, cancels, reconnects and restarts for as long as you like, over TCP and UDP at the
//! same time: does anything grow, or stay behind?
//!
//! `cargo run --release --example soak -- --minutes 60`, or `--seconds 10`. It prints what it takes as
//! it goes on, and a verdict at the end: descriptors, tasks and places for calls have to be what they
//! were at the beginning, and timers with them, which are part of tasks. Lines that begin with `FIGURE`
//! are for `.ci/reliability`.

mod gauge;
mod load;
mod service;

use std::{
    error::Error,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use gauge::{Reading, slope_kib_per_hour};
use load::{Load, Tally};
use service::Transport;
use tokio::time::sleep;

/// Memory grows while buffers and tables find their size, at most for so long; in a short soak for a
/// third of it.
const WARM_UP: Duration = Duration::from_secs(300);

/// How long what is left at the end may take to go.
const SETTLE: Duration = Duration::from_secs(60);

/// The growth that is none, in KiB an hour. Said of soaks of half an hour and more.
const SLOPE_MAX: f64 = 1024.0;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    let time = time_from(std::env::args().skip(1))?;
    let began = Instant::now();
    let tally = Arc::new(Tally::default());
    // What the runtime opens when it is first used is there from now on.
    sleep(Duration::from_millis(1)).await;
    let before = Reading::take(began.elapsed());
    let mut loads = Vec::new();
    for transport in [Transport::Tcp, Transport::Udp] {
        loads.push(Load::start(transport, &tally).await?);
    }
    let readings = watch(began, time, &tally).await;
    for load in loads {
        load.finish().await;
    }
    let after = settle(began, before).await;
    let warm = WARM_UP.min(time / 3);
    let steady: Vec<_> = readings.into_iter().filter(|reading| reading.at >= warm).collect();
    Ok(judge(time, &tally, (before, after), slope_kib_per_hour(&steady)))
}

fn time_from(mut args: impl Iterator<Item = String>) -> Result<Duration, String> {
    const USAGE: &str = "soak [--minutes N | --seconds N]";
    let Some(unit) = args.next() else { return Ok(Duration::from_secs(10)) };
    let number: u64 = args.next().and_then(|n| n.parse().ok()).ok_or(USAGE)?;
    match unit.as_str() {
        "--minutes" => Ok(Duration::from_secs(60 * number)),
        "--seconds" => Ok(Duration::from_secs(number)),
        _ => Err(USAGE.into()),
    }
}

/// Looks at the process while the load runs, and prints every tenth of what it sees.
async fn watch(began: Instant, time: Duration, tally: &Tally) -> Vec<Reading> {
    let pause = (time / 200).max(Duration::from_millis(100));
    let mut readings = Vec::new();
    while began.elapsed() < time {
        sleep(pause).await;
        let reading = Reading::take(began.elapsed());
        readings.push(reading);
        if readings.len() % 10 == 0 {
            let Reading { at, rss_kib, descriptors, tasks } = reading;
            let calls = tally.calls.load(Ordering::Relaxed);
            let failures: u64 = tally.failures().values().sum();
            println!(
                "{:>6.0} s: {calls} calls, {failures} failures, {rss_kib} KiB, {descriptors} \
                 descriptors, {tasks} tasks",
                at.as_secs_f64()
            );
        }
    }
    readings
}

/// Waits until nothing is left of the load, or for as long as that may take.
async fn settle(began: Instant, before: Reading) -> Reading {
    let until = Instant::now() + SETTLE;
    loop {
        let now = Reading::take(began.elapsed());
        let is_settled = now.tasks == before.tasks && now.descriptors == before.descriptors;
        if is_settled || Instant::now() > until {
            return now;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn judge(
    time: Duration,
    tally: &Tally,
    (before, after): (Reading, Reading),
    slope: Option<f64>,
) -> ExitCode {
    let count = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
    let failures = tally.failures();
    for (text, times) in &failures {
        println!("{times} times: {text}");
    }
    let slope = slope.unwrap_or_default();
    println!("FIGURE soak.minutes={:.1}", time.as_secs_f64() / 60.0);
    println!("FIGURE soak.calls={}", count(&tally.calls));
    println!("FIGURE soak.cancels={}", count(&tally.cancels));
    println!("FIGURE soak.connections={}", count(&tally.reconnects));
    println!("FIGURE soak.restarts={}", count(&tally.restarts));
    println!("FIGURE soak.failures={}", failures.values().sum::<u64>());
    println!("FIGURE soak.rss_slope_kib_per_hour={slope:.0}");
    println!("FIGURE soak.descriptors_left={}", after.descriptors.abs_diff(before.descriptors));
    println!("FIGURE soak.tasks_left={}", after.tasks.abs_diff(before.tasks));
    let same = (after.descriptors, after.tasks) == (before.descriptors, before.tasks);
    let grows = time >= Duration::from_secs(1800) && slope > SLOPE_MAX;
    let is_good = failures.is_empty() && same && !grows;
    let verdict = if is_good { "nothing is left, nothing failed" } else { "NOT as it should be" };
    println!("verdict: {verdict}: {before:?} before, {after:?} after");
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
