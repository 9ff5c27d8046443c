//! Hosts with several addresses.

use bytes::Bytes;
use rpc_transport_udp::connector;

use crate::{
    lab::{Host, PORT, Shape, within},
    load::builder,
    record::Books,
    service::{BenchClient, BenchProcess},
};

/// A client's socket takes nothing from any address but the one that it was connected to.
#[test]
fn a_server_at_all_addresses_answers_from_the_one_that_was_used() {
    within(Shape::Direct, async |lab| {
        let books = Books::open("addresses");
        for address in ["10.77.2.2/32", "10.77.3.1/32"] {
            lab.run(Host::Server, &format!("ip address add {address} dev wire"));
        }
        lab.run(Host::Client, "ip route add 10.77.0.0/16 dev wire");
        for (wildcard, servers) in [
            ("0.0.0.0", ["10.77.2.1", "10.77.2.2", "10.77.3.1"]),
            // Takes clients of both kinds of addresses.
            ("[::]", ["10.77.2.1", "10.77.2.2", "10.77.3.1"]),
        ] {
            let address = format!("{wildcard}:{PORT}");
            let _server = BenchProcess::start_at(&lab, &books, &address).await;
            let clients = servers.map(|server| {
                BenchClient::new(builder().lazy(connector(format!("{server}:{PORT}"))))
            });
            let bytes = Bytes::from(vec![7; 100_000]);
            for _ in 0..10 {
                for bench in &clients {
                    assert_eq!(bench.run(1).await, Ok(1));
                    assert!(bench.echo(bytes.clone()).await.unwrap() == bytes);
                }
            }
        }
    });
}
