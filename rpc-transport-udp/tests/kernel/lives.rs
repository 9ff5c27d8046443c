//! Processes that are killed or stopped: what the other side learns, and how soon.

use std::time::{Duration, Instant};

use rpc_core::{Delivery, ErrorKind};
use tokio::time::sleep;

use crate::{
    lab::{Shape, within},
    load::{HELD, Load, client},
    process::Process,
    record::Books,
    service::BenchProcess,
};

const KILLS: usize = 8;

#[test]
fn callers_of_a_server_that_is_killed_and_restarted_lose_what_was_under_way_and_no_more() {
    within(Shape::Direct, async |lab| {
        let mut books = Books::open("restarts");
        let mut server = BenchProcess::start(&lab, &books).await;
        let bench = client();
        let load = Load::start(16, &bench);
        let mut restarts = Vec::new();
        for round in 0..KILLS {
            // At another point of the traffic each time.
            sleep(Duration::from_millis(100 + round as u64 * 13)).await;
            let killed = Instant::now();
            server.process.kill();
            server = BenchProcess::start(&lab, &books).await;
            restarts.push((killed, Instant::now()));
        }
        sleep(Duration::from_millis(500)).await;
        let outcome = load.stop().await;
        for (killed, listens) in &restarts {
            let (down, recovered) = (*listens - *killed, outcome.first_after(*listens).unwrap());
            println!("down for {down:?}, answered {recovered:?} after it listened again");
            assert!(recovered < Duration::from_secs(2), "{recovered:?}");
        }
        println!(
            "{KILLS} kills: {} calls answered, {} lost, {} given back and repeated",
            outcome.ok.len(),
            outcome.lost.len(),
            outcome.repeats
        );
        for lost in &outcome.lost {
            let (kind, delivery) = (lost.error.kind(), lost.error.delivery());
            assert_eq!(
                (kind, delivery),
                (ErrorKind::ConnectionLost, Delivery::Unknown),
                "{lost:?}"
            );
        }
        outcome.check(&mut books);
    });
}

#[test]
fn calls_outlast_a_server_that_is_stopped_for_two_seconds() {
    within(Shape::Direct, async |lab| {
        let mut books = Books::open("stopped");
        let mut server = BenchProcess::start(&lab, &books).await;
        let bench = client();
        let load = Load::start(16, &bench);
        sleep(Duration::from_millis(200)).await;
        server.process.signal("STOP");
        sleep(Duration::from_secs(2)).await;
        server.process.signal("CONT");
        let resumed = Instant::now();
        sleep(Duration::from_millis(500)).await;
        let outcome = load.stop().await;
        println!(
            "{} calls; the slowest took {:?}, the first after it went on {:?}",
            outcome.ok.len(),
            outcome.slowest(),
            outcome.first_after(resumed).unwrap(),
        );
        assert!(outcome.lost.is_empty(), "{:?}", outcome.lost);
        assert_eq!(outcome.repeats, 0);
        outcome.check(&mut books);
        assert_eq!(server.connections().await, (1, 0), "the connection outlived it");
    });
}

/// A killed process says nothing, and no kernel says it in its place. The server's host learns from
/// the client's that nothing listens there any more, which is a hint that anybody could give.
#[test]
fn a_server_forgets_a_client_that_was_killed() {
    within(Shape::Direct, async |lab| {
        let books = Books::open("killed-client");
        let mut server = BenchProcess::start(&lab, &books).await;
        let mut client = Process::start("client", &[], None);
        client.told("calling").await;
        let busy = Instant::now();
        while server.connections().await != (1, HELD) {
            assert!(busy.elapsed() < Duration::from_secs(10), "its calls never ran");
            sleep(Duration::from_millis(10)).await;
        }
        client.kill();
        let killed = Instant::now();
        let gone = loop {
            if server.connections().await == (0, 0) {
                break killed.elapsed();
            }
            assert!(killed.elapsed() < Duration::from_secs(60), "never forgotten");
            sleep(Duration::from_millis(100)).await;
        };
        println!("forgotten after {gone:?}");
    });
}
