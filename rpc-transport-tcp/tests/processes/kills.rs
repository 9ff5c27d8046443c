//! Processes that are killed in the middle of calls: what the other side learns, and how soon.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use rpc_core::{Delivery, ErrorKind};
use rpc_transport_tcp::listen;

use crate::{
    lab::{Bench, LabProcess, server},
    load::{Failure, HELD, Load, Numbers, channel},
    process::{PATIENCE, Process, times, until},
    record::Books,
};

const KILLS: usize = 50;
const CHANNELS: usize = 4;

/// Within this time everybody has to know.
const SOON: Duration = Duration::from_secs(1);

/// An address of its own, so that no other test takes the port in between.
const ADDRESS: &str = "127.0.0.82:0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_a_killed_server_know_it_within_a_second_and_no_book_lies() {
    let mut books = Books::open("kills");
    let mut server = LabProcess::start(ADDRESS, &books).await;
    let address = server.address.clone();
    let channels: Vec<_> = (0..CHANNELS).map(|_| channel(&address)).collect();
    let numbers = Numbers::default();
    let calling = channels.clone();
    let load = Load::start(16, &numbers, move |at| calling[at % CHANNELS].clone());
    let (mut kills, mut held, mut recoveries) = (Vec::new(), Vec::new(), Vec::new());
    let kills_planned = times(KILLS);
    for round in 0..kills_planned {
        let calls = channels.iter().map(|lab| {
            let (lab, call) = (lab.clone(), numbers.next());
            let ended = tokio::spawn(async move {
                let error = lab.hold(call).no_deadline().await.unwrap_err();
                Failure { call, error, at: Instant::now() }
            });
            (call, ended)
        });
        let (calls, tasks): (Vec<_>, Vec<_>) = calls.unzip();
        until("the held calls run", || {
            books.read_on();
            calls.iter().all(|call| books.ran(*call) > 0)
        })
        .await;
        // At another point of the traffic each time.
        load.progress(1, 16 + round * 37 % 200).await;
        let killed = Instant::now();
        kills.push(killed);
        server.process.kill();
        for task in tasks {
            held.push(tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap());
        }
        server = LabProcess::start(&address, &books).await;
        load.progress(1, 0).await;
        recoveries.push(killed.elapsed());
    }
    let outcome = load.stop().await;
    drop(server);

    books.read_on();
    let Some(slowest) = held.iter().chain(&outcome.lost).map(|lost| after(&kills, lost)).max()
    else {
        panic!("nobody noticed")
    };
    let ran = outcome.lost.iter().filter(|lost| books.ran(lost.call) > 0).count();
    println!(
        "{kills_planned} kills, {} calls; {} lost, of which {ran} had run; {} repeated; {} held; the slowest \
         knew after {slowest:?}",
        outcome.ok.len(),
        outcome.lost.len(),
        outcome.repeated.len(),
        held.len(),
    );
    assert!(slowest < SOON, "{slowest:?}");
    recoveries.sort_unstable();
    let recovery = recoveries[recoveries.len() * 99 / 100];
    println!("99 % of the times every caller was answered again within {recovery:?}");
    for lost in held.iter().chain(&outcome.lost) {
        let (kind, delivery) = (lost.error.kind(), lost.error.delivery());
        assert_eq!((kind, delivery), (ErrorKind::ConnectionLost, Delivery::Unknown), "{lost:?}");
    }
    let wrong: Vec<_> = outcome.ok.iter().filter(|call| books.ran(**call) != 1).collect();
    assert!(wrong.is_empty(), "answered, and not run once: {wrong:?}");
    assert_eq!(books.repeated(), Vec::<u64>::new(), "ran twice");
    println!("FIGURE kills.servers={kills_planned}");
    println!("FIGURE kills.recovery_ms={}", recovery.as_millis());
}

/// How long after a kill somebody knew.
fn after(kills: &[Instant], lost: &Failure) -> Duration {
    let kill = kills.iter().rev().find(|kill| **kill <= lost.at);
    kill.map_or(Duration::MAX, |kill| lost.at.duration_since(*kill))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_client_leaves_no_handler_and_no_connection_behind() {
    let books = Books::open("killed-clients");
    let bench = Bench::new(books.path());
    let held = bench.held();
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().to_string();
    let server = server(bench).listen(listener).start().unwrap();
    let mut slowest = Duration::ZERO;
    let mut next = Process::start("client", &[("ADDRESS", &address)], None);
    let kills = times(KILLS);
    for _ in 0..kills {
        let mut client = next;
        client.told("calling").await;
        until("its calls run", || held.load(Ordering::SeqCst) as u64 == HELD).await;
        client.kill();
        let gone = until("its calls and its connection are gone", || {
            held.load(Ordering::SeqCst) == 0 && server.connections() == 0
        });
        slowest = slowest.max(gone.await);
        next = Process::start("client", &[("ADDRESS", &address)], None);
    }
    println!("{kills} kills; the slowest was gone after {slowest:?}");
    assert!(slowest < SOON, "{slowest:?}");
    println!("FIGURE kills.clients={kills}");
}
