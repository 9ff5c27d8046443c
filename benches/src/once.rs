//! Loads whose connections carry one call each: what it takes to set one up, and to keep it.

use std::io;
use std::time::{Duration, Instant};

use crate::cpu;
use crate::harness::{Adds, BEGIN, Load};
use crate::latency::Latencies;
use crate::sample::Sample;

/// The most connections that are set up in one measurement. Each keeps a port of the client for a
/// minute after its end, and there are 28,000 of them.
const CONNECTS_MAX: u64 = 1500;

/// Connections before those that are measured: a server's first ones also pay for its own buffers.
const WARM_UP_CONNECTS: usize = 50;

/// How long everything rests before memory is looked at.
const REST: Duration = Duration::from_millis(500);

/// Times connecting and the first call together, one connection after the other.
pub(crate) async fn measure_connects<T: Adds>(load: Load) -> io::Result<Sample> {
    for _ in 0..WARM_UP_CONNECTS {
        connect_and_call::<T>(load).await?;
    }
    println!("{BEGIN}");
    let cpu_before = cpu::time()?;
    let started = Instant::now();
    let mut latencies = Latencies::new();
    let mut calls = 0;
    while calls < CONNECTS_MAX && started.elapsed() < load.time {
        let began = Instant::now();
        let target = connect_and_call::<T>(load).await?;
        latencies.record(began.elapsed());
        drop(target);
        calls += 1;
    }
    Ok(Sample {
        calls,
        elapsed: started.elapsed(),
        cpu: cpu::time()? - cpu_before,
        latency: Some(latencies.summarize()),
    })
}

/// Sets up connections and keeps them for good; what they cost the server is the driver's to ask.
/// The sample counts connections as calls.
pub(crate) async fn measure_idle<T: Adds>(load: Load) -> io::Result<Sample> {
    let mut targets = Vec::new();
    for _ in 0..WARM_UP_CONNECTS {
        targets.push(connect_and_call::<T>(load).await?);
    }
    println!("{BEGIN}");
    tokio::time::sleep(REST).await;
    let cpu_before = cpu::time()?;
    let started = Instant::now();
    for _ in 0..load.scenario.connections {
        targets.push(connect_and_call::<T>(load).await?);
    }
    let elapsed = started.elapsed();
    let cpu = cpu::time()? - cpu_before;
    tokio::time::sleep(REST).await;
    // Until this process ends.
    std::mem::forget(targets);
    Ok(Sample { calls: load.scenario.connections as u64, elapsed, cpu, latency: None })
}

async fn connect_and_call<T: Adds>(load: Load) -> io::Result<T> {
    let target = T::connect(load.addr).await?;
    assert_eq!(target.add(1, 2).await, 3, "the server's sum");
    Ok(target)
}
