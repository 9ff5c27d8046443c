//! Connecting: names, IPv6, and errors that name what was tried.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use rpc_core::transport::{Address, Connector, Transport};
use rpc_transport_tcp::{TcpOptions, connector, listen};
use socket2::{Domain, Socket, Type};

use crate::{has_v6, pair};

async fn connect_error(addr: impl ToString) -> io::Error {
    connector(addr).connect().await.expect_err("nothing to connect to")
}

#[tokio::test]
async fn each_side_knows_the_other_by_its_address() -> io::Result<()> {
    let mut listener = listen("127.0.0.1:0").await?;
    let connector = connector(listener.local_addr());
    assert_eq!(connector.target(), Address::Socket(listener.local_addr()));
    let (client, server) = pair(&connector, &mut listener).await?;
    assert_eq!(client.peer().address(), &Address::Socket(listener.local_addr()));
    let seen = server.peer().address().as_socket();
    let local = socket2::SockRef::from(&client).local_addr()?.as_socket();
    assert_eq!(seen, local);
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

#[tokio::test]
async fn host_names_are_resolved() -> io::Result<()> {
    let mut listener = listen("localhost:0").await?;
    let name = format!("localhost:{}", listener.local_addr().port());
    let connector = connector(&name);
    assert_eq!(connector.target(), Address::Name(name));
    let (client, _server) = pair(&connector, &mut listener).await?;
    assert_eq!(client.peer().address(), &Address::Socket(listener.local_addr()));
    Ok(())
}

#[tokio::test]
async fn a_refused_connection_names_address_and_cause() -> io::Result<()> {
    // Bound but not listening: refuses, and nobody else gets the port.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let address = socket.local_addr()?.as_socket().expect("an IP address");
    let error = connect_error(address).await;
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let text = error.to_string();
    assert!(text.starts_with(&format!("{address}: ")), "{text}");
    if cfg!(target_os = "linux") {
        assert!(text.ends_with("Connection refused (os error 111)"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_timeout_names_addresses_and_limit() -> io::Result<()> {
    // Full to the brim, a queue of connections to accept leaves further ones unanswered.
    let listener = TcpOptions::new().backlog(0).listen("127.0.0.1:0").await?;
    let address = listener.local_addr();
    let mut held = Vec::new();
    while let Ok(stream) =
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100))
    {
        held.push(stream);
    }
    let connector =
        TcpOptions::new().connect_timeout(Duration::from_millis(200)).connector(address);
    let begun = Instant::now();
    let error = connector.connect().await.expect_err("nobody accepts");
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(error.to_string(), format!("no connection within 200ms: {address}: no answer"));
    Ok(())
}

#[tokio::test]
async fn an_unknown_name_is_named() {
    // An interface that doesn't exist is refused without asking a name server.
    let error = connect_error("[fe80::1%nosuch]:7000").await;
    let text = error.to_string();
    assert!(text.starts_with("`fe80::1%nosuch`: "), "{text}");
}

#[tokio::test]
async fn a_malformed_address_says_what_to_write() {
    for (address, text) in [
        ("localhost", "`localhost` names no port: write `localhost:7000`"),
        ("::1", "`::1` is an IPv6 address without a port: write `[::1]:7000`"),
        ("127.0.0.1:0", "`127.0.0.1:0` names port 0: write the port that the server tells"),
    ] {
        let error = connect_error(address).await;
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), text);
        assert_eq!(connector(address).target().to_string(), address);
    }
}
