//! What the table decides about each kind of datagram, and its bounds.

use std::net::Ipv4Addr;

use super::{super::packet::Nonce, *};

const EPOCH: Epoch = Epoch(0x1234_5678_9abc_def0);
const PARAMS: Params = Params { datagram_bytes: 1452, ack_delay_ms: 5, window: 4096, features: 0 };
const COOKIE_MS: u64 = 15_000;
const RETENTION_MS: u64 = 60_000;

fn config(sessions: usize) -> TableConfig {
    TableConfig {
        epoch: EPOCH,
        params: PARAMS,
        sessions,
        cookie_lifetime: COOKIE_LIFETIME,
        retention: RETENTION,
    }
}

fn table(sessions: usize) -> Table<&'static str> {
    Table::new(config(sessions), CookieKey::new(&[7; CookieKey::BYTES]))
}

fn client() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 4000).into()
}

fn init(nonce: u64) -> Vec<u8> {
    let mut out = Vec::new();
    Init { nonce: Nonce(nonce), params: PARAMS }.encode(&mut out);
    out
}

/// A set-up packet of another version, with its checksum.
fn of_version(mut datagram: Vec<u8>, version: u8) -> Vec<u8> {
    datagram[0] = datagram[0] & !0b111 | version;
    packet::seal(&mut datagram);
    datagram
}

/// A client's packet with the number 9.
fn data(session: SessionId, epoch: Epoch, cookie: Option<&[u8; 40]>) -> Vec<u8> {
    let mut out = Vec::new();
    let header = packet::DataHeader { from_server: false, epoch, session, pn: 9 };
    packet::begin_data(&mut out, header, cookie);
    packet::finish(&mut out, 0, 0);
    out
}

fn answer(table: &mut Table<&'static str>, now_ms: u64, datagram: &[u8]) -> Vec<u8> {
    match table.handle_datagram(now_ms, client(), datagram) {
        Decision::Answer(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn is_dropped(table: &mut Table<&'static str>, now_ms: u64, datagram: &[u8]) -> bool {
    matches!(table.handle_datagram(now_ms, client(), datagram), Decision::Drop)
}

fn offer(table: &mut Table<&'static str>, now_ms: u64, nonce: u64) -> InitAck {
    InitAck::decode(&answer(table, now_ms, &init(nonce))).unwrap()
}

/// The first packet of the session that was offered.
fn first(ack: &InitAck) -> Vec<u8> {
    data(ack.session, EPOCH, Some(&ack.cookie))
}

/// A later one, without the cookie.
fn later(ack: &InitAck) -> Vec<u8> {
    data(ack.session, EPOCH, None)
}

fn begin(table: &mut Table<&'static str>, now_ms: u64, nonce: u64) -> InitAck {
    let ack = offer(table, now_ms, nonce);
    match table.handle_datagram(now_ms, client(), &first(&ack)) {
        Decision::Begin(begins) => table.insert(now_ms, begins, "it"),
        other => panic!("{other:?}"),
    }
    ack
}

#[track_caller]
fn assert_delivered(table: &mut Table<&'static str>, now_ms: u64, datagram: &[u8]) {
    let decision = table.handle_datagram(now_ms, client(), datagram);
    assert!(matches!(decision, Decision::Deliver("it")), "{decision:?}");
}

#[track_caller]
fn assert_reset(
    table: &mut Table<&'static str>,
    now_ms: u64,
    datagram: &[u8],
    reason: ResetReason,
) {
    let answer = answer(table, now_ms, datagram);
    assert_eq!(answer.len(), RESET_BYTES);
    let reset = Reset::decode(&answer).unwrap();
    let id = packet::decode_data(datagram).unwrap().session.0;
    assert_eq!(reset, Reset { id, epoch: EPOCH, uptime_ms: now_ms, pn32: 9, reason });
}

#[test]
fn an_init_is_answered_with_an_offer_that_begins_one_session() {
    let mut table = table(10);
    let ack = offer(&mut table, 5, 1);
    assert_eq!(
        (ack.nonce, ack.epoch, ack.params, ack.retention_ms),
        (Nonce(1), EPOCH, PARAMS, 60_000)
    );
    assert_eq!(table.len(), 0);
    let begins = match table.handle_datagram(6, client(), &first(&ack)) {
        Decision::Begin(begins) => begins,
        other => panic!("{other:?}"),
    };
    assert_eq!(begins, Beginning { session: ack.session, theirs: PARAMS, issued_ms: 5 });
    table.insert(7, begins, "it");
    assert_delivered(&mut table, 7, &first(&ack));
    assert_delivered(&mut table, 8, &later(&ack));
    assert_eq!(table.handles().collect::<Vec<_>>(), [&"it"]);
    assert_eq!((table.epoch(), table.params()), (EPOCH, PARAMS));
}

#[test]
fn each_offer_is_of_another_session() {
    let mut table = table(10);
    let ids =
        [(0, 1), (0, 2), (1, 1), (1, 2)].map(|(at, nonce)| offer(&mut table, at, nonce).session);
    let distinct: std::collections::HashSet<_> = ids.into_iter().collect();
    assert_eq!(distinct.len(), ids.len());
}

#[test]
fn a_known_session_needs_no_cookie_and_no_address() {
    let mut table = table(10);
    let ack = begin(&mut table, 0, 1);
    let now_ms = 10 * COOKIE_MS;
    assert_delivered(&mut table, now_ms, &first(&ack));
    assert_delivered(&mut table, now_ms, &data(ack.session, EPOCH, Some(&[3; 40])));
    let elsewhere = (Ipv4Addr::BROADCAST, 1).into();
    let decision = table.handle_datagram(now_ms, elsewhere, &later(&ack));
    assert!(matches!(decision, Decision::Deliver("it")));
}

#[test]
fn a_session_that_nobody_knows_is_unknown() {
    let mut table = table(10);
    let unknown = data(SessionId(1), EPOCH, None);
    assert_reset(&mut table, 1234, &unknown, ResetReason::Unknown);
    assert_eq!(table.counts(), Counts { resets: 1, ..Counts::default() });
}

#[test]
fn a_session_of_another_process_is_unknown_even_with_a_cookie() {
    let mut table = table(10);
    let ack = offer(&mut table, 0, 1);
    let before = data(ack.session, Epoch(EPOCH.0 ^ 1), Some(&ack.cookie));
    assert_reset(&mut table, 0, &before, ResetReason::Unknown);
    // What goes over the wire is the low half: the cookie refuses the others.
    let other = Table::<()>::new(
        TableConfig { epoch: Epoch(EPOCH.0 ^ 1 << 16), ..config(10) },
        CookieKey::new(&[7; CookieKey::BYTES]),
    )
    .handle_init(0, client(), &init(1))
    .unwrap();
    let ack = InitAck::decode(&other).unwrap();
    assert_reset(&mut table, 0, &first(&ack), ResetReason::Cookie);
}

#[test]
fn a_cookie_is_good_until_it_is_fifteen_seconds_old() {
    let mut table = table(10);
    let ack = offer(&mut table, 1000, 1);
    assert_reset(&mut table, 1000 + COOKIE_MS + 1, &first(&ack), ResetReason::Cookie);
    let decision = table.handle_datagram(1000 + COOKIE_MS, client(), &first(&ack));
    assert!(matches!(decision, Decision::Begin(..)));
    // One from the future isn't of this process, whose clock never goes back.
    assert_reset(&mut table, 999, &first(&ack), ResetReason::Cookie);
}

#[test]
fn a_cookie_is_good_for_its_session_and_its_address_only() {
    let mut table = table(10);
    let ack = offer(&mut table, 0, 1);
    let other = offer(&mut table, 0, 2);
    let mixed = data(ack.session, EPOCH, Some(&other.cookie));
    assert_reset(&mut table, 0, &mixed, ResetReason::Cookie);
    for from in [(Ipv4Addr::LOCALHOST, 4001), (Ipv4Addr::new(192, 0, 2, 1), 4000)] {
        let Decision::Answer(answer) = table.handle_datagram(0, from.into(), &first(&ack)) else {
            panic!("it begins a session");
        };
        assert_eq!(Reset::decode(&answer).unwrap().reason, ResetReason::Cookie);
    }
}

#[test]
fn a_session_that_has_ended_is_closed_until_it_is_forgotten() {
    let mut table = table(10);
    let ack = begin(&mut table, 0, 1);
    table.end(100, ack.session);
    assert_eq!((table.len(), table.handles().count()), (1, 0));
    // Though the cookie is still good.
    assert_reset(&mut table, 101, &first(&ack), ResetReason::Closed);
    assert_reset(&mut table, 100 + RETENTION_MS, &later(&ack), ResetReason::Closed);
    assert_eq!(table.len(), 1);
    assert_reset(&mut table, 101 + RETENTION_MS, &later(&ack), ResetReason::Unknown);
    assert_reset(&mut table, 101 + RETENTION_MS, &first(&ack), ResetReason::Cookie);
    assert_eq!(table.len(), 0);
}

#[test]
fn sessions_are_remembered_for_as_long_as_their_cookies_are_good_whatever_is_set() {
    for retention in [Duration::ZERO, COOKIE_LIFETIME] {
        let config = TableConfig { retention, ..config(10) };
        let mut table = Table::new(config, CookieKey::new(&[7; CookieKey::BYTES]));
        // Offered, begun and ended within the same millisecond.
        let ack = begin(&mut table, 0, 1);
        table.end(0, ack.session);
        assert_reset(&mut table, COOKIE_MS, &first(&ack), ResetReason::Closed);
        assert_reset(&mut table, COOKIE_MS + 1, &first(&ack), ResetReason::Cookie);
    }
}

// r[verify session.idle]
#[test]
fn a_session_that_lives_is_never_forgotten() {
    let mut table = table(10);
    let ack = begin(&mut table, 0, 1);
    assert_delivered(&mut table, 365 * 24 * 3600 * 1000, &later(&ack));
}

#[test]
fn a_session_ends_once() {
    let mut table = table(10);
    let ack = begin(&mut table, 0, 1);
    table.end(0, ack.session);
    table.end(50, ack.session);
    table.end(50, SessionId(77));
    assert_eq!(table.snapshot().ended, [(RETENTION_MS, ack.session)]);
}

#[test]
fn a_full_table_refuses_and_forgets_nothing() {
    let mut table = table(2);
    let late = offer(&mut table, 0, 1);
    let live = begin(&mut table, 0, 2);
    let ended = begin(&mut table, 0, 3);
    table.end(0, ended.session);
    let refused = Reset::decode(&answer(&mut table, 10, &init(9))).unwrap();
    let reason = ResetReason::Full;
    assert_eq!(refused, Reset { id: 9, epoch: EPOCH, uptime_ms: 10, pn32: 0, reason });
    assert_reset(&mut table, 10, &first(&late), ResetReason::Full);
    assert_eq!(table.counts().refused, 2);
    assert_delivered(&mut table, 10, &first(&live));
    assert_reset(&mut table, 10, &first(&ended), ResetReason::Closed);
    // A bad cookie is told first: there will be no room for it later either.
    assert_reset(&mut table, COOKIE_MS + 1, &first(&late), ResetReason::Cookie);
    // There is room as soon as one is forgotten.
    assert!(InitAck::decode(&answer(&mut table, RETENTION_MS + 1, &init(9))).is_some());
}

// r[verify reset.refused]
#[test]
fn a_server_that_leaves_begins_no_session_any_more() {
    let mut table = table(1);
    let live = begin(&mut table, 0, 1);
    let late = {
        let mut roomy = self::table(10);
        offer(&mut roomy, 0, 2)
    };
    table.leave();
    let refused = Reset::decode(&answer(&mut table, 10, &init(9))).unwrap();
    assert_eq!(refused.reason, ResetReason::Leaving, "rather than that it is full");
    assert_reset(&mut table, 10, &first(&late), ResetReason::Leaving);
    assert_delivered(&mut table, 10, &later(&live));
    table.end(10, live.session);
    assert_reset(&mut table, 10, &first(&live), ResetReason::Closed);
    assert_eq!(table.counts().refused, 2);
}

// r[verify setup.last]
#[test]
fn a_server_that_offers_no_more_keeps_its_offers() {
    let mut table = table(2);
    let [first_offer, second, late] = [1, 2, 3].map(|nonce| offer(&mut table, 1000, nonce));
    table.offer_no_more();
    let refused = Reset::decode(&answer(&mut table, 1010, &init(9))).unwrap();
    assert_eq!(refused.reason, ResetReason::Leaving);
    let until = table.awaited_until_ms(1010).expect("none has begun");
    assert!((2000..=4000).contains(&until), "{until}");
    for ack in [&first_offer, &second] {
        let Decision::Begin(begins) = table.handle_datagram(1020, client(), &first(ack)) else {
            panic!("it was offered");
        };
        table.insert(1020, begins, "it");
    }
    assert_eq!(table.awaited_until_ms(1020), Some(until), "one is missing");
    // Of which none can be certain that it never will: there may be room again.
    assert_reset(&mut table, 1030, &first(&late), ResetReason::Full);
    table.leave();
    assert_reset(&mut table, 1040, &first(&late), ResetReason::Leaving);
    table.offer_no_more();
    assert_reset(&mut table, 1050, &first(&late), ResetReason::Leaving);
    assert_delivered(&mut table, 1050, &later(&second));
}

#[test]
fn what_is_not_from_a_client_is_answered_with_nothing() {
    let mut table = table(10);
    let ack = begin(&mut table, 0, 1);
    let mut packets = vec![vec![], vec![0; 39], vec![0xff; 100], init(1)[..1199].to_vec()];
    let begin = |from_server, session| {
        let mut out = Vec::new();
        let header = packet::DataHeader { from_server, epoch: EPOCH, session, pn: 0 };
        packet::begin_data(&mut out, header, None);
        packet::finish(&mut out, 0, 0);
        out
    };
    packets.extend([begin(true, ack.session), begin(true, SessionId(5))]);
    let mut resets = Vec::new();
    for reason in [ResetReason::Unknown, ResetReason::Closed, ResetReason::Other(9)] {
        let mut out = Vec::new();
        Reset { id: ack.session.0, epoch: EPOCH, uptime_ms: 0, pn32: 0, reason }.encode(&mut out);
        resets.push(out);
    }
    packets.extend(resets);
    let (mut acks, mut versions) = (Vec::new(), Vec::new());
    ack.encode(&mut acks);
    Versions { nonce: Nonce(1), versions: vec![1] }.encode(&mut versions);
    packets.extend([acks, of_version(versions.clone(), 2), versions]);
    let count = packets.len() as u64;
    for packet in packets {
        assert!(is_dropped(&mut table, 0, &packet), "{packet:?}");
    }
    assert_eq!(table.counts(), Counts { dropped: count, ..Counts::default() });
}

#[test]
fn who_is_nobody_or_many_is_answered_with_nothing() {
    // r[verify datagram.source]
    let mut table = table(10);
    let ack = offer(&mut table, 0, 1);
    let packets = [init(1), of_version(init(1), 2), first(&ack), later(&ack)];
    let addresses = [
        "224.0.0.1:4000",
        "239.255.255.255:4000",
        "255.255.255.255:4000",
        "[ff02::1]:4000",
        "[::ffff:224.0.0.1]:4000",
        "127.0.0.1:0",
    ];
    for from in addresses {
        for packet in &packets {
            let decision = table.handle_datagram(0, from.parse().unwrap(), packet);
            assert!(matches!(decision, Decision::Drop), "{from}: {decision:?}");
        }
    }
    assert_eq!(table.counts(), Counts { dropped: 24, ..Counts::default() });
}

#[test]
fn what_is_damaged_is_answered_with_nothing() {
    let mut table = table(10);
    let ack = offer(&mut table, 0, 1);
    for whole in [init(1), first(&ack), later(&ack)] {
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert!(is_dropped(&mut table, 0, &damaged), "byte {at}");
        }
        assert!(is_dropped(&mut table, 0, &whole[..whole.len() - 1]));
    }
    assert_eq!(table.len(), 0);
}

#[test]
fn an_init_of_another_version_is_told_which_there_are() {
    let mut table = table(10);
    for version in [0, 2, 7] {
        let answer = answer(&mut table, 0, &of_version(init(3), version));
        assert_eq!(answer.len(), RESET_BYTES);
        let versions = Versions::decode(&answer).unwrap();
        assert_eq!(versions, Versions { nonce: Nonce(3), versions: vec![VERSION] });
    }
    // Shorter ones aren't answered, whatever they would be in that version.
    let mut short = init(3)[..1000].to_vec();
    short = of_version(short, 2);
    assert!(is_dropped(&mut table, 0, &short));
    // Data packets of other versions are none that this side could tell apart.
    assert!(is_dropped(&mut table, 0, &of_version(data(SessionId(1), EPOCH, None), 2)));
}

#[test]
fn no_answer_is_longer_than_what_it_answers() {
    let mut table = table(1);
    let ack = offer(&mut table, 0, 1);
    let shortest = data(SessionId(1), EPOCH, None);
    assert_eq!(shortest.len(), RESET_BYTES, "there is no shorter one");
    let triggers =
        [init(1), of_version(init(1), 2), shortest, data(ack.session, EPOCH, Some(&[0; 40]))];
    for trigger in triggers {
        assert!(answer(&mut table, 0, &trigger).len() <= trigger.len());
    }
}

#[test]
fn resets_are_sent_a_thousand_times_a_second() {
    let mut table = table(10);
    let stranger = data(SessionId(1), EPOCH, None);
    for _ in 0..RESETS_PER_SECOND {
        assert_reset(&mut table, 5_000, &stranger, ResetReason::Unknown);
    }
    for _ in 0..10 {
        assert!(is_dropped(&mut table, 5_999, &stranger));
    }
    let expected = Counts { resets: 1000, resets_withheld: 10, ..Counts::default() };
    assert_eq!(table.counts(), expected);
    assert_reset(&mut table, 6_000, &stranger, ResetReason::Unknown);
}

// r[verify reset.when]
#[test]
fn whoever_asks_for_a_session_is_refused_a_thousand_times_a_second() {
    let mut table = table(0);
    let init = init(1);
    for _ in 0..RESETS_PER_SECOND {
        assert_eq!(answer(&mut table, 5_000, &init).len(), RESET_BYTES);
    }
    for _ in 0..10 {
        assert!(is_dropped(&mut table, 5_999, &init));
    }
    assert_eq!((table.counts().refused, table.counts().resets_withheld), (1000, 10));
    assert_eq!(answer(&mut table, 6_000, &init).len(), RESET_BYTES);
}

#[test]
fn nothing_is_kept_of_a_million_inits() {
    let mut table = table(10);
    // Encoded once: the million is about the table, and checksums of 1200 bytes take their time.
    let inits: Vec<_> = (0..100).map(init).collect();
    for round in 0..10_000 {
        for init in &inits {
            let decision = table.handle_datagram(round, client(), init);
            assert!(matches!(decision, Decision::Answer(answer) if answer.len() == 88));
        }
    }
    assert_eq!((table.len(), table.sessions.capacity(), table.ended.capacity()), (0, 0, 0));
    assert_eq!(table.counts(), Counts::default());
}

#[test]
fn what_it_knows_can_be_copied() {
    let mut table = table(10);
    let live = begin(&mut table, 0, 1);
    let ended = begin(&mut table, 0, 2);
    table.end(3, ended.session);
    table.leave();
    let copied = table.snapshot();
    assert_eq!(copied.live, [(live.session, "it")]);
    let key = CookieKey::new(&[7; CookieKey::BYTES]);
    let mut copy = Table::restore(config(10), key, &copied);
    assert_eq!(copy.snapshot(), copied);
    assert_delivered(&mut copy, 4, &later(&live));
    assert_reset(&mut copy, 4, &later(&ended), ResetReason::Closed);
}
