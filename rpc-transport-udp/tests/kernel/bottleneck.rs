//! Flows that share a link with each other and with one of the kernel's TCP.

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use socket2::SockRef;
use tokio::time::sleep;

use crate::{
    lab::{Host, Lab, PORT, Shape, within},
    load::client,
    process::{Process, orders, tell},
    record::Books,
    service::{BenchClient, BenchProcess},
};

/// The link: 10 Mbit/s, with a queue of 50 ms.
const BUCKET: &str = "tc qdisc add dev right root tbf rate 10mbit burst 16k latency 50ms";

/// How our flows keep it busy: 128 KiB are twice what the path and its queue hold.
const AT_A_TIME: usize = 8;
const BYTES: usize = 16 * 1024;

/// How long the flows are measured, after they have found their pace. A minute says more.
const SECONDS: u64 = 8;
const PACE: Duration = Duration::from_secs(2);

/// `RPC_SHARE_SECONDS=60` measures for a minute.
fn seconds() -> u64 {
    env::var("RPC_SHARE_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap())
}

#[test]
fn two_flows_and_one_of_tcp_share_a_slow_link() {
    within(Shape::Routed, async |lab| {
        let (tcp, ours) = measure(&lab, "cubic").await;
        check(tcp, &ours, "cubic");
    });
}

/// Measures how many bytes arrive of a flow of TCP, and of two of ours.
async fn measure(lab: &Lab, algorithm: &'static str) -> (u64, [u64; 2]) {
    let books = Books::open("share");
    let _server = BenchProcess::start(lab, &books).await;
    let namespace = lab.namespace(Host::Server);
    let mut sink = Process::start_in(Some(&namespace), "sink", &[], None);
    sink.told("listening").await;
    lab.run(Host::Router, BUCKET);

    thread::spawn(move || send(algorithm));
    let arrived = [(); 2].map(|()| Arc::<AtomicU64>::default());
    let benches = [(); 2].map(|()| client());
    for (bench, arrived) in benches.iter().zip(&arrived) {
        for _ in 0..AT_A_TIME {
            tokio::spawn(keep_busy(bench.clone(), Arc::clone(arrived)));
        }
    }
    sleep(PACE).await;
    let before = (count(&mut sink).await, arrived.each_ref().map(|it| it.load(Ordering::Relaxed)));
    sleep(Duration::from_secs(seconds())).await;
    let after = (count(&mut sink).await, arrived.each_ref().map(|it| it.load(Ordering::Relaxed)));
    println!("{}", lab.run(Host::Router, "tc -s qdisc show dev right").trim());
    (after.0 - before.0, [0, 1].map(|at| after.1[at] - before.1[at]))
}

/// Jain's index is 1 for equal shares, and 1/3 if one of three flows has everything.
fn check(tcp: u64, ours: &[u64], algorithm: &str) {
    let rates: Vec<f64> = ours.iter().chain([&tcp]).map(|bytes| *bytes as f64).collect();
    let (sum, squares) =
        (rates.iter().sum::<f64>(), rates.iter().map(|rate| rate * rate).sum::<f64>());
    let index = sum * sum / (squares * rates.len() as f64);
    let mbits: Vec<f64> = rates.iter().map(|bytes| bytes * 8.0 / 1e6 / seconds() as f64).collect();
    println!(
        "{} s: {:.2} and {:.2} Mbit/s for our flows, {:.2} for TCP with {algorithm}: Jain index {index:.3}",
        seconds(),
        mbits[0],
        mbits[1],
        mbits[2],
    );
    assert!(index >= 0.8, "{index}");
    assert!(mbits.iter().sum::<f64>() > 7.0, "the link is used: {mbits:?}");
}

async fn keep_busy(bench: BenchClient, arrived: Arc<AtomicU64>) {
    let bytes = Bytes::from(vec![7; BYTES]);
    loop {
        let taken = bench.put(bytes.clone()).no_deadline().await.unwrap();
        arrived.fetch_add(taken, Ordering::Relaxed);
    }
}

async fn count(sink: &mut Process) -> u64 {
    sink.order("count");
    sink.told("taken").await.parse().unwrap()
}

/// A flow of TCP, with an algorithm of the kernel's.
fn send(algorithm: &str) {
    let mut stream = TcpStream::connect(SocketAddr::new(Lab::SERVER, PORT)).unwrap();
    SockRef::from(&stream).set_tcp_congestion(algorithm.as_bytes()).unwrap();
    // Until the test is over.
    while stream.write_all(&[7; BYTES]).is_ok() {}
}

/// The role `sink`: takes what one TCP connection brings, and says how much that is.
pub(crate) fn take() {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).unwrap();
    let taken = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&taken);
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            counter.fetch_add(read as u64, Ordering::Relaxed);
        }
    });
    tell("listening");
    for _count in orders() {
        tell(&format!("taken {}", taken.load(Ordering::Relaxed)));
    }
}
