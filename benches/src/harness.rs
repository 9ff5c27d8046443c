//! The load generator: tasks that call one after the other, generic over what they call.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::cpu;
use crate::sample::{Latency, Sample};
use crate::scenario::Scenario;

/// What the load process prints when it is warm and starts to measure.
pub(crate) const BEGIN: &str = "begin";

/// The warm-up runs at least this fraction of the measured time.
const WARM_UP_DIVISOR: u32 = 5;

/// One connection under load; clones share it.
pub(crate) trait Target: Clone + Send + Sync + 'static {
    fn connect(addr: SocketAddr) -> impl Future<Output = io::Result<Self>> + Send;

    /// One call, answered by the server with `a + b`; panics when the call fails.
    fn add(&self, a: u64, b: u64) -> impl Future<Output = u64> + Send;
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) addr: SocketAddr,
    pub(crate) scenario: Scenario,
    /// About how long to measure, after the warm-up.
    pub(crate) time: Duration,
}

/// Connects, warms up, announces [`BEGIN`] and measures.
pub(crate) async fn measure<T: Target>(load: Load) -> io::Result<Sample> {
    let Scenario { connections, in_flight, .. } = load.scenario;
    let mut targets = Vec::with_capacity(connections);
    for _ in 0..connections {
        targets.push(T::connect(load.addr).await?);
    }
    let calls = warm_up(&targets, in_flight, load.time).await;

    println!("{BEGIN}");
    let cpu_before = cpu::time()?;
    let started = Instant::now();
    let latencies = if load.scenario.is_ping_pong() {
        Some(spawn_timed_caller(&targets[0], calls).await?)
    } else {
        run_callers(&targets, in_flight, calls).await;
        None
    };
    Ok(Sample {
        calls: calls * (connections * in_flight) as u64,
        elapsed: started.elapsed(),
        cpu: cpu::time()? - cpu_before,
        latency: latencies.map(Latency::of),
    })
}

/// Doubles the calls of each task until they fill the warm-up; returns how many fill `time`.
async fn warm_up<T: Target>(targets: &[T], in_flight: usize, time: Duration) -> u64 {
    let mut calls = 1_u64;
    loop {
        let started = Instant::now();
        run_callers(targets, in_flight, calls).await;
        let took = started.elapsed();
        if took >= time / WARM_UP_DIVISOR {
            let scaled = u128::from(calls) * time.as_nanos() / took.as_nanos().max(1);
            return u64::try_from(scaled).unwrap_or(u64::MAX).max(1);
        }
        calls *= 2;
    }
}

/// Runs `in_flight` tasks per target, each of which makes `calls` calls one after the other.
async fn run_callers<T: Target>(targets: &[T], in_flight: usize, calls: u64) {
    let spawn_group = |target| (0..in_flight).map(move |_| spawn_caller(target, calls));
    let callers: Vec<_> = targets.iter().flat_map(spawn_group).collect();
    for caller in callers {
        caller.await.expect("every call is answered");
    }
}

fn spawn_caller<T: Target>(target: &T, calls: u64) -> JoinHandle<()> {
    let target = target.clone();
    tokio::spawn(async move {
        for n in 0..calls {
            assert_eq!(target.add(n, 1).await, n + 1, "the server's sum");
        }
    })
}

/// Like [`spawn_caller`], and returns what each call took: one clock reading per call.
fn spawn_timed_caller<T: Target>(target: &T, calls: u64) -> JoinHandle<Vec<Duration>> {
    let target = target.clone();
    tokio::spawn(async move {
        let mut latencies = Vec::new();
        let mut called = Instant::now();
        for n in 0..calls {
            assert_eq!(target.add(n, 1).await, n + 1, "the server's sum");
            let answered = Instant::now();
            latencies.push(answered - called);
            called = answered;
        }
        latencies
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Contender;

    /// Every contender answers every scenario it takes, over loopback.
    #[tokio::test]
    async fn every_contender_carries_its_load() {
        for scenario in Scenario::ALL {
            for contender in Contender::ALL.into_iter().filter(|c| c.takes(scenario)) {
                let addr = SocketAddr::from(([127, 0, 0, 1], 0));
                let addr = contender.serve(addr).await.expect("a loopback listener");
                let load = Load { addr, scenario, time: Duration::from_millis(5) };
                let sample = contender.measure(load).await.expect("a loopback connection");
                assert!(sample.calls >= (scenario.connections * scenario.in_flight) as u64);
                assert_eq!(sample.latency.is_some(), scenario.is_ping_pong());
            }
        }
    }
}
