//! Tests of the address parser and of the order of addresses.

use super::*;

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
