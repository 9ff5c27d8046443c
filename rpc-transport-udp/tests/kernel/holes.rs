//! Networks that swallow everything, for a while and for good.

use std::time::{Duration, Instant};

use rpc_core::{Delivery, ErrorKind};
use tokio::time::{sleep, timeout};

use crate::{
    lab::{Host, Lab, Shape, within},
    load::{Load, client},
    process::{PATIENCE, until},
    record::Books,
    service::BenchProcess,
};

/// Everything that comes is dropped.
const NOTHING: &str = "chain in {\n type filter hook input priority 0; policy drop\n}";

/// How long the shorter hole lasts.
const HOLE: Duration = Duration::from_secs(3);

fn block(lab: &Lab) {
    lab.rules(Host::Client, NOTHING);
    lab.rules(Host::Server, NOTHING);
}

fn unblock(lab: &Lab) {
    lab.no_rules(Host::Client);
    lab.no_rules(Host::Server);
}

#[test]
fn calls_survive_three_seconds_without_a_network() {
    within(Shape::Direct, async |lab| {
        let mut books = Books::open("hole");
        let mut server = BenchProcess::start(&lab, &books).await;
        let bench = client();
        let load = Load::start(16, &bench);
        sleep(Duration::from_millis(300)).await;
        block(&lab);
        // One that begins inside, with time enough.
        let inside = tokio::spawn(bench.run(1_000_000));
        sleep(HOLE).await;
        unblock(&lab);
        let back = Instant::now();
        assert_eq!(inside.await.unwrap(), Ok(1_000_000));
        sleep(Duration::from_millis(300)).await;
        let mut outcome = load.stop().await;
        outcome.ok.push((1_000_000, back, Duration::ZERO));
        let recovered = outcome.first_after(back + Duration::from_micros(1)).unwrap();
        println!(
            "{} calls, the slowest took {:?}; {recovered:?} to recover",
            outcome.ok.len(),
            outcome.slowest(),
        );
        assert!(outcome.lost.is_empty(), "{:?}", outcome.lost);
        assert_eq!(outcome.repeats, 0, "no call was given back");
        outcome.check(&mut books);
        // A silent peer is asked once a second.
        assert!(recovered < Duration::from_millis(1500), "{recovered:?}");
        assert_eq!(server.connections().await, (1, 0), "the connection outlived it");
    });
}

#[test]
fn a_network_that_never_comes_back_is_found_in_eight_seconds_and_nobody_lies() {
    within(Shape::Direct, async |lab| {
        let mut books = Books::open("end");
        let _server = BenchProcess::start(&lab, &books).await;
        let bench = client();
        let held = tokio::spawn(bench.hold(1).no_deadline());
        until("the call runs", || {
            books.read_on();
            books.ran(1) == 1
        })
        .await;
        block(&lab);
        let blocked = Instant::now();
        // It may have run, for all its caller knows.
        let error = bench.run(2).timeout(Duration::from_secs(1)).await.unwrap_err();
        let outcome = (error.kind(), error.delivery());
        assert_eq!(outcome, (ErrorKind::DeadlineExceeded, Delivery::Unknown), "{error}");

        let error = timeout(PATIENCE, held).await.unwrap().unwrap().unwrap_err();
        let took = blocked.elapsed();
        println!("found after {took:?}: {error}");
        let outcome = (error.kind(), error.delivery());
        assert_eq!(outcome, (ErrorKind::ConnectionLost, Delivery::Unknown), "{error}");
        // 4 s of silence, which began before, and 4 s for an answer; 10 % for a busy machine.
        assert!(took < Duration::from_millis(8800), "{took:?}");

        // There is no session any more that it could have been sent in.
        let error = bench.run(3).timeout(Duration::from_secs(1)).await.unwrap_err();
        let outcome = (error.kind(), error.delivery());
        assert_eq!(outcome, (ErrorKind::DeadlineExceeded, Delivery::NotSent), "{error}");
        books.read_on();
        assert_eq!((books.ran(1), books.ran(2), books.ran(3)), (1, 0, 0));

        unblock(&lab);
        let back = Instant::now();
        assert_eq!(bench.run(4).await, Ok(4));
        println!("a call was answered {:?} after the network came back", back.elapsed());
    });
}
