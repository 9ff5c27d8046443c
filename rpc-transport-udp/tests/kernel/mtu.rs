//! Links that take less than Ethernet does, from the start and all of a sudden.

use std::{
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use rpc_core::{Channel, Delivery, transport::Connector};
use rpc_transport_udp::connector;
use tokio::time::sleep;

use crate::{
    lab::{Host, Lab, Shape, within},
    load::client,
    record::Books,
    service::BenchProcess,
};

/// Random bytes, the same each time, made quickly.
pub(crate) fn random(bytes: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(1);
    let mut block = vec![0; bytes];
    random.fill(&mut block);
    block.into()
}

#[test]
fn a_link_of_1280_bytes_carries_64_mib_each_way() {
    within(Shape::Direct, async |lab| {
        let books = Books::open("1280");
        for host in [Host::Client, Host::Server] {
            lab.run(host, "ip link set dev wire mtu 1280");
        }
        let _server = BenchProcess::start(&lab, &books).await;
        let bench = client();
        assert_eq!(bench.run(1).await, Ok(1));
        let bytes = random((64 << 20) - 64);
        let began = Instant::now();
        let back = bench.echo(bytes.clone()).timeout(Duration::from_secs(60)).await.unwrap();
        println!("64 MiB and back took {:?}", began.elapsed());
        assert!(back == bytes, "other bytes came back");
    });
}

/// How many calls are under way. The bytes of one are a frame, and datagrams are filled with them:
/// those of a large message are cut for the smallest datagrams.
const AT_A_TIME: usize = 200;
const BYTES: usize = 300;

/// Makes calls, changes the network, and sees that they go on.
async fn check_change(lab: &Lab, change: impl FnOnce()) {
    let books = Books::open("change");
    let mut server = BenchProcess::start(lab, &books).await;
    let bench = client();
    let (began, ends) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let over = Arc::<AtomicBool>::default();
    let callers = (0..AT_A_TIME).map(|_| {
        let (bench, ends, over) = (bench.clone(), Arc::clone(&ends), Arc::clone(&over));
        tokio::spawn(async move {
            let bytes = random(BYTES);
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                assert!(bench.echo(bytes.clone()).await.unwrap() == bytes);
                ends.lock().unwrap().push((Instant::now(), began.elapsed()));
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    // Long enough for probes to have found out what the path takes.
    sleep(Duration::from_secs(1)).await;
    change();
    let changed = Instant::now();
    sleep(Duration::from_millis(1500)).await;
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    let ends = std::mem::take(&mut *ends.lock().unwrap());
    let (before, after): (Vec<_>, Vec<_>) = ends.iter().partition(|(at, _)| *at < changed);
    let slowest = |calls: &[(Instant, Duration)]| calls.iter().map(|(_, took)| *took).max();
    println!(
        "{} calls in {:?}, the slowest took {:?}; after the change {} in {:?}, the slowest {:?}",
        before.len(),
        changed - began,
        slowest(&before).unwrap(),
        after.len(),
        changed.elapsed(),
        slowest(&after).unwrap(),
    );
    assert!(slowest(&after).unwrap() < Duration::from_secs(3));
    assert_eq!(server.connections().await.0, 1, "the connection outlived it");
}

/// The router doesn't send on any more what is larger than 1280 bytes, and says so with ICMP. Its
/// links take as much as before: a pair of devices lets rows of datagrams pass that are too large,
/// and drops single ones.
fn shrink(lab: &Lab) {
    for (net, device) in [("10.77.1.0/24", "left"), ("10.77.2.0/24", "right")] {
        lab.run(Host::Router, &format!("ip route change {net} dev {device} mtu 1280"));
    }
}

/// Nobody says anything.
#[test]
fn calls_survive_a_path_that_shrinks_without_a_word() {
    within(Shape::Routed, async |lab| {
        let silent = "chain out {\n type filter hook output priority 0\n meta l4proto icmp drop\n}";
        // The server's machine would say that nothing listens any more, of what is on its way at the end.
        for host in [Host::Router, Host::Server] {
            lab.rules(host, silent);
        }
        check_change(&lab, || shrink(&lab)).await;
        assert_eq!(lab.kernel_counter(Host::Client, "Icmp", "InDestUnreachs"), 0);
    });
}

/// The router's word reaches the client's socket as an error.
#[test]
fn calls_survive_a_router_that_says_what_is_too_large() {
    within(Shape::Routed, async |lab| {
        check_change(&lab, || shrink(&lab)).await;
        let told = lab.kernel_counter(Host::Client, "Icmp", "InDestUnreachs");
        println!("the client was told {told} times");
        assert!(told > 0);
    });
}

/// The machines' own link shrinks: the kernel refuses what is too large.
#[test]
fn calls_survive_a_link_that_shrinks_at_both_ends() {
    within(Shape::Direct, async |lab| {
        check_change(&lab, || {
            for host in [Host::Client, Host::Server] {
                lab.run(host, "ip link set dev wire mtu 1280");
            }
        })
        .await;
    });
}

#[test]
fn a_link_of_576_bytes_is_refused_with_words() {
    within(Shape::Direct, async |lab| {
        let books = Books::open("576");
        let _server = BenchProcess::start(&lab, &books).await;
        lab.run(Host::Client, "ip link set dev wire mtu 576");
        let began = Instant::now();
        let error = connector(Lab::address()).connect().await.unwrap_err();
        println!("refused after {:?}: {error}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(1));
        let said = error.to_string();
        assert!(said.contains("the path doesn't take datagrams of 1200 bytes"), "{said}");

        let error = Channel::connect(connector(Lab::address())).await.unwrap_err();
        assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains("1200 bytes"), "{cause}");
    });
}

/// A router says so of a link behind it.
#[test]
fn a_path_with_a_link_of_576_bytes_ends_in_an_error_within_the_connect_timeout() {
    within(Shape::Routed, async |lab| {
        let books = Books::open("576-routed");
        let _server = BenchProcess::start(&lab, &books).await;
        lab.run(Host::Router, "ip link set dev right mtu 576");
        let began = Instant::now();
        let error = connector(Lab::address()).connect().await.unwrap_err();
        println!("refused after {:?}: {error}", began.elapsed());
        assert!(began.elapsed() < Duration::from_millis(5500));
        let said = error.to_string();
        assert!(said.contains("the path doesn't take datagrams of 1200 bytes"), "{said}");
    });
}
