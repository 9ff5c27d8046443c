//! Tests of the race between addresses, which no name in a test environment has enough of.

use std::net::Ipv4Addr;

use socket2::{Domain, Socket, Type};
use tokio::{net::TcpSocket, time::Instant};

use super::*;

const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

fn address_of(socket: &Socket) -> SocketAddr {
    socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an IP address")
}

/// An address that refuses connections for as long as the socket lives.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(LOOPBACK).into()).expect("a port");
    let address = address_of(&socket);
    (socket, address)
}

/// An address that leaves connections unanswered for as long as the sockets live: the queue of
/// connections to accept is full.
fn silent() -> (Vec<Socket>, SocketAddr) {
    let (listener, address) = refusing();
    listener.listen(0).expect("listening");
    let mut sockets = vec![listener];
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        if socket.connect_timeout(&address.into(), Duration::from_millis(100)).is_err() {
            return (sockets, address);
        }
        sockets.push(socket);
    }
}

#[tokio::test]
async fn addresses_that_refuse_are_followed_by_the_next_at_once() -> io::Result<()> {
    let held: Vec<_> = (0..15).map(|_| refusing()).collect();
    let listener = crate::listen("127.0.0.1:0").await?;
    let mut addresses: Vec<_> = held.iter().map(|(_, address)| *address).collect();
    addresses.push(listener.local_addr());
    let begun = Instant::now();
    let (address, _) = Attempts::default().race(addresses, &TcpOptions::new()).await?;
    assert_eq!(address, listener.local_addr());
    assert!(begun.elapsed() < 8 * ATTEMPT_DELAY);
    Ok(())
}

#[tokio::test]
async fn an_address_that_does_not_answer_holds_up_the_next_only_briefly() -> io::Result<()> {
    let (_held, silent) = silent();
    let listener = crate::listen("127.0.0.1:0").await?;
    let begun = Instant::now();
    let addresses = vec![silent, listener.local_addr()];
    let (address, _) = Attempts::default().race(addresses, &TcpOptions::new()).await?;
    assert_eq!(address, listener.local_addr());
    assert!((ATTEMPT_DELAY..12 * ATTEMPT_DELAY).contains(&begun.elapsed()));
    Ok(())
}

#[tokio::test]
async fn every_address_is_named_when_all_fail() {
    let (_first, first) = refusing();
    let (_second, second) = refusing();
    let raced = Attempts::default().race(vec![first, second], &TcpOptions::new()).await;
    let error = raced.expect_err("both refuse");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let cause = "Connection refused (os error 111)";
    if cfg!(target_os = "linux") {
        assert_eq!(error.to_string(), format!("{first}: {cause}; {second}: {cause}"));
    }
}

#[tokio::test]
async fn a_timeout_tells_which_addresses_failed_and_which_did_not_answer() {
    let (_first, refusing) = refusing();
    let (_second, silent) = silent();
    let mut attempts = Attempts::default();
    let options = TcpOptions::new();
    let raced = attempts.race(vec![refusing, silent], &options);
    let limit = Duration::from_millis(300);
    assert!(timeout(limit, raced).await.is_err());
    let error = attempts.timed_out(&Target::Socket(silent), limit);
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let text = error.to_string();
    assert!(text.starts_with(&format!("no connection within 300ms: {refusing}: ")), "{text}");
    assert!(text.ends_with(&format!("; {silent}: no answer")), "{text}");
}

#[test]
fn a_timeout_while_resolving_says_so() {
    let target = Target::Name { host: "slow.example".into(), port: 7000 };
    let error = Attempts::default().timed_out(&target, Duration::from_secs(5));
    let text = "no connection within 5s: `slow.example:7000` is still being resolved";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn a_connection_to_itself_is_refused() -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(LOOPBACK.into())?;
    let own = socket.local_addr()?;
    let stream = socket.connect(own).await?;
    let error = refuse_itself(&stream).expect_err("it reached itself");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    Ok(())
}
