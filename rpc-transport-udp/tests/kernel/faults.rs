//! Networks that lose, repeat, damage and reorder datagrams: every call comes to its end all the same.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rpc_transport_udp::connector;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    lab::{Host, Lab, PORT, Shape, within},
    load::{builder, client},
    mtu::random,
    record::Books,
    relay,
    service::{BenchClient, BenchProcess},
};

/// Drops `percent` of the UDP packets that come to a host.
pub(crate) fn lossy(percent: u32) -> String {
    format!(
        "chain in {{\n type filter hook input priority 0\n\
         meta l4proto udp numgen random mod 100 < {percent} counter drop\n}}"
    )
}

/// Makes numbered calls, so many at a time. All have to be answered, and rightly.
async fn check_calls(bench: &BenchClient, calls: u64, at_a_time: usize) {
    let places = Arc::new(Semaphore::new(at_a_time));
    let mut tasks = JoinSet::new();
    for call in 1..=calls {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let bench = bench.clone();
        tasks.spawn(async move {
            assert_eq!(bench.run(call).await, Ok(call));
            drop(place);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Echoes random bytes, of many sizes.
async fn check_echoes(bench: &BenchClient, echoes: usize, bytes_max: usize) {
    for _ in 0..echoes {
        let bytes: Vec<u8> = (0..fastrand::usize(..bytes_max)).map(|_| fastrand::u8(..)).collect();
        let bytes = Bytes::from(bytes);
        let back = bench.echo(bytes.clone()).await.unwrap();
        assert!(back == bytes, "{} bytes came back as others", bytes.len());
    }
}

#[track_caller]
fn check_books(books: &mut Books, calls: u64) {
    books.read_on();
    assert_eq!(books.repeated(), Vec::<u64>::new(), "ran twice");
    assert_eq!(books.calls() as u64, calls);
}

#[test]
fn ten_thousand_calls_all_succeed_where_a_fifth_of_all_packets_is_lost_each_way() {
    within(Shape::Direct, async |lab| {
        let mut books = Books::open("loss");
        let _server = BenchProcess::start(&lab, &books).await;
        for host in [Host::Client, Host::Server] {
            lab.rules(host, &lossy(20));
        }
        let began = Instant::now();
        check_calls(&client(), 10_000, 256).await;
        println!(
            "10,000 calls, 256 at a time, took {:?}; packets lost: {} at the client, {} at the server",
            began.elapsed(),
            lab.counted(Host::Client),
            lab.counted(Host::Server),
        );
        check_books(&mut books, 10_000);
    });
}

/// As above, but what is lost are single datagrams, never several that travel as one.
#[test]
fn calls_one_by_one_and_large_ones_succeed_where_a_fifth_of_all_datagrams_is_lost_each_way() {
    within(Shape::Direct, async |lab| {
        let mut books = Books::open("single-losses");
        let _server = BenchProcess::start(&lab, &books).await;
        for host in [Host::Client, Host::Server] {
            lab.run(host, "ip link set dev wire gso_max_segs 1");
            lab.rules(host, &lossy(20));
        }
        let began = Instant::now();
        check_calls(&client(), 200, 1).await;
        println!("200 calls one after the other took {:?}", began.elapsed());
        let began = Instant::now();
        check_echoes(&client(), 3, 200_000).await;
        println!("3 echoes of about 100 kB took {:?}", began.elapsed());
        check_books(&mut books, 200);
    });
}

/// What a server may need at most for 64 MiB that it sends back: them, what was sent and isn't acknowledged,
/// and what it began with.
const PEAK_MAX: u64 = 160 << 20;

#[test]
fn a_large_message_comes_back_in_bounded_memory_where_a_hundredth_of_it_is_lost() {
    within(Shape::Direct, async |lab| {
        let books = Books::open("large-and-lossy");
        let server = BenchProcess::start(&lab, &books).await;
        let (bench, bytes) = (client(), random((64 << 20) - 64));
        for host in [Host::Client, Host::Server] {
            lab.rules(host, &lossy(1));
        }
        let began = Instant::now();
        let back = bench.echo(bytes.clone()).timeout(LARGE_WITHIN).await.unwrap();
        assert!(back == bytes, "other bytes came back");
        let peak = server.process.memory().peak;
        println!("64 MiB and back took {:?}, {} MiB at most", began.elapsed(), peak >> 20);
        assert!(peak < PEAK_MAX, "{peak}");
    });
}

/// Nobody promises how fast it is: this ends the test.
const LARGE_WITHIN: Duration = Duration::from_secs(100);

#[test]
fn packets_that_come_twice_or_three_times_run_nothing_twice() {
    within(Shape::Direct, async |lab| {
        let mut books = Books::open("doubles");
        let _server = BenchProcess::start(&lab, &books).await;
        for host in [Host::Client, Host::Server] {
            lab.device_rules(
                host,
                "chain out {\n type filter hook egress device \"wire\" priority 0\n\
                 meta l4proto udp numgen random mod 100 < 30 counter dup to \"wire\"\n\
                 meta l4proto udp numgen random mod 100 < 10 dup to \"wire\"\n}",
            );
        }
        let bench = client();
        check_calls(&bench, 500, 1).await;
        check_echoes(&bench, 10, 300_000).await;
        for call in 501..=2500 {
            // Many in a packet would make few packets.
            let (first, second) = tokio::join!(bench.run(call), bench.run(10_000 + call));
            assert_eq!((first, second), (Ok(call), Ok(10_000 + call)));
        }
        let doubled = (lab.counted(Host::Client), lab.counted(Host::Server));
        println!(
            "packets that came twice: {} at the server, {} at the client",
            doubled.0, doubled.1
        );
        assert!(doubled.0 > 100 && doubled.1 > 100, "{doubled:?}");
        check_books(&mut books, 4500);
    });
}

/// The rules change bytes at a tenth of all packets, of everything that a datagram has. The kernel
/// doesn't notice: between namespaces nobody has computed a checksum yet.
#[test]
fn damage_that_the_kernel_does_not_notice_changes_nothing() {
    within(Shape::Direct, async |lab| {
        let mut books = Books::open("damage");
        let _server = BenchProcess::start(&lab, &books).await;
        // Behind the 8 bytes of UDP: kind, epoch, checksum, session id, packet number, frames.
        let damage: String = [0, 2, 4, 8, 16, 20, 24, 40, 60, 200, 700, 1100]
            .map(|at| {
                let bit = 64 + 8 * at;
                format!(
                    "meta l4proto udp numgen random mod 1000 < 12 @th,{bit},16 set 0x5aa5 counter\n"
                )
            })
            .concat();
        for host in [Host::Client, Host::Server] {
            // So that each datagram is a packet, and may be damaged.
            lab.run(host, "ip link set dev wire gso_max_segs 1");
            lab.rules(
                host,
                &format!("chain in {{\n type filter hook input priority 0\n{damage}}}"),
            );
        }
        let bench = client();
        check_calls(&bench, 300, 1).await;
        check_calls_from(&bench, 1000, 3000).await;
        check_echoes(&bench, 8, 200_000).await;
        for host in [Host::Client, Host::Server] {
            let (damaged, noticed) =
                (lab.counted(host), lab.kernel_counter(host, "Udp", "InCsumErrors"));
            println!("{damaged} packets damaged on their way to the {host:?}, {noticed} noticed");
            assert!(damaged > 50, "{damaged}");
            assert!(noticed < damaged / 10, "the kernel saw {noticed} of {damaged}");
        }
        check_books(&mut books, 2300);
    });
}

async fn check_calls_from(bench: &BenchClient, first: u64, end: u64) {
    let mut tasks = JoinSet::new();
    for call in first..end {
        let bench = bench.clone();
        tasks.spawn(async move { assert_eq!(bench.run(call).await, Ok(call)) });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Rules can't hold packets back: a relay at the client's host does, each for a time of its own.
#[test]
fn datagrams_that_overtake_each_other_change_nothing() {
    within(Shape::Direct, async |lab| {
        let mut books = Books::open("order");
        let _server = BenchProcess::start(&lab, &books).await;
        let relay = relay::start((Lab::SERVER, PORT).into(), 6).await;
        let bench = BenchClient::new(builder().lazy(connector(relay.address)));
        check_calls(&bench, 2000, 64).await;
        check_echoes(&bench, 2, 300_000).await;
        // How many go into a datagram depends on how busy the machine is.
        let mut calls = 2000;
        while relay.overtaken() <= 500 {
            check_calls_from(&bench, calls + 1, calls + 501).await;
            calls += 500;
        }
        println!("{} datagrams were overtaken in {calls} calls", relay.overtaken());
        check_books(&mut books, calls);
    });
}
