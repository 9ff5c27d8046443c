//! Servers that stop for a while, and those that never come back, without a word to the kernel.

use std::time::{Duration, Instant};

use rpc_core::{Delivery, ErrorKind};
use tokio::time::timeout;

use crate::{
    lab::LabProcess,
    load::{Numbers, channel},
    process::{PATIENCE, until},
    record::Books,
};

/// Longer than the timeout of the calls, shorter than the keepalive takes to give the server up.
const STOPPED: Duration = Duration::from_millis(2500);

const TIMEOUT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_a_stopped_server_time_out_and_it_sheds_them_when_it_goes_on() {
    let mut books = Books::open("stopped");
    let mut server = LabProcess::start("127.0.0.1:0", &books).await;
    let lab = channel(&server.address);
    let numbers = Numbers::default();
    let hold = |calls: u64| {
        let calls = (0..calls).map(|_| {
            let call = numbers.next();
            (call, tokio::spawn(lab.hold(call).timeout(TIMEOUT)))
        });
        calls.collect::<Vec<_>>()
    };
    let before = hold(20);
    until("the calls run", || {
        books.read_on();
        before.iter().all(|(call, _)| books.ran(*call) == 1)
    })
    .await;

    server.process.signal("STOP");
    let stopped = Instant::now();
    // These reach nothing but a socket's buffer.
    let during = hold(20);
    let stale: Vec<u64> = before.iter().chain(&during).map(|(call, _)| *call).collect();
    for (_, call) in before.into_iter().chain(during) {
        let error = call.await.unwrap().unwrap_err();
        let outcome = (error.kind(), error.delivery());
        assert_eq!(outcome, (ErrorKind::DeadlineExceeded, Delivery::Unknown), "{error}");
    }
    let late = stopped.elapsed().saturating_sub(TIMEOUT);
    assert!(late < Duration::from_secs(1), "{late:?} late");

    tokio::time::sleep(STOPPED.saturating_sub(stopped.elapsed())).await;
    let resumed = Instant::now();
    server.process.signal("CONT");
    let fresh = numbers.next();
    assert_eq!(lab.run(fresh).await, Ok(fresh));
    // Whatever lay in the socket's buffer has been read by now.
    until("stale handlers are dropped", || {
        books.read_on();
        stale.iter().all(|call| books.dropped(*call) || books.ran(*call) == 0)
    })
    .await;
    let took = resumed.elapsed();
    let begun = stale.iter().filter(|call| books.ran(**call) > 0).count();
    println!("{begun} of {} stale calls were begun; all were shed within {took:?}", stale.len());
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(server.connections().await, 1, "the connection outlived it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keepalive_finds_a_stopped_server() {
    let mut books = Books::open("silent");
    let server = LabProcess::start("127.0.0.1:0", &books).await;
    let lab = channel(&server.address);
    let call = tokio::spawn(lab.hold(1).no_deadline());
    until("the call runs", || {
        books.read_on();
        books.ran(1) == 1
    })
    .await;
    server.process.signal("STOP");
    let stopped = Instant::now();
    let error = timeout(PATIENCE, call).await.expect("no end").unwrap().unwrap_err();
    let took = stopped.elapsed();
    println!("found after {took:?}");
    let outcome = (error.kind(), error.delivery());
    assert_eq!(outcome, (ErrorKind::ConnectionLost, Delivery::Unknown), "{error}");
    // 4 s of silence, which began before the stop, and 4 s for an answer.
    assert!(took > Duration::from_secs(7) && took < Duration::from_secs(10), "{took:?}");
}
