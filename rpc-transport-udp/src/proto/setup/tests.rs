//! What a client takes for an answer to its INIT, and what it concludes from a reset.

use std::net::Ipv4Addr;

use super::{
    super::packet::{SessionId, VERSION, seal},
    *,
};

const MS: Duration = Duration::from_millis(1);
const EPOCH: Epoch = Epoch(77);
const PARAMS: Params = Params { datagram_bytes: 1452, ack_delay_ms: 5, window: 4096, features: 0 };

fn remote() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 5000).into()
}

fn client(now: Instant) -> SetUpClient {
    SetUpClient::new(now, remote(), PARAMS, Nonce(42))
}

fn ack(nonce: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let ack = InitAck {
        nonce: Nonce(nonce),
        epoch: EPOCH,
        session: SessionId(9),
        params: Params { window: 100, ..PARAMS },
        retention_ms: 60_000,
        cookie: [5; 40],
    };
    ack.encode(&mut out);
    out
}

fn reset(id: u64, reason: ResetReason) -> Vec<u8> {
    let mut out = Vec::new();
    Reset { id, epoch: EPOCH, uptime_ms: 1, pn32: 0, reason }.encode(&mut out);
    out
}

fn versions(nonce: u64) -> Vec<u8> {
    let mut out = Vec::new();
    Versions { nonce: Nonce(nonce), versions: vec![3, 4] }.encode(&mut out);
    out
}

#[test]
fn it_asks_at_once_and_then_ever_more_rarely() {
    let begin = Instant::now();
    let mut client = client(begin);
    let mut sent = Vec::new();
    for ms in 0..5000 {
        let now = begin + MS * ms;
        assert!(client.timeout() >= now, "it is never late");
        if let Some(init) = client.poll_transmit(now) {
            let nonce = Init::decode(&init).map(|init| (init.nonce, init.params));
            assert_eq!(nonce, Some((Nonce(42), PARAMS)));
            sent.push(ms);
        }
        assert_eq!(client.poll_transmit(now), None);
    }
    assert_eq!(sent, [0, 333, 999, 2331, 4995]);
}

#[test]
fn an_offer_is_taken_as_it_is() {
    let client = client(Instant::now());
    let Some(Ok(established)) = client.handle_datagram(&ack(42)) else { panic!("no offer") };
    assert_eq!(established.retention, Duration::from_secs(60));
    let Agreed { side, id, epoch, remote: to, ours, theirs, cookie } = established.agreed;
    assert_eq!((side, id, epoch, to), (Side::Client, SessionId(9), EPOCH, remote()));
    assert_eq!((ours, theirs.window, cookie), (PARAMS, 100, Some([5; 40])));
}

#[test]
fn refusals_are_told_apart() {
    let client = client(Instant::now());
    let refused = |datagram: &[u8]| client.handle_datagram(datagram).unwrap().unwrap_err();
    assert_eq!(refused(&reset(42, ResetReason::Full)), Refused::Full);
    assert_eq!(refused(&reset(42, ResetReason::Leaving)), Refused::Leaving);
    let other = Refused::Version { theirs: vec![3, 4], ours: VERSION };
    assert_eq!(refused(&versions(42)), other);
    // The version of the packet itself is one that this side needn't speak.
    let mut of_three = versions(42);
    of_three[0] = of_three[0] & !0b111 | 3;
    seal(&mut of_three);
    assert_eq!(refused(&of_three), other);
}

#[test]
fn what_is_no_answer_to_this_attempt_is_nothing() {
    let client = client(Instant::now());
    let mut nothing = vec![vec![], vec![0; 88], ack(41), versions(41)];
    nothing.push(reset(41, ResetReason::Full));
    for reason in [ResetReason::Unknown, ResetReason::Closed, ResetReason::Cookie] {
        // They answer data packets: no attempt ends with one.
        nothing.push(reset(42, reason));
    }
    let mut init = Vec::new();
    Init { nonce: Nonce(42), params: PARAMS }.encode(&mut init);
    nothing.push(init);
    for whole in [ack(42), reset(42, ResetReason::Full), versions(42)] {
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            nothing.push(damaged);
        }
        nothing.push([whole.as_slice(), &[0]].concat());
    }
    for datagram in nothing {
        assert!(client.handle_datagram(&datagram).is_none(), "{datagram:?}");
    }
}

/// Requests that are younger than this many milliseconds never ran.
fn judged(reason: ResetReason, epoch: Epoch, uptime_ms: u64) -> Duration {
    let reset = Reset { id: 9, epoch, uptime_ms, pn32: 0, reason };
    Judgement::of(&reset, EPOCH, Duration::from_secs(60)).never_ran_since
}

#[test]
fn the_same_process_proves_by_what_it_would_remember() {
    let judged = |reason| judged(reason, EPOCH, 1_000_000);
    assert_eq!(judged(ResetReason::Unknown), Duration::from_secs(59));
    assert_eq!(judged(ResetReason::Leaving), Duration::MAX);
    let none = [ResetReason::Closed, ResetReason::Cookie, ResetReason::Full, ResetReason::Other(6)];
    for reason in none {
        assert_eq!(judged(reason), Duration::ZERO, "{reason:?}");
    }
}

#[test]
fn another_process_proves_by_when_it_began_whatever_the_reason() {
    for byte in
        [ResetReason::Unknown, ResetReason::Closed, ResetReason::Cookie, ResetReason::Leaving]
    {
        let judged = |uptime_ms| judged(byte, Epoch(78), uptime_ms);
        assert_eq!([0, 1, 1000].map(judged), [Duration::ZERO; 3]);
        assert_eq!(judged(1001), MS);
        assert_eq!(judged(30_000), Duration::from_secs(29));
    }
}

#[test]
fn two_clocks_are_compared_over_a_minute_at_most() {
    for uptime_ms in [60_000, 60_001, 86_400_000, u64::MAX] {
        let since = judged(ResetReason::Unknown, Epoch(78), uptime_ms);
        assert_eq!(since, Duration::from_secs(59));
    }
}

#[test]
fn a_server_that_remembers_for_no_time_proves_nothing() {
    for retention in [Duration::ZERO, MS, Duration::from_secs(1)] {
        for epoch in [EPOCH, Epoch(78)] {
            let reason = ResetReason::Unknown;
            let reset = Reset { id: 9, epoch, uptime_ms: 100_000, pn32: 0, reason };
            let judged = Judgement::of(&reset, EPOCH, retention).never_ran_since;
            assert_eq!(judged, Duration::ZERO);
        }
    }
}
