//! What the kernel tells a socket on its own or others' behalf: hints, which end no session.

use std::time::{Duration, Instant};

use rpc_core::{ErrorKind, transport::Connector};
use rpc_transport_udp::connector;
use tokio::time::sleep;

use crate::{
    lab::{Host, Lab, PORT, Shape, within},
    load::{Load, client},
    record::Books,
    service::BenchProcess,
};

/// Rejects a fifth of what comes for the server, each time with another word; and for a second, all
/// of it.
#[test]
fn storms_of_icmp_errors_end_no_session() {
    within(Shape::Direct, async |lab| {
        let mut books = Books::open("icmp");
        let mut server = BenchProcess::start(&lab, &books).await;
        // As many errors as there are packets.
        lab.run(Host::Server, "sysctl -q -w net.ipv4.icmp_ratemask=0");
        lab.run(Host::Server, "sysctl -q -w net.ipv4.icmp_msgs_per_sec=1000000");
        let words = [
            "port-unreachable",
            "host-unreachable",
            "net-unreachable",
            "prot-unreachable",
            "host-prohibited",
            "net-prohibited",
            "admin-prohibited",
        ];
        let some: String = words
            .map(|word| {
                format!(
                    "udp dport {PORT} numgen random mod 100 < 3 counter reject with icmp {word}\n"
                )
            })
            .concat();
        let bench = client();
        let load = Load::start(16, &bench);
        sleep(Duration::from_millis(200)).await;
        lab.rules(
            Host::Server,
            &format!("chain in {{\n type filter hook input priority 0\n{some}}}"),
        );
        sleep(Duration::from_secs(2)).await;
        let some = lab.counted(Host::Server);
        let all = format!("udp dport {PORT} counter reject with icmp port-unreachable");
        lab.rules(
            Host::Server,
            &format!("chain in {{\n type filter hook input priority 0\n{all}\n}}"),
        );
        sleep(Duration::from_secs(1)).await;
        let all = lab.counted(Host::Server);
        lab.no_rules(Host::Server);
        let over = Instant::now();
        sleep(Duration::from_millis(300)).await;
        let outcome = load.stop().await;
        let told = lab.kernel_counter(Host::Client, "Icmp", "InDestUnreachs");
        println!(
            "{} calls, the slowest took {:?}; {some} packets rejected among others, {all} when all \
             were; the client was told {told} times, and answered {:?} after it ended",
            outcome.ok.len(),
            outcome.slowest(),
            outcome.first_after(over).unwrap(),
        );
        assert!(some > 20 && told >= some, "{some} {told}");
        assert!(outcome.lost.is_empty(), "{:?}", outcome.lost);
        assert_eq!(outcome.repeats, 0);
        outcome.check(&mut books);
        assert_eq!(server.connections().await, (1, 0), "the connection outlived it");
    });
}

/// A rule that drops what leaves makes the send call fail.
#[test]
fn what_the_kernel_refuses_to_send_is_lost_like_anything_else() {
    within(Shape::Direct, async |lab| {
        let mut books = Books::open("eperm");
        let mut server = BenchProcess::start(&lab, &books).await;
        let bench = client();
        assert_eq!(bench.run(1_000_000).await, Ok(1_000_000));
        let refuse = |which: &str| {
            format!(
                "chain out {{\n type filter hook output priority 0\n\
                 meta l4proto udp {which} counter drop\n}}"
            )
        };
        for host in [Host::Client, Host::Server] {
            lab.rules(host, &refuse("numgen random mod 100 < 30"));
        }
        let load = Load::start(16, &bench);
        sleep(Duration::from_secs(2)).await;
        let refused = (lab.counted(Host::Client), lab.counted(Host::Server));
        // Nothing leaves any more, for a second.
        lab.rules(Host::Client, &refuse(""));
        sleep(Duration::from_secs(1)).await;
        for host in [Host::Client, Host::Server] {
            lab.no_rules(host);
        }
        let mut outcome = load.stop().await;
        println!(
            "{} calls, the slowest took {:?}; {refused:?} sends refused",
            outcome.ok.len(),
            outcome.slowest()
        );
        assert!(refused.0 > 20 && refused.1 > 20, "{refused:?}");
        assert!(outcome.lost.is_empty(), "{:?}", outcome.lost);
        assert_eq!(outcome.repeats, 0);
        outcome.ok.push((1_000_000, Instant::now(), Duration::ZERO));
        outcome.check(&mut books);
        assert_eq!(server.connections().await, (1, 0), "the connection outlived it");
    });
}

/// At connect there is nothing to lose by believing it.
#[test]
fn a_port_where_nothing_listens_is_told_at_connect() {
    within(Shape::Direct, async |_| {
        let began = Instant::now();
        let error = connector(Lab::address()).connect().await.unwrap_err();
        println!("refused after {:?}: {error}", began.elapsed());
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        assert!(began.elapsed() < Duration::from_secs(1));
        let error = client().run(1).timeout(Duration::from_millis(500)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(error.delivery().never_ran(), "{error}");
    });
}
