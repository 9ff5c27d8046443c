//! Clients whose address changes in the middle of calls, as the address translators of networks do.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::sleep;

use crate::{
    lab::{Host, Lab, PORT, Shape, within},
    load::{Load, client},
    record::Books,
    service::BenchProcess,
};

/// The port of the only UDP socket at the client's host.
fn client_port(lab: &Lab) -> u16 {
    let sockets = lab.run(Host::Client, "cat /proc/net/udp");
    let line = sockets.lines().nth(1).unwrap();
    let (_, port) = line.split_whitespace().nth(1).unwrap().split_once(':').unwrap();
    u16::from_str_radix(port, 16).unwrap()
}

/// From now on the server sees another port of the client's. Only what comes to that port gets back:
/// what is still sent to the port before is lost.
fn rebind(lab: &Lab, own: u16, seen: u16) {
    lab.rules(
        Host::Server,
        &format!(
            "chain in {{\n type filter hook prerouting priority raw\n\
             udp dport {PORT} udp sport {own} udp sport set {seen} counter notrack\n}}\n\
             chain out {{\n type filter hook output priority raw\n\
             udp sport {PORT} udp dport {seen} udp dport set {own} counter notrack accept\n\
             udp sport {PORT} drop\n}}"
        ),
    );
}

#[test]
fn calls_and_a_large_upload_survive_a_client_that_changes_its_port() {
    within(Shape::Direct, async |lab| {
        let mut books = Books::open("rebinding");
        let mut server = BenchProcess::start(&lab, &books).await;
        let bench = client();
        let load = Load::start(8, &bench);
        sleep(Duration::from_millis(200)).await;
        let own = client_port(&lab);
        // A MiB at a time, so that a change falls into one.
        let uploader = bench.clone();
        let uploading = tokio::spawn(async move {
            let bytes = Bytes::from(vec![7; 1 << 20]);
            for _ in 0..64 {
                assert_eq!(uploader.put(bytes.clone()).await, Ok(1 << 20));
                sleep(Duration::from_millis(20)).await;
            }
        });
        let mut changes = Vec::new();
        for round in 0..4 {
            sleep(Duration::from_millis(300)).await;
            rebind(&lab, own, 20_000 + round);
            changes.push(Instant::now());
        }
        uploading.await.unwrap();
        let outcome = load.stop().await;
        for changed in changes {
            println!("answered {:?} after a change", outcome.first_after(changed).unwrap());
        }
        println!("{} calls, the slowest took {:?}", outcome.ok.len(), outcome.slowest());
        assert!(lab.counted(Host::Server) > 100, "the last port was used");
        assert!(outcome.lost.is_empty(), "{:?}", outcome.lost);
        assert_eq!(outcome.repeats, 0);
        // A client that only waits, because the server has acknowledged its requests, isn't reached
        // any more. It asks after 4 s of silence, and is found by that.
        assert!(outcome.slowest() < Duration::from_secs(6), "{:?}", outcome.slowest());
        outcome.check(&mut books);
        assert_eq!(server.connections().await, (1, 0), "the connection outlived it");
    });
}
