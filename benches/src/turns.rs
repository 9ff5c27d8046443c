//! One call at a time: a raw loop and ours in turns, a few calls each, from one client process. What
//! else the machine does meets both alike, which rounds of seconds can't say.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::conditions;
use crate::contender::Contender;
use crate::cpu;
use crate::driver::Machine;
use crate::harness::Adds;
use crate::latency::Latencies;
use crate::ours;
use crate::process::Process;
use crate::raw_pp;
use crate::raw_udp;
use crate::roles;
use crate::text::short;

/// Calls of a turn: few enough that the machine is the same for both.
const CALLS: u64 = 200;

/// Turns before those that count.
const WARM_UP: usize = 50;

/// What one transport's turns come to.
pub(crate) struct Outcome {
    names: [&'static str; 2],
    /// The median of the turns' medians, in µs.
    p50: [f64; 2],
    /// Ours over the raw loop, of each pair of turns, from the lowest on.
    ratios: Vec<f64>,
}

/// Measures both transports, each for so long.
pub(crate) fn measure(machine: &Machine, time: Duration) -> io::Result<[Outcome; 2]> {
    let tcp = take::<raw_pp::Client, ours::Client<ours::Tcp>>(
        machine,
        [Contender::RawPp, Contender::Ours],
        time,
    )?;
    let udp = take::<raw_udp::InTurns, ours::Client<ours::Udp>>(
        machine,
        [Contender::UdpPp, Contender::OursUdp],
        time,
    )?;
    Ok([tcp, udp])
}

/// Measures, and prints the table.
pub(crate) fn run(time: Duration, awake: bool) -> io::Result<()> {
    let machine = Machine::prepare(awake);
    println!("{}\n", conditions::describe(&machine));
    print!("{}", write_table(&measure(&machine, time)?));
    Ok(())
}

/// The table in Markdown.
pub(crate) fn write_table(outcomes: &[Outcome]) -> String {
    let mut out = format!(
        "Turns of {CALLS} calls each, from one client process: medians of the turns' medians, and the \
         ratio within a pair of turns, with its quartiles.\n\n\
         | | raw loop, p50 in µs | ours, p50 in µs | ours ÷ raw loop | pairs |\n|---|---:|---:|---|---:|\n"
    );
    for Outcome { names: [raw, ours], p50, ratios } in outcomes {
        let [low, middle, high] = [0.25, 0.5, 0.75].map(|part| quantile(ratios, part));
        let [raw_p50, ours_p50] = p50.map(short);
        writeln!(
            out,
            "| {raw}, {ours} | {raw_p50} | {ours_p50} | **{middle:.2}** ({low:.2} to {high:.2}) | {} |",
            ratios.len()
        )
        .expect("a String takes all that is written");
    }
    out
}

fn take<R: Adds, O: Adds>(
    machine: &Machine,
    contenders: [Contender; 2],
    time: Duration,
) -> io::Result<Outcome> {
    let [server_core, client_core] = machine.cores.map_or([None; 2], |cores| cores.map(Some));
    let names = contenders.map(Contender::name);
    eprintln!("turns: {} and {}", names[0], names[1]);
    let [mut raw, mut ours] = [
        Process::start(&["serve", names[0]], server_core)?,
        Process::start(&["serve", names[1]], server_core)?,
    ];
    let addrs = [raw.read::<SocketAddr>()?, ours.read()?];
    // On a thread of its own, because what is pinned stays so.
    let client = thread::spawn(move || {
        client_core.map_or(Ok(()), cpu::pin)?;
        let runtime = roles::runtime()?;
        let turns = runtime.spawn(take_turns::<R, O>(addrs, time));
        runtime.block_on(turns)?
    });
    let turns = client.join().expect("every call is answered")?;
    let mut ratios: Vec<_> = turns.iter().map(|[raw, ours]| ours / raw).collect();
    ratios.sort_by(f64::total_cmp);
    let p50 = [0, 1].map(|side| {
        let mut medians: Vec<_> = turns.iter().map(|turn| turn[side]).collect();
        medians.sort_by(f64::total_cmp);
        quantile(&medians, 0.5)
    });
    Ok(Outcome { names, p50, ratios })
}

/// The medians of each pair of turns, in µs.
async fn take_turns<R: Adds, O: Adds>(
    [raw, ours]: [SocketAddr; 2],
    time: Duration,
) -> io::Result<Vec<[f64; 2]>> {
    let (raw, ours) = (R::connect(raw).await?, O::connect(ours).await?);
    for _ in 0..WARM_UP {
        turn(&raw).await;
        turn(&ours).await;
    }
    let mut turns = Vec::new();
    let started = Instant::now();
    while started.elapsed() < time || turns.is_empty() {
        turns.push([turn(&raw).await, turn(&ours).await]);
    }
    Ok(turns)
}

/// The median of a turn's calls, in µs.
async fn turn(target: &impl Adds) -> f64 {
    let mut latencies = Latencies::new();
    let mut called = Instant::now();
    for number in 0..CALLS {
        assert_eq!(target.add(number, 1).await, number + 1, "the server's sum");
        let answered = Instant::now();
        latencies.record(answered - called);
        called = answered;
    }
    latencies.summarize().p50.as_secs_f64() * 1e6
}

/// Of numbers in order; not a number if there are none.
fn quantile(numbers: &[f64], part: f64) -> f64 {
    let last = numbers.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to last")]
    let at = (part * last as f64).round() as usize;
    numbers.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_middle_and_the_quartiles() {
        let ratios = (0..=100).map(|ratio| 1.0 + f64::from(ratio) / 100.0).collect();
        let outcome = Outcome { names: ["raw-pp", "ours"], p50: [50.0, 75.0], ratios };
        let table = write_table(&[outcome]);
        let row = "| raw-pp, ours | 50 | 75 | **1.50** (1.25 to 1.75) | 101 |";
        assert!(table.ends_with(&format!("{row}\n")), "{table}");
    }
}
