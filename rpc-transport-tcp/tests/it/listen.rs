//! Listening and accepting: clear errors at start, and no end to accepting.

use std::{io, time::Duration};

use rpc_core::transport::{Address, Connector, Listener, Transport};
use rpc_transport_tcp::{TcpOptions, connector, listen};
use socket2::SockRef;

use crate::{accept, has_v6, pair};

#[tokio::test]
async fn port_0_lets_the_system_choose() -> io::Result<()> {
    let listener = listen("127.0.0.1:0").await?;
    assert_ne!(listener.local_addr().port(), 0);
    assert_eq!(Listener::local_addr(&listener), Address::Socket(listener.local_addr()));
    Ok(())
}

#[tokio::test]
async fn a_port_in_use_is_named() -> io::Result<()> {
    let first = listen("127.0.0.1:0").await?;
    let address = first.local_addr();
    let error = listen(address).await.expect_err("taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot listen on {address}: ")), "{text}");
    if cfg!(target_os = "linux") {
        assert!(text.ends_with("Address already in use (os error 98)"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_malformed_address_says_what_to_write() {
    let error = listen("7000").await.expect_err("no host");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "`7000` names no host: write `localhost:7000`");
}

#[tokio::test]
async fn an_address_of_another_machine_is_refused_by_name() {
    // TEST-NET-1 belongs to nobody.
    let error = listen("192.0.2.1:7000").await.expect_err("not ours");
    assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    let text = error.to_string();
    assert!(text.starts_with("cannot listen on 192.0.2.1:7000: "), "{text}");
}

/// On an address of its own, so that no other test takes the port in between.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_restarts_on_its_port_at_once() -> io::Result<()> {
    let mut listener = listen("127.0.0.77:0").await?;
    let address = listener.local_addr();
    let (client, server) = pair(&connector(address), &mut listener).await?;
    // The side that closes first keeps the port for a minute (TIME_WAIT).
    drop(server);
    drop(client);
    drop(listener);
    let strict = TcpOptions::new().reuse_address(false).listen(address).await;
    assert_eq!(strict.expect_err("the port rests").kind(), io::ErrorKind::AddrInUse);
    let mut listener = listen(address).await?;
    pair(&connector(address), &mut listener).await?;
    Ok(())
}

#[tokio::test]
async fn accepting_goes_on_after_peers_that_reset_at_once() -> io::Result<()> {
    let mut listener = listen("127.0.0.1:0").await?;
    for _ in 0..20 {
        let stream = std::net::TcpStream::connect(listener.local_addr())?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    let connector = connector(listener.local_addr());
    let client = connector.connect().await?;
    let expected = SockRef::from(&client).local_addr()?.as_socket();
    for _ in 0..21 {
        // Whether a connection that is gone is an error depends on the system.
        let accepted = accept(&mut listener).await;
        if accepted.is_ok_and(|server| server.peer().address().as_socket() == expected) {
            return Ok(());
        }
    }
    panic!("the connection after the resets was never accepted");
}

#[tokio::test]
async fn the_unspecified_ipv6_address_accepts_ipv4_by_its_ipv4_address() -> io::Result<()> {
    if !has_v6() {
        return Ok(());
    }
    let mut listener = listen("[::]:0").await?;
    let port = listener.local_addr().port();
    for host in ["127.0.0.1", "[::1]"] {
        let connector = connector(format!("{host}:{port}"));
        let (client, server) = pair(&connector, &mut listener).await?;
        let local = SockRef::from(&client).local_addr()?.as_socket();
        assert_eq!(server.peer().address().as_socket(), local);
    }
    Ok(())
}

/// From an address of its own, where no other test listens.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn only_v6_leaves_ipv4_alone() -> io::Result<()> {
    if !has_v6() {
        return Ok(());
    }
    for only_v6 in [false, true] {
        let listener = TcpOptions::new().only_v6(only_v6).listen("[::]:0").await?;
        let port = listener.local_addr().port();
        let connected = connector(format!("127.0.0.78:{port}")).connect().await;
        assert_eq!(connected.is_err(), only_v6);
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_listener_that_goes_accepts_who_was_let_in_and_answers_nobody_else() -> io::Result<()> {
    use std::net::TcpStream;

    let mut listener = listen("127.0.0.1:0").await?;
    let address = listener.local_addr();
    let early = TcpStream::connect(address)?;
    listener.refuse_more();
    let late = TcpStream::connect_timeout(&address, Duration::from_millis(100));
    assert_eq!(late.expect_err("it goes").kind(), io::ErrorKind::TimedOut);
    let accepted = accept(&mut listener).await?;
    assert_eq!(accepted.peer().address(), &Address::Socket(early.local_addr()?));
    // Who comes again finds nobody, or the next server.
    drop(listener);
    let error = TcpStream::connect(address).expect_err("it has gone");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let mut next = listen(address).await?;
    let again = TcpStream::connect(address)?;
    let accepted = accept(&mut next).await?;
    assert_eq!(accepted.peer().address(), &Address::Socket(again.local_addr()?));
    Ok(())
}
