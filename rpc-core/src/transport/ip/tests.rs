//! Tests of the address parser, of the order of addresses, and of the race between them. Time is
//! paused where it matters.

use std::{future::pending, iter::repeat_n};

use tokio::time::Instant;

use super::{attempts::ATTEMPT_DELAY, *};

fn name(host: &str, port: u16) -> Target {
    Target::Name { host: host.into(), port }
}

#[track_caller]
fn check_refused(text: &str, reason: &str) {
    let error = Target::parse(text).expect_err(text);
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), format!("`{text}` {reason}"));
}

#[test]
fn ip_addresses_and_names_are_read_and_shown_as_written() {
    for (text, target) in [
        ("127.0.0.1:7000", Target::Socket(([127, 0, 0, 1], 7000).into())),
        ("[::1]:7000", Target::Socket((Ipv6Addr::LOCALHOST, 7000).into())),
        ("localhost:7000", name("localhost", 7000)),
        ("db-1.example:0", name("db-1.example", 0)),
        ("[fe80::1%eth0]:7000", name("fe80::1%eth0", 7000)),
    ] {
        let parsed = Target::parse(text).expect(text);
        assert_eq!(parsed, target);
        assert_eq!(parsed.to_string(), text);
    }
}

#[test]
fn a_missing_port_is_asked_for() {
    check_refused("localhost", "names no port: write `localhost:7000`");
    check_refused("localhost:", "names no port: write `localhost:7000`");
    check_refused("127.0.0.1", "names no port: write `127.0.0.1:7000`");
    check_refused("[::1]", "names no port: write `[::1]:7000`");
    check_refused("", "names no port: write `localhost:7000`");
    check_refused(":", "names no port: write `localhost:7000`");
    check_refused("::1", "is an IPv6 address without a port: write `[::1]:7000`");
    check_refused("::", "is an IPv6 address without a port: write `[::]:7000`");
}

#[test]
fn a_missing_host_is_asked_for() {
    check_refused("7000", "names no host: write `localhost:7000`");
    check_refused(
        ":7000",
        "names no host: write `localhost:7000`, or `[::]:7000` to listen on every address",
    );
}

#[test]
fn a_bad_port_is_named() {
    let reason =
        |port| format!("names the port `{port}`: write a number up to 65535, as in `h:7000`");
    for port in ["http", "65536", "-1", "+80", "80 ", "99999999999999999999"] {
        check_refused(&format!("h:{port}"), &reason(port));
    }
}

#[test]
fn an_ipv6_address_needs_brackets() {
    check_refused(
        "fe80::1%eth0:7000",
        "has an IPv6 address without brackets: write `[fe80::1%eth0]:7000`",
    );
    check_refused(
        "1:2:3:4:5:6:7:8:7000",
        "has an IPv6 address without brackets: write `[1:2:3:4:5:6:7:8]:7000`",
    );
    let neither = "is no address: write a host and a port, as in `localhost:7000`, or an IPv6 \
                   address in brackets, as in `[::1]:7000`";
    for text in ["[localhost]:7000", "a:b:7000", "[::1:7000", "::1]:7000", "[]:7000"] {
        check_refused(text, neither);
    }
}

#[test]
fn urls_and_paths_are_no_addresses() {
    for text in ["http://localhost:7000", "/run/rpc.sock", "10.0.0.0/8"] {
        check_refused(text, "is a URL or a path: write a host and a port, as in `localhost:7000`");
    }
}

#[test]
fn families_alternate_and_duplicates_go() {
    let address = |text: &str| text.parse::<SocketAddr>().expect(text);
    let [a, b, c] = ["[::1]:1", "[::2]:1", "[::3]:1"].map(address);
    let [x, y] = ["127.0.0.1:1", "127.0.0.2:1"].map(address);
    assert_eq!(in_turn([a, b, a, c, x, y, x].into_iter()), [a, x, b, y, c]);
    assert_eq!(in_turn([x, y, a].into_iter()), [x, a, y]);
    assert_eq!(in_turn([].into_iter()), []);
}

#[test]
fn a_name_with_hundreds_of_addresses_costs_a_few_attempts() {
    let many = (0..500).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(in_turn(many).len(), ADDRESSES_MAX);
}

const LIMIT: Duration = Duration::from_secs(5);

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// Ports below 100 refuse at once, those below 200 never answer, the others connect.
async fn attempt(address: SocketAddr) -> io::Result<u16> {
    match address.port() {
        ..100 => Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody is there")),
        100..200 => pending().await,
        port => Ok(port),
    }
}

async fn race(ports: impl IntoIterator<Item = u16>) -> io::Result<(SocketAddr, u16)> {
    Attempts::default().race(ports.into_iter().map(at).collect(), attempt).await
}

#[tokio::test(start_paused = true)]
async fn addresses_that_refuse_are_followed_by_the_next_at_once() {
    let begun = Instant::now();
    assert_eq!(race(repeat_n(1, 15).chain([200])).await.unwrap(), (at(200), 200));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_does_not_answer_holds_up_the_next_only_briefly() {
    let begun = Instant::now();
    assert_eq!(race([100, 200]).await.unwrap(), (at(200), 200));
    assert!((ATTEMPT_DELAY..2 * ATTEMPT_DELAY).contains(&begun.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn every_address_is_named_when_all_fail() {
    let error = race([1, 2]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(error.to_string(), "127.0.0.1:1: nobody is there; 127.0.0.1:2: nobody is there");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_tells_which_addresses_failed_and_which_did_not_answer() {
    let mut attempts = Attempts::default();
    assert!(timeout(LIMIT, attempts.race(vec![at(1), at(100)], attempt)).await.is_err());
    let error = Target::Socket(at(100)).timed_out(&attempts.attempted(), LIMIT);
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let text = "no connection within 5s: 127.0.0.1:1: nobody is there; 127.0.0.1:100: no answer";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_timeout_while_resolving_says_so() {
    let error = name("slow.example", 7000).timed_out(&Attempted::default(), LIMIT);
    let text = "no connection within 5s: `slow.example:7000` is still being resolved";
    assert_eq!(error.to_string(), text);
}

#[tokio::test(start_paused = true)]
async fn one_limit_holds_for_the_whole_connect() {
    let begun = Instant::now();
    let error = Target::Socket(at(100)).connect(LIMIT, attempt).await.unwrap_err();
    assert_eq!(error.to_string(), "no connection within 5s: 127.0.0.1:100: no answer");
    assert_eq!(begun.elapsed(), LIMIT);
}

#[tokio::test]
async fn port_0_is_nothing_to_connect_to() {
    let error = name("localhost", 0).connect(LIMIT, attempt).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let text = "`localhost:0` names port 0: write the port that the server tells";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn names_are_resolved() {
    let addresses = name("localhost", 7000).resolve().await.unwrap();
    assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 7000));
    let error = name("no such host", 7000).resolve().await.unwrap_err();
    assert!(error.to_string().starts_with("`no such host`: "), "{error}");
}

#[tokio::test]
async fn who_can_bind_nothing_hears_why() {
    let bind = |address: SocketAddr| match address.port() {
        0 => Ok(address),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "it is taken")),
    };
    assert_eq!(Target::Socket(at(0)).bind(bind).await.unwrap(), at(0));
    let error = Target::Socket(at(1)).bind(bind).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(error.to_string(), "cannot listen on 127.0.0.1:1: it is taken");
}

#[test]
fn a_connector_names_socket_addresses_as_such() {
    assert_eq!(Target::address("127.0.0.1:7000"), Address::Socket(at(7000)));
    assert_eq!(Target::address("db:7000"), Address::Name("db:7000".into()));
    assert_eq!(Target::address("nonsense"), Address::Name("nonsense".into()));
}
