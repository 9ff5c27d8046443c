//! Listening and accepting: errors at start, strangers, and no end to accepting.

use std::{
    io,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rpc_core::{
    Channel, Server,
    transport::{Address, Listener, Transport},
};
use rpc_transport_udp::{connector, listen};

use crate::{has_v6, pair};

#[tokio::test]
async fn port_0_lets_the_system_choose() -> io::Result<()> {
    let listener = listen("127.0.0.1:0").await?;
    assert_ne!(listener.local_addr().port(), 0);
    assert_eq!(Listener::local_addr(&listener), Address::Socket(listener.local_addr()));
    Ok(())
}

// r[verify reset.shared]
#[tokio::test]
async fn a_port_in_use_is_refused() -> io::Result<()> {
    let first = listen("127.0.0.1:0").await?;
    let error = listen(first.local_addr()).await.expect_err("taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    Ok(())
}

#[tokio::test]
async fn a_malformed_address_is_refused() {
    let error = listen("7000").await.expect_err("no host");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn an_address_of_another_machine_is_refused() {
    // TEST-NET-1 belongs to nobody.
    let error = listen("192.0.2.1:7000").await.expect_err("not ours");
    assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
}

/// On an address of its own, so that no other test takes the port in between.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_restarts_on_its_port_at_once() -> io::Result<()> {
    let mut listener = listen("127.0.0.77:0").await?;
    let address = listener.local_addr();
    let (client, server) = pair(&connector(address), &mut listener).await?;
    drop(server);
    drop(client);
    drop(listener);
    let mut listener = listen(address).await?;
    pair(&connector(address), &mut listener).await?;
    Ok(())
}

/// The task that reads the socket may be in the middle of it when the last session ends.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_free_when_a_shutdown_returns_whatever_comes_in() -> io::Result<()> {
    let mut listener = listen("127.0.0.78:0").await?;
    let address = listener.local_addr();
    let is_over = Arc::new(AtomicBool::new(false));
    let flood = std::thread::spawn({
        let (stranger, is_over) = (UdpSocket::bind("127.0.0.1:0")?, Arc::clone(&is_over));
        move || {
            while !is_over.load(Ordering::Relaxed) {
                for _ in 0..50 {
                    let _ = stranger.send_to(&[0x41; 1200], address);
                }
                std::thread::sleep(Duration::from_micros(300));
            }
        }
    });
    for _ in 0..100 {
        let connector = connector(address);
        let server = Server::builder().listen(listener).start().expect("a server");
        let channel = Channel::connect(connector).await.expect("a session");
        drop(channel);
        assert!(server.shutdown(Duration::from_secs(10)).await);
        listener = listen(address).await?;
    }
    is_over.store(true, Ordering::Relaxed);
    flood.join().expect("no panic");
    Ok(())
}

/// Whatever comes from strangers, most of it gets no answer.
#[tokio::test]
async fn accepting_goes_on_among_garbage() -> io::Result<()> {
    let mut listener = listen("127.0.0.1:0").await?;
    let stranger = UdpSocket::bind("127.0.0.1:0")?;
    stranger.set_nonblocking(true)?;
    let mut random = 0_u64;
    for bytes in (0..1500).step_by(7) {
        let garbage: Vec<u8> = (0..bytes)
            .map(|at| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(at);
                random.to_le_bytes()[7]
            })
            .collect();
        stranger.send_to(&garbage, listener.local_addr())?;
    }
    tokio::time::timeout(
        Duration::from_secs(5),
        pair(&connector(listener.local_addr()), &mut listener),
    )
    .await
    .expect("in time")?;
    let answer = stranger.recv_from(&mut [0; 2000]).expect_err("nothing to answer");
    assert_eq!(answer.kind(), io::ErrorKind::WouldBlock);
    Ok(())
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
        let (_client, server) = pair(&connector, &mut listener).await?;
        let seen = server.peer().address().as_socket().expect("an IP address");
        assert_eq!(seen.is_ipv4(), host == "127.0.0.1", "{seen}");
        assert!(seen.ip().is_loopback());
    }
    Ok(())
}
