//! The transport contract, over loopback sockets and a network in memory, as rpc-core's kit checks it.

use std::time::Duration;

use rpc_core::testing::conformance::{self, Check, Kit};
use rpc_transport_udp::{
    UdpOptions, UdpTransport,
    testing::{Faults, Network},
};

use crate::{has_v6, pair};

/// A session through a listener of its own.
async fn connected_pair(options: UdpOptions, addr: &str) -> (UdpTransport, UdpTransport) {
    let mut listener = options.clone().listen(addr).await.expect("a free port");
    let connector = options.connector(listener.local_addr());
    pair(&connector, &mut listener).await.expect("a session")
}

#[tokio::test]
async fn conforms() {
    conformance::run(|| connected_pair(UdpOptions::new(), "127.0.0.1:0")).await;
}

#[tokio::test]
async fn conforms_over_ipv6() {
    if has_v6() {
        conformance::run(|| connected_pair(UdpOptions::new(), "[::1]:0")).await;
    }
}

/// What doesn't depend on the one datagram that tells of a dropped end. Where that is lost, whoever
/// waits finds out by asking: core pings a peer that owes an answer.
fn without_goodbyes() -> Kit {
    let checks = Check::ALL.iter().copied();
    Kit::new().checks(checks.filter(|check| {
        !matches!(
            check,
            Check::DroppedEndsAreMissed
                | Check::WhatIsLeftNeverArrives
                | Check::SendersHearOfTheLoss
        )
    }))
}

/// Datagrams are lost when they come faster than they are read.
#[tokio::test]
async fn conforms_with_small_buffers() {
    let options = UdpOptions::new().send_buffer(8 * 1024).recv_buffer(8 * 1024);
    without_goodbyes().run(|| connected_pair(options.clone(), "127.0.0.1:0")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_among_threads() {
    let kit = async { conformance::run(|| connected_pair(UdpOptions::new(), "127.0.0.1:0")).await };
    tokio::spawn(kit).await.expect("no panic");
}

/// In real time: the kit has limits of its own.
#[tokio::test]
async fn conforms_over_a_network_that_loses() {
    let millis = Duration::from_millis;
    let faults = Faults::none()
        .delay(Duration::ZERO, millis(1))
        .loss(0.02, 1.5)
        .duplication(0.05)
        .reordering(0.1, millis(2))
        .bit_flips(0.01)
        .blocking(0.02, millis(2))
        .no_buffers(0.01)
        .refusals(0.01);
    for seed in 0..2 {
        let pair = || {
            let faults = faults.clone();
            async move {
                // Set up before anything is lost: a connect may fail, and that isn't what is tried.
                let network = Network::new(seed);
                let pair = connected_pair(network.options(), "10.1.0.1:0").await;
                let _ = network.faults(faults);
                pair
            }
        };
        without_goodbyes().run(pair).await;
    }
}
