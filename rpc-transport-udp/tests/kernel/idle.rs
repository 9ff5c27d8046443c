//! Sessions that have nothing to say: not a packet.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    lab::{Host, Shape, within},
    load::client,
    record::Books,
    service::BenchProcess,
};

const COUNTER: &str =
    "chain in {\n type filter hook input priority 0\n meta l4proto udp counter\n}";

#[test]
fn an_idle_session_sends_nothing() {
    within(Shape::Direct, async |lab| {
        let books = Books::open("idle");
        let mut server = BenchProcess::start(&lab, &books).await;
        let bench = client();
        for call in 0..100 {
            assert_eq!(bench.run(call).await, Ok(call));
        }
        // What is still to be acknowledged is by then, and paths have been probed.
        sleep(Duration::from_secs(1)).await;
        for host in [Host::Client, Host::Server] {
            lab.rules(host, COUNTER);
        }
        sleep(Duration::from_secs(5)).await;
        let counted = (lab.counted(Host::Client), lab.counted(Host::Server));
        println!("{counted:?} packets in 5 s");
        assert_eq!(counted, (0, 0));
        assert_eq!(server.connections().await, (1, 0), "the session is there");
        assert_eq!(bench.run(100).await, Ok(100));
        assert!(lab.counted(Host::Server) > 0, "packets are counted");
    });
}
