//! Options, read back from the sockets.

use std::{io, time::Duration};

use rpc_transport_tcp::{TcpListener, TcpOptions, TcpTransport, connector, from_stream, listen};
use socket2::SockRef;

use crate::{accept, pair};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[track_caller]
fn check_probes(transport: &TcpTransport, time: u64, interval: u64, count: u32) {
    let socket = SockRef::from(transport);
    assert!(socket.keepalive().expect("SO_KEEPALIVE"));
    assert_eq!(socket.tcp_keepalive_time().expect("TCP_KEEPIDLE"), secs(time));
    assert_eq!(socket.tcp_keepalive_interval().expect("TCP_KEEPINTVL"), secs(interval));
    assert_eq!(socket.tcp_keepalive_retries().expect("TCP_KEEPCNT"), count);
}

#[track_caller]
fn check_user_timeout(transport: &TcpTransport, limit: Option<Duration>) {
    #[cfg(target_os = "linux")]
    assert_eq!(SockRef::from(transport).tcp_user_timeout().expect("TCP_USER_TIMEOUT"), limit);
    #[cfg(not(target_os = "linux"))]
    let _ = (transport, limit);
}

#[tokio::test]
async fn defaults_are_set_on_both_sides() -> io::Result<()> {
    let mut listener = listen("127.0.0.1:0").await?;
    let (client, server) = pair(&connector(listener.local_addr()), &mut listener).await?;
    for transport in [&client, &server] {
        assert!(SockRef::from(transport).tcp_nodelay()?);
        check_probes(transport, 60, 10, 6);
        check_user_timeout(transport, Some(secs(30)));
    }
    Ok(())
}

#[tokio::test]
async fn chosen_options_are_set_on_both_sides() -> io::Result<()> {
    let options = TcpOptions::new()
        .keepalive_time(secs(7))
        .keepalive_interval(secs(3))
        .keepalive_count(2)
        .user_timeout(secs(9));
    let mut listener = options.clone().listen("127.0.0.1:0").await?;
    let connector = options.connector(listener.local_addr());
    let (client, server) = pair(&connector, &mut listener).await?;
    for transport in [&client, &server] {
        assert!(SockRef::from(transport).tcp_nodelay()?);
        check_probes(transport, 7, 3, 2);
        check_user_timeout(transport, Some(secs(9)));
    }
    Ok(())
}

#[tokio::test]
async fn options_that_are_off_are_left_alone() -> io::Result<()> {
    let options = TcpOptions::new().keepalive(false).user_timeout(None);
    let mut listener = options.clone().listen("127.0.0.1:0").await?;
    let connector = options.connector(listener.local_addr());
    let (client, server) = pair(&connector, &mut listener).await?;
    for transport in [&client, &server] {
        assert!(!SockRef::from(transport).keepalive()?);
        check_user_timeout(transport, None);
    }
    Ok(())
}

#[tokio::test]
async fn buffers_are_set_on_both_sides() -> io::Result<()> {
    let options = TcpOptions::new().send_buffer(16 * 1024).recv_buffer(24 * 1024);
    let mut listener = options.clone().listen("127.0.0.1:0").await?;
    let connector = options.connector(listener.local_addr());
    let (client, server) = pair(&connector, &mut listener).await?;
    // Linux doubles what was asked for, to have room for its bookkeeping.
    let factor = if cfg!(target_os = "linux") { 2 } else { 1 };
    for transport in [&client, &server] {
        assert_eq!(SockRef::from(transport).send_buffer_size()?, factor * 16 * 1024);
        assert_eq!(SockRef::from(transport).recv_buffer_size()?, factor * 24 * 1024);
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_may_wait_unsent_is_set_on_both_sides() -> io::Result<()> {
    let options = TcpOptions::new().unsent_bytes(128 * 1024);
    let mut listener = options.clone().listen("127.0.0.1:0").await?;
    let connector = options.connector(listener.local_addr());
    let (client, server) = pair(&connector, &mut listener).await?;
    for transport in [&client, &server] {
        assert_eq!(SockRef::from(transport).tcp_notsent_lowat()?, 128 * 1024);
    }
    Ok(())
}

#[tokio::test]
async fn extreme_values_are_rounded_or_clamped() -> io::Result<()> {
    // As a C int it would be 0.
    let huge = usize::try_from(1_u64 << 32).unwrap_or(usize::MAX);
    let options = TcpOptions::new()
        .keepalive_time(Duration::ZERO)
        .keepalive_interval(Duration::from_millis(1_001))
        .keepalive_count(0)
        .user_timeout(Duration::from_nanos(1))
        .send_buffer(huge)
        .recv_buffer(huge)
        .backlog(u32::MAX);
    let mut listener = options.clone().listen("127.0.0.1:0").await?;
    let connector = options.connector(listener.local_addr());
    let (client, server) = pair(&connector, &mut listener).await?;
    for transport in [&client, &server] {
        check_probes(transport, 1, 2, 1);
        check_user_timeout(transport, Some(Duration::from_millis(1)));
        assert!(SockRef::from(transport).send_buffer_size()? > 64 * 1024);
        assert!(SockRef::from(transport).recv_buffer_size()? > 64 * 1024);
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_value_that_the_system_refuses_is_reported_by_listen() {
    let options = TcpOptions::new().keepalive_time(secs(40_000));
    let error = options.listen("127.0.0.1:0").await.expect_err("above the kernel's limit");
    let text = error.to_string();
    assert!(text.contains("cannot set the keepalive options: Invalid argument"), "{text}");
}

#[tokio::test]
async fn nodelay_is_set_on_a_stream_that_is_handed_in() -> io::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let stream = tokio::net::TcpStream::connect(listener.local_addr()?).await?;
    stream.set_nodelay(false)?;
    let transport = from_stream(stream)?;
    let socket = SockRef::from(&transport);
    assert!(socket.tcp_nodelay()?);
    assert!(!socket.keepalive()?, "the user's options stay");
    Ok(())
}

#[tokio::test]
async fn nodelay_is_set_on_what_a_listener_that_is_handed_in_accepts() -> io::Result<()> {
    let std = std::net::TcpListener::bind("127.0.0.1:0")?;
    let tokio = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    for mut listener in [TcpListener::from_std(std)?, TcpListener::from_tokio(tokio)?] {
        let (_client, server) = pair(&connector(listener.local_addr()), &mut listener).await?;
        let socket = SockRef::from(&server);
        assert!(socket.tcp_nodelay()?);
        assert!(!socket.keepalive()?, "the user's options stay");
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_that_is_not_connected_is_an_error() -> io::Result<()> {
    let mut listener = listen("127.0.0.1:0").await?;
    let stream = tokio::net::TcpStream::connect(listener.local_addr()).await?;
    let server = accept(&mut listener).await?;
    SockRef::from(&server).set_linger(Some(Duration::ZERO))?;
    drop(server);
    stream.readable().await?;
    assert!(stream.try_read(&mut [0]).is_err(), "reset");
    assert!(from_stream(stream).is_err());
    Ok(())
}
