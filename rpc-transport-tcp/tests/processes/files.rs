//! A server that runs out of open files: it goes on serving, does not spin, and recovers.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{lab::LabProcess, load::channel, process::times, record::Books};

const FILES: u32 = 64;
const CONNECTORS: usize = 500;

/// How many seconds the server is watched.
const WATCHED: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_open_files_goes_on_serving_does_not_spin_and_recovers() {
    let books = Books::open("files");
    let process = LabProcess::starting("127.0.0.1:0", &books, Some(FILES));
    let mut server = LabProcess::listening(process).await;
    let lab = channel(&server.address);
    assert_eq!(lab.run(1).await, Ok(1));
    let connectors: Vec<_> = (0..CONNECTORS)
        .map(|_| TcpStream::connect(&server.address).expect("a place in the backlog"))
        .collect();

    let (began, ticks) = (Instant::now(), server.process.cpu_ticks());
    let mut slowest = Duration::ZERO;
    let mut call = 1;
    let watched = Duration::from_secs(times(WATCHED) as u64);
    while began.elapsed() < watched {
        call += 1;
        let asked = Instant::now();
        assert_eq!(lab.run(call).await, Ok(call), "the existing connection is served");
        slowest = slowest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let cpu = server.process.cpu_ticks() - ticks;
    let percent = cpu as f64 / began.elapsed().as_secs_f64();
    let connections = server.connections().await;
    println!(
        "{connections} connections, {CONNECTORS} connectors: {percent:.1} % of a core, the slowest \
         of {call} calls took {slowest:?}"
    );
    assert!(connections < FILES as usize, "the limit is in force");
    assert!(percent < 10.0, "{percent} % of a core");

    let left = Instant::now();
    drop(connectors);
    assert_eq!(channel(&server.address).run(0).await, Ok(0));
    let took = left.elapsed();
    println!("a new client was served {took:?} after they left");
    assert!(took < Duration::from_secs(1), "{took:?}");
    println!("FIGURE files.seconds={}", watched.as_secs());
    println!("FIGURE files.calls={call}");
    println!("FIGURE files.cpu_percent={percent:.1}");
    println!("FIGURE files.recovery_ms={}", took.as_millis());
}
