//! The load generator: tasks that call one after the other, generic over what they call and how.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::cpu;
use crate::latency::Latencies;
use crate::once;
use crate::sample::Sample;
use crate::scenario::{Scenario, Work};

/// What the load process prints when it is warm and starts to measure.
pub(crate) const BEGIN: &str = "begin";

/// The warm-up runs at least this fraction of the measured time.
const WARM_UP_DIVISOR: u32 = 5;

/// One connection under load; clones share it, and it ends with the last of them.
pub(crate) trait Target: Clone + Send + Sync + 'static {
    fn connect(addr: SocketAddr) -> impl Future<Output = io::Result<Self>> + Send;
}

/// A server that adds.
pub(crate) trait Adds: Target {
    /// One call, answered by the server with `a + b`; panics when the call fails.
    fn add(&self, a: u64, b: u64) -> impl Future<Output = u64> + Send;
}

/// A server that returns what it gets.
pub(crate) trait Echoes: Target {
    /// One call, answered with its payload; panics when the call fails.
    fn echo(&self, payload: Bytes) -> impl Future<Output = Bytes> + Send;
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) addr: SocketAddr,
    pub(crate) scenario: Scenario,
    /// About how long to measure, after the warm-up.
    pub(crate) time: Duration,
}

/// One call of a load.
trait Call<T>: Clone + Send + Sync + 'static {
    /// Makes it and checks its reply. `number` counts the calls of one task.
    fn call(&self, target: &T, number: u64) -> impl Future<Output = ()> + Send;
}

#[derive(Clone)]
struct Add;

impl<T: Adds> Call<T> for Add {
    async fn call(&self, target: &T, number: u64) {
        assert_eq!(target.add(number, 1).await, number + 1, "the server's sum");
    }
}

#[derive(Clone)]
struct Echo(Bytes);

impl Echo {
    fn new(bytes: usize) -> Self {
        Self(Bytes::from(vec![7; bytes]))
    }
}

impl<T: Echoes> Call<T> for Echo {
    /// Looks at the ends of the payload only: to compare all of it would take as long as to move it.
    async fn call(&self, target: &T, _number: u64) {
        let returned = target.echo(self.0.clone()).await;
        let ends =
            |payload: &Bytes| (payload.len(), payload.first().copied(), payload.last().copied());
        assert_eq!(ends(&returned), ends(&self.0), "the server returns the payload");
    }
}

/// Measures a contender that only adds.
pub(crate) async fn measure_adds<T: Adds>(load: Load) -> io::Result<Sample> {
    match load.scenario.work {
        Work::Add => measure_calls::<T, _>(load, Add).await,
        Work::Connect => once::measure_connects::<T>(load).await,
        Work::Idle => once::measure_idle::<T>(load).await,
        Work::Echo { .. } => Err(io::Error::other("this contender takes no payloads")),
    }
}

/// Measures a contender that only echoes.
pub(crate) async fn measure_echoes<T: Echoes>(load: Load) -> io::Result<Sample> {
    match load.scenario.work {
        Work::Echo { bytes } => measure_calls::<T, _>(load, Echo::new(bytes)).await,
        _ => Err(io::Error::other("this contender takes payloads only")),
    }
}

/// Measures a contender that does both.
pub(crate) async fn measure<T: Adds + Echoes>(load: Load) -> io::Result<Sample> {
    match load.scenario.work {
        Work::Echo { .. } => measure_echoes::<T>(load).await,
        _ => measure_adds::<T>(load).await,
    }
}

/// Connects, warms up, announces [`BEGIN`] and measures.
async fn measure_calls<T: Target, C: Call<T>>(load: Load, call: C) -> io::Result<Sample> {
    let Scenario { connections, in_flight, .. } = load.scenario;
    let mut targets = Vec::with_capacity(connections);
    for _ in 0..connections {
        targets.push(T::connect(load.addr).await?);
    }
    let calls = warm_up(&targets, in_flight, load.time, &call).await;

    println!("{BEGIN}");
    let cpu_before = cpu::time()?;
    let started = Instant::now();
    let latencies = if load.scenario.is_ping_pong() {
        Some(spawn_timed_caller(&targets[0], calls, call).await?)
    } else {
        run_callers(&targets, in_flight, calls, &call).await;
        None
    };
    Ok(Sample {
        calls: calls * (connections * in_flight) as u64,
        elapsed: started.elapsed(),
        cpu: cpu::time()? - cpu_before,
        latency: latencies.map(|latencies| latencies.summarize()),
    })
}

/// Doubles the calls of each task until they fill the warm-up; returns how many fill `time`.
async fn warm_up<T: Target, C: Call<T>>(
    targets: &[T],
    in_flight: usize,
    time: Duration,
    call: &C,
) -> u64 {
    let mut calls = 1_u64;
    loop {
        let started = Instant::now();
        run_callers(targets, in_flight, calls, call).await;
        let took = started.elapsed();
        if took >= time / WARM_UP_DIVISOR {
            let scaled = u128::from(calls) * time.as_nanos() / took.as_nanos().max(1);
            return u64::try_from(scaled).unwrap_or(u64::MAX).max(1);
        }
        calls *= 2;
    }
}

/// Runs `in_flight` tasks per target, each of which makes `calls` calls one after the other.
async fn run_callers<T: Target, C: Call<T>>(targets: &[T], in_flight: usize, calls: u64, call: &C) {
    let spawn_group = |target| (0..in_flight).map(move |_| spawn_caller(target, calls, call));
    let callers: Vec<_> = targets.iter().flat_map(spawn_group).collect();
    for caller in callers {
        caller.await.expect("every call is answered");
    }
}

fn spawn_caller<T: Target, C: Call<T>>(target: &T, calls: u64, call: &C) -> JoinHandle<()> {
    let (target, call) = (target.clone(), call.clone());
    tokio::spawn(async move {
        for number in 0..calls {
            call.call(&target, number).await;
        }
    })
}

/// Like [`spawn_caller`], and returns what the calls took: one clock reading per call.
fn spawn_timed_caller<T: Target, C: Call<T>>(
    target: &T,
    calls: u64,
    call: C,
) -> JoinHandle<Latencies> {
    let target = target.clone();
    tokio::spawn(async move {
        let mut latencies = Latencies::new();
        let mut called = Instant::now();
        for number in 0..calls {
            call.call(&target, number).await;
            let answered = Instant::now();
            latencies.record(answered - called);
            called = answered;
        }
        latencies
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Contender;

    /// Every contender answers every scenario it takes, over loopback. Those of scale differ from
    /// the others in numbers only.
    #[tokio::test]
    async fn every_contender_carries_its_load() {
        crate::files::raise_limit().expect("up to the hard limit");
        for scenario in Scenario::BASIC.into_iter().chain(Scenario::FURTHER) {
            for contender in Contender::all().filter(|c| c.takes(scenario)) {
                let addr = SocketAddr::from(([127, 0, 0, 1], 0));
                let addr = contender.serve(addr).await.expect("a loopback listener");
                let load = Load { addr, scenario, time: Duration::from_millis(5) };
                let sample = contender.measure(load).await.expect("a loopback connection");
                assert!(sample.calls >= (scenario.connections * scenario.in_flight) as u64);
                let timed = scenario.is_ping_pong() || scenario.work == Work::Connect;
                assert_eq!(sample.latency.is_some(), timed, "{}", scenario.name);
            }
        }
    }
}
