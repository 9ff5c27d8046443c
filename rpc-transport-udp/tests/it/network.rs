//! Large messages, servers that vanish, clients that move, sockets that take nothing: over the network
//! in memory, in paused time, unless said otherwise.

use std::{env, io, time::Duration};

use bytes::Bytes;
use rpc_core::{
    Channel, Delivery, ErrorKind, Limits, Server,
    transport::{Connector, Transport},
};
use rpc_transport_udp::testing::{Faults, Network};
use tokio::time::Instant;

use crate::{accept, pair};

const MIB: usize = 1024 * 1024;

#[rpc_core::service]
pub(crate) trait Echo {
    /// Gives back what it gets.
    async fn echo(&self, bytes: Bytes) -> Bytes;
}

pub(crate) struct Mirror;

impl Echo for Mirror {
    async fn echo(&self, bytes: Bytes) -> Bytes {
        bytes
    }
}

/// Room for large messages.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.message_bytes = 80 * 1024 * 1024;
    limits
}

/// A server at an address of the network, and a channel to it.
async fn serve(network: &Network) -> io::Result<(Server, Channel)> {
    let listener = network.listen().await?;
    let address = listener.local_addr();
    let service = EchoServer::new(Mirror);
    let server = Server::builder().service(service).limits(limits()).listen(listener).start();
    let channel = Channel::builder().limits(limits()).lazy(network.connector(address));
    Ok((server.expect("a server"), channel))
}

/// Bytes that differ from place to place.
fn content(bytes: usize) -> Bytes {
    let words =
        (0..bytes as u64 / 8).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    words.collect::<Vec<u8>>().into()
}

/// A path of 40 ms there and back that carries 50 MB/s.
fn path() -> Faults {
    let delay = Duration::from_millis(20);
    Faults::none().delay(delay, delay).rate(50_000_000, 2_000_000)
}

async fn echo_64_mib(faults: Faults) {
    let network = Network::new(1).faults(faults);
    let (server, channel) = serve(&network).await.expect("a server");
    let sent = content(64 * MIB);
    let began = Instant::now();
    let client = EchoClient::new(channel.clone());
    let mut call = std::pin::pin!(client.echo(sent.clone()).no_deadline().into_future());
    let mut most = 0;
    let came = loop {
        // What is under way is bounded by the windows of the two sessions, 4096 frames each, and
        // what is sent again.
        match tokio::time::timeout(Duration::from_millis(100), &mut call).await {
            Ok(came) => break came.expect("an echo"),
            Err(_) => most = most.max(network.under_way()),
        }
    };
    assert!(came == sent, "other bytes came back");
    assert!(most < 16_384, "{most} datagrams under way");
    eprintln!(
        "64 MiB and back: {:?}, at most {most} under way, {:?}",
        began.elapsed(),
        network.counts()
    );
    assert_eq!(network.violation(), None);
    drop((client, channel));
    assert!(server.shutdown(Duration::from_secs(60)).await);
}

#[tokio::test(start_paused = true)]
async fn a_large_message_comes_back() {
    echo_64_mib(path()).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_message_comes_back_at_1_percent_loss() {
    echo_64_mib(path().loss(0.01, 1.0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_message_comes_back_at_5_percent_loss() {
    echo_64_mib(path().loss(0.05, 2.0)).await;
}

/// Case T47 of `spec/cases.md`.
#[tokio::test(start_paused = true)]
async fn a_large_message_comes_back_though_sockets_that_take_many_datagrams_send_one_at_a_time() {
    let mut refused = 0;
    for seed in 0..3 {
        let network = Network::new(seed).faults(path().one_at_a_time(true));
        let (server, channel) = serve(&network).await.expect("a server");
        let sent = content(MIB);
        let came = EchoClient::new(channel).echo(sent.clone()).await.expect("an echo in time");
        assert!(came == sent, "other bytes came back");
        assert_eq!(server.counters().connections, 1, "one session all the time");
        refused += network.counts().refused;
    }
    assert!(refused > 100, "{refused} send calls were for several");
}

/// Callers that make one call after the other, and how many each makes for a change. `RPC_TIMES` makes more.
const CALLERS: u64 = 20;
const CALLS: u64 = 500;

/// How long each may take: a fifth of what calls have by default.
const FIRST_DEADLINE: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn calls_end_well_by_their_first_deadline_where_a_fiftieth_is_lost_each_way() {
    let times: u64 = env::var("RPC_TIMES").map_or(1, |times| times.parse().expect("a number"));
    let network = Network::new(3).faults(path().loss(0.02, 1.0));
    let (server, channel) = serve(&network).await.expect("a server");
    let callers = (0..CALLERS).map(|caller| {
        let client = EchoClient::new(channel.clone());
        tokio::spawn(async move {
            let mut failed = 0;
            for call in 0..CALLS * times {
                let sent = Bytes::from((caller << 32 | call).to_le_bytes().to_vec());
                match client.echo(sent.clone()).timeout(FIRST_DEADLINE).await {
                    Ok(came) => assert_eq!(came, sent, "somebody else's answer"),
                    Err(error) => {
                        eprintln!("{error}");
                        failed += 1;
                    }
                }
            }
            failed
        })
    });
    let mut failed = 0;
    for caller in callers.collect::<Vec<_>>() {
        failed += caller.await.expect("a caller");
    }
    let calls = CALLERS * CALLS * times;
    assert!(failed * 10_000 <= calls, "{failed} of {calls}");
    assert_eq!(network.violation(), None);
    let lost = network.counts();
    eprintln!("{calls} calls, {failed} failed: {lost:?}");
    eprintln!("FIGURE loss.calls={calls}\nFIGURE loss.failed={failed}");
    drop(channel);
    assert!(server.shutdown(Duration::from_secs(60)).await);
}

#[tokio::test]
async fn a_large_message_comes_back_over_loopback() {
    let listener = rpc_transport_udp::listen("127.0.0.1:0").await.expect("a port");
    let connector = rpc_transport_udp::connector(listener.local_addr());
    let service = EchoServer::new(Mirror);
    let server = Server::builder().service(service).limits(limits()).listen(listener).start();
    let channel = Channel::builder().limits(limits()).lazy(connector);
    let sent = content(64 * MIB);
    let came = EchoClient::new(channel).echo(sent.clone()).no_deadline().await.expect("an echo");
    assert!(came == sent, "other bytes came back");
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_transfer_survives_other_addresses_of_its_client() -> io::Result<()> {
    let network = Network::new(2).faults(path().loss(0.01, 1.0));
    let (server, channel) = serve(&network).await?;
    let client = EchoClient::new(channel);
    client.echo(content(100)).await.expect("an echo");
    let sent = content(8 * MIB);
    let call = client.echo(sent.clone()).no_deadline();
    let moves = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            network.rebind();
        }
    };
    let (came, ()) = tokio::join!(call, moves);
    assert!(came.expect("an echo") == sent);
    assert_eq!(network.violation(), None);
    assert_eq!(server.counters().connections, 1, "one session all the time");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_takes_nothing_holds_up_no_deadline() -> io::Result<()> {
    let network = Network::new(3);
    let (_server, channel) = serve(&network).await?;
    let client = EchoClient::new(channel);
    client.echo(content(100)).await.expect("an echo");
    let full = Faults::none().blocking(1.0, Duration::from_secs(3600));
    let network = network.to_servers(full);
    let began = Instant::now();
    let error = client.echo(content(100)).timeout(Duration::from_secs(5)).await.expect_err("stuck");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    // The session is given up when its time has come, although nothing can be told to its peer.
    let lost =
        tokio::time::timeout(Duration::from_secs(60), client.echo(content(100)).no_deadline());
    let error = lost.await.expect("in time").expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    drop(network);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_told_or_not() {
    let network = Network::new(4);
    let nobody = "10.1.0.1:7000";
    let error = network.connector(nobody).connect().await.expect_err("nobody");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let network = network.silent(true);
    let began = Instant::now();
    let error = network.connector(nobody).connect().await.expect_err("nobody");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert_eq!(network.sockets(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_killed_is_replaced_by_another() -> io::Result<()> {
    let network = Network::new(5);
    let (server, channel) = serve(&network).await?;
    let address = server.local_addr().expect("an address").as_socket().expect("an IP address");
    let client = EchoClient::new(channel);
    client.echo(content(100)).await.expect("an echo");
    network.kill(address);
    let _next = follow(&network, address).await;
    // The first call finds out that its session is unknown, the next one gets another.
    let error = client.echo(content(100)).await.expect_err("another process");
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    client.echo(content(100)).await.expect("an echo");
    drop(server);
    Ok(())
}

/// Case T14 of `spec/cases.md`: by a clock that stood still, a call of ten minutes ago is young.
#[tokio::test(start_paused = true)]
async fn a_client_whose_machine_slept_is_not_told_that_its_call_never_ran() -> io::Result<()> {
    for (slept, delivery) in [(0, Delivery::Rejected), (600, Delivery::Unknown)] {
        let network = Network::new(5);
        let (server, channel) = serve(&network).await?;
        let address = server.local_addr().expect("an address").as_socket().expect("an IP address");
        let client = EchoClient::new(channel);
        client.echo(content(100)).await.expect("an echo");
        network.kill(address);
        let _next = follow(&network, address).await;
        // The new server has been there for longer than the call, if that is as young as it seems.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let call = tokio::spawn(client.echo(content(100)).into_future());
        tokio::task::yield_now().await;
        network.sleep(Duration::from_secs(slept));
        let error = call.await.expect("no panic").expect_err("another process");
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, delivery));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_sessions_and_servers() -> io::Result<()> {
    let network = Network::new(6);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut listener = network.listen().await?;
    let connector = network.connector(listener.local_addr());
    for _ in 0..100 {
        let (client, server) = pair(&connector, &mut listener).await?;
        assert_eq!(server.peer().address().as_socket().map(|peer| peer.is_ipv4()), Some(true));
        drop((client, server));
    }
    assert_eq!((network.sockets(), tasks()), (1, 1), "the listener's");
    // A session outlives the listener, and the socket goes with it.
    let (client, server) = pair(&connector, &mut listener).await?;
    drop(listener);
    tokio::task::yield_now().await;
    assert_eq!((network.sockets(), tasks()), (2, 1));
    drop((client, server));
    tokio::task::yield_now().await;
    assert_eq!((network.sockets(), tasks()), (0, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn sessions_that_nobody_accepted_end_with_their_listener() -> io::Result<()> {
    let network = Network::new(7);
    let mut listener = network.listen().await?;
    let connector = network.connector(listener.local_addr());
    let first = connector.connect().await?;
    let accepted = accept(&mut listener).await?;
    let waiting = connector.connect().await?;
    tokio::time::sleep(Duration::from_millis(10)).await;
    drop((listener, accepted));
    tokio::task::yield_now().await;
    assert_eq!(network.sockets(), 2, "the clients' own");
    drop((first, waiting));
    assert_eq!(network.sockets(), 0);
    Ok(())
}

/// A server at the address of one that has gone.
async fn follow(network: &Network, address: std::net::SocketAddr) -> Server {
    let listener = network.listen_at(address).await.expect("the address is free");
    let service = EchoServer::new(Mirror);
    Server::builder().service(service).limits(limits()).listen(listener).start().expect("a server")
}

// r[verify setup.last]
#[tokio::test(start_paused = true)]
async fn a_first_call_is_answered_at_whatever_moment_its_server_goes() {
    // The client has its cookie after 40 ms, the server the call after 60, the client the answer
    // after 80.
    for at in 0..90 {
        let network = Network::new(at).faults(path());
        let (server, channel) = serve(&network).await.expect("a server");
        let address = server.local_addr().expect("one").as_socket().expect("an IP address");
        let client = EchoClient::new(channel.clone());
        let call = tokio::spawn(client.echo(content(100)).into_future());
        tokio::time::sleep(Duration::from_millis(at)).await;
        let began = Instant::now();
        assert!(server.shutdown(Duration::from_secs(10)).await, "after {at} ms");
        // It waits for those that it has made an offer, and no longer.
        assert!(began.elapsed() < Duration::from_millis(200), "{at}: {:?}", began.elapsed());
        let next = follow(&network, address).await;
        call.await.expect("no panic").unwrap_or_else(|error| panic!("after {at} ms: {error}"));
        drop((client, channel));
        assert!(next.shutdown(Duration::from_secs(10)).await);
    }
}

// r[verify setup.last]
#[tokio::test(start_paused = true)]
async fn a_first_call_that_is_lost_once_is_answered_though_its_server_goes() {
    let network = Network::new(8).faults(path());
    let (server, channel) = serve(&network).await.expect("a server");
    let client = EchoClient::new(channel);
    let call = tokio::spawn(client.echo(content(100)).into_future());
    tokio::time::sleep(Duration::from_millis(30)).await;
    let network = network.to_servers(Faults::none().loss(1.0, 1.0));
    tokio::time::sleep(Duration::from_millis(15)).await;
    let shutdown = tokio::spawn(server.shutdown(Duration::from_secs(10)));
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(network.to_servers(path()));
    call.await.expect("no panic").expect("an echo");
    assert!(shutdown.await.expect("no panic"));
}

// r[verify setup.last]
#[tokio::test(start_paused = true)]
async fn a_server_that_goes_does_not_wait_for_ever_for_who_never_comes() {
    let second = Duration::from_secs(1);
    // What there is of grace is the most.
    for (grace, most) in
        [(60 * second, 3 * second), (second, second), (Duration::ZERO, Duration::ZERO)]
    {
        let network = Network::new(9).faults(path());
        let (server, _) = serve(&network).await.expect("a server");
        let connector = network.connector(server.local_addr().expect("an address"));
        // The offer is on its way, and whoever is to get it vanishes.
        let attempt = tokio::time::timeout(Duration::from_millis(30), connector.connect());
        attempt.await.expect_err("it takes longer");
        let began = Instant::now();
        assert!(server.shutdown(grace).await);
        let took = began.elapsed();
        assert!(took <= most + Duration::from_millis(10), "{grace:?}: {took:?}");
        assert!(took + second + second / 2 >= most.min(grace), "{grace:?}: {took:?}");
    }
}
