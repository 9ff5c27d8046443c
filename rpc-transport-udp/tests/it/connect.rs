//! Connecting: who is there, who isn't, and errors that say so.

use std::{
    io,
    net::UdpSocket,
    time::{Duration, Instant},
};

use rpc_core::transport::{Address, Connector, Transport};
use rpc_transport_udp::{UdpOptions, connector, listen};

use crate::{has_v6, pair};

#[tokio::test]
async fn each_side_knows_the_other_by_its_address() -> io::Result<()> {
    let mut listener = listen("127.0.0.1:0").await?;
    let connector = connector(listener.local_addr());
    assert_eq!(connector.target(), Address::Socket(listener.local_addr()));
    let (client, server) = pair(&connector, &mut listener).await?;
    assert_eq!(client.peer().address(), &Address::Socket(listener.local_addr()));
    let seen = server.peer().address().as_socket().expect("an IP address");
    assert!(seen.ip().is_loopback());
    assert_ne!(seen.port(), listener.local_addr().port());
    Ok(())
}

#[tokio::test]
async fn ipv6_addresses_work() -> io::Result<()> {
    if !has_v6() {
        return Ok(());
    }
    let mut listener = listen("[::1]:0").await?;
    assert!(listener.local_addr().is_ipv6());
    let (client, server) = pair(&connector(listener.local_addr()), &mut listener).await?;
    assert_eq!(client.peer().address(), &Address::Socket(listener.local_addr()));
    assert!(server.peer().address().as_socket().is_some_and(|peer| peer.is_ipv6()));
    Ok(())
}

/// Linux tells a connected socket that nobody is there.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn nobody_there_is_found_out_at_once() -> io::Result<()> {
    // A port that was just free; another test that took it wouldn't answer either.
    let address = UdpSocket::bind("127.0.0.79:0")?.local_addr()?;
    let begun = Instant::now();
    let error = connector(address).connect().await.expect_err("nobody");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    Ok(())
}

#[tokio::test]
async fn who_does_not_answer_is_given_up() -> io::Result<()> {
    let silent = UdpSocket::bind("127.0.0.1:0")?;
    let limit = Duration::from_millis(200);
    let connector = UdpOptions::new().connect_timeout(limit).connector(silent.local_addr()?);
    let begun = Instant::now();
    let error = connector.connect().await.expect_err("nobody answers");
    assert!(begun.elapsed() >= limit);
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    Ok(())
}

#[tokio::test]
async fn a_malformed_address_is_no_reason_to_try_again() {
    for address in ["localhost", "::1", ""] {
        let error = connector(address).connect().await.expect_err("no address");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(connector(address).target().to_string(), address);
    }
}
