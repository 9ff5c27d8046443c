//! Cookies against `spec/vectors`, and everything that must not pass for one.

use proptest::prelude::*;

use super::*;
use crate::proto::vectors::Vector;

const NONCE: Nonce = Nonce(0x1122_3344_5566_7788);
const EPOCH: Epoch = Epoch(0xa1a2_a3a4_a5a6_a7a8);
const ISSUED_MS: u64 = 1_234;
const LIFETIME_MS: u64 = 15_000;
const PARAMS: Params = Params { datagram_bytes: 1452, ack_delay_ms: 5, window: 4096, features: 0 };

fn key() -> CookieKey {
    CookieKey::new(&std::array::from_fn(|i| u8::try_from(i).expect("32 bytes")))
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A good cookie, and all that it is bound to.
#[derive(Clone)]
struct Case {
    key: CookieKey,
    cookie: [u8; COOKIE_BYTES],
    epoch: Epoch,
    session: SessionId,
    addr: SocketAddr,
    now_ms: u64,
}

impl Case {
    fn new() -> Self {
        let (key, addr) = (key(), addr("192.0.2.7:40000"));
        let session = key.session_id(NONCE, ISSUED_MS, addr);
        let cookie = key.make(NONCE, ISSUED_MS, &PARAMS, EPOCH, session, addr);
        Self { key, cookie, epoch: EPOCH, session, addr, now_ms: ISSUED_MS }
    }

    fn verify(&self) -> Result<Params, Refused> {
        let Self { cookie, epoch, session, addr, now_ms, .. } = self;
        let verified = self.key.verify(cookie, *epoch, *session, *addr, *now_ms, LIFETIME_MS);
        verified.map(|it| it.params)
    }

    #[track_caller]
    fn is_forged(change: impl FnOnce(&mut Self)) {
        let mut case = Self::new();
        change(&mut case);
        assert_eq!(case.verify(), Err(Refused::Forged));
    }
}

// r[verify cookie.binding] r[verify session.id]
#[test]
fn every_vector_is_what_we_make_and_take() {
    for vector in Vector::read("cookies") {
        let (nonce, epoch) = (Nonce(vector.number("nonce")), Epoch(vector.number("epoch")));
        let (issued_ms, addr) = (vector.number("issued_ms"), vector.parsed("addr"));
        let params = Params {
            datagram_bytes: vector.number("datagram_bytes"),
            ack_delay_ms: vector.number("ack_delay_ms"),
            window: vector.number("window"),
            features: 0,
        };
        let session = key().session_id(nonce, issued_ms, addr);
        assert_eq!(session, SessionId(vector.number("session")), "{}", vector.name);
        let cookie = key().make(nonce, issued_ms, &params, epoch, session, addr);
        assert_eq!(cookie, vector.bytes()[..], "{}", vector.name);
        let verified = key().verify(&cookie, epoch, session, addr, issued_ms, 0);
        assert_eq!(verified, Ok(Verified { params, issued_ms }), "{}", vector.name);
    }
}

// r[verify cookie.binding]
#[test]
fn a_cookie_is_good_for_nothing_but_what_it_was_made_for() {
    assert_eq!(Case::new().verify(), Ok(PARAMS));
    Case::is_forged(|case| case.addr = addr("192.0.2.8:40000"));
    Case::is_forged(|case| case.addr = addr("192.0.2.7:40001"));
    Case::is_forged(|case| case.addr = addr("[2001:db8::7]:40000"));
    Case::is_forged(|case| case.epoch = Epoch(EPOCH.0 ^ 1 << 63));
    Case::is_forged(|case| case.session = SessionId(case.session.0 ^ 1));
    Case::is_forged(|case| case.key = CookieKey::new(&[7; 32]));
    // Another nonce, another time, other parameters, another MAC.
    for at in [0, 8, 16, 24] {
        Case::is_forged(|case| case.cookie[at] ^= 1);
    }
}

// r[verify cookie.binding]
#[test]
fn every_bit_of_a_cookie_counts() {
    for bit in 0..COOKIE_BYTES * 8 {
        Case::is_forged(|case| case.cookie[bit / 8] ^= 1 << (bit % 8));
    }
}

/// Even a cookie that this server made, but for an id of somebody's choice.
// r[verify cookie.binding] r[verify session.id]
#[test]
fn a_session_id_that_does_not_follow_from_the_cookie_is_refused() {
    Case::is_forged(|case| {
        case.session = SessionId(5);
        case.cookie = case.key.make(NONCE, ISSUED_MS, &PARAMS, EPOCH, case.session, case.addr);
    });
}

// r[verify cookie.lifetime]
#[test]
fn a_cookie_lives_for_its_lifetime_and_does_not_come_from_the_future() {
    let at = |now_ms| Case { now_ms, ..Case::new() }.verify();
    assert_eq!(at(ISSUED_MS + LIFETIME_MS), Ok(PARAMS));
    assert_eq!(at(ISSUED_MS + LIFETIME_MS + 1), Err(Refused::Expired));
    assert_eq!(at(u64::MAX), Err(Refused::Expired));
    assert_eq!(at(ISSUED_MS - 1), Err(Refused::Forged));
    assert_eq!(at(0), Err(Refused::Forged));
    // Who forges one learns nothing of its age.
    let mut case = Case { now_ms: u64::MAX, ..Case::new() };
    case.cookie[39] ^= 1;
    assert_eq!(case.verify(), Err(Refused::Forged));
}

// r[verify session.id]
#[test]
fn a_session_id_is_never_the_same_twice() {
    let (key, home) = (key(), addr("192.0.2.7:40000"));
    let id = key.session_id(NONCE, ISSUED_MS, home);
    assert_eq!(key.session_id(NONCE, ISSUED_MS, home), id);
    let others = [
        key.session_id(Nonce(NONCE.0 + 1), ISSUED_MS, home),
        key.session_id(NONCE, ISSUED_MS + 1, home),
        key.session_id(NONCE, ISSUED_MS, addr("192.0.2.8:40000")),
        key.session_id(NONCE, ISSUED_MS, addr("192.0.2.7:40001")),
        CookieKey::new(&[7; 32]).session_id(NONCE, ISSUED_MS, home),
    ];
    for (i, other) in others.iter().enumerate() {
        assert!(*other != id && !others[..i].contains(other), "{i}");
    }
}

// r[verify cookie.binding]
#[test]
fn a_client_behind_a_socket_of_both_families_is_the_same_client() {
    let case = Case { addr: addr("[::ffff:192.0.2.7]:40000"), ..Case::new() };
    assert_eq!(case.verify(), Ok(PARAMS));
}

#[test]
fn keys_are_not_shown() {
    assert_eq!(format!("{:?}", key()), "CookieKey(..)");
}

proptest! {
    #[test]
    fn any_bytes_are_refused(head in any::<[u8; 24]>(), mac in any::<[u8; 16]>(), now in any::<u64>()) {
        let mut case = Case { now_ms: now, ..Case::new() };
        for (byte, other) in case.cookie.iter_mut().zip(head.into_iter().chain(mac)) {
            *byte = other;
        }
        prop_assert_eq!(case.verify(), Err(Refused::Forged));
    }
}
