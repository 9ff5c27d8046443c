//! Datagrams against `spec/vectors`, there and back, damaged, cut, and made of anything.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::proto::vectors::{Vector, number};

impl Vector {
    fn params(&self) -> Params {
        Params {
            datagram_bytes: self.number("datagram_bytes"),
            ack_delay_ms: self.number("ack_delay_ms"),
            window: self.number("window"),
            features: self.number("features"),
        }
    }

    fn nonce(&self) -> Nonce {
        Nonce(self.number("nonce"))
    }

    fn cookie(&self) -> Option<[u8; COOKIE_BYTES]> {
        let cookie = self.octets("cookie");
        (!cookie.is_empty()).then(|| cookie.try_into().expect("40 bytes"))
    }

    fn init(&self) -> Init {
        Init { nonce: self.nonce(), params: self.params() }
    }

    fn init_ack(&self) -> InitAck {
        InitAck {
            nonce: self.nonce(),
            epoch: Epoch(self.number("epoch")),
            session: SessionId(self.number("session")),
            params: self.params(),
            retention_ms: self.number("retention_ms"),
            cookie: self.cookie().expect("a cookie"),
        }
    }

    fn reset(&self) -> Reset {
        let reasons = [
            (1, ResetReason::Unknown),
            (2, ResetReason::Closed),
            (3, ResetReason::Cookie),
            (4, ResetReason::Full),
            (5, ResetReason::Leaving),
        ];
        let byte = self.number("reason");
        let known = reasons.iter().find(|(number, _)| *number == byte);
        Reset {
            id: self.number("id"),
            epoch: Epoch(self.number("epoch")),
            uptime_ms: self.number("uptime_ms"),
            pn32: self.number("pn32"),
            reason: known.map_or(ResetReason::Other(byte), |(_, reason)| *reason),
        }
    }

    fn versions(&self) -> Versions {
        Versions { nonce: self.nonce(), versions: self.octets("versions") }
    }

    /// The data packet of these fields, as our encoder writes it.
    fn data(&self) -> Vec<u8> {
        let header = DataHeader {
            from_server: self.flag("from_server"),
            // The other bits of these two don't go over the wire.
            epoch: Epoch(0xabcd << 16 | self.number::<u64>("epoch16")),
            session: SessionId(self.number("session")),
            pn: 5 << 32 | self.number::<u64>("pn32"),
        };
        let mut out = Vec::new();
        begin_data(&mut out, header, self.cookie().as_ref());
        out.extend(self.octets("frames"));
        finish(&mut out, 0, 0);
        out
    }
}

/// What an encoder appends to an empty buffer.
fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

/// One packet of each kind.
fn samples() -> Vec<Vec<u8>> {
    let samples = ["init", "init_ack", "reset", "versions", "data"].map(Vector::read);
    let of_this_version = samples.iter().flatten().filter(|vector| vector.is_ours());
    of_this_version.map(Vector::bytes).collect()
}

/// Whether any decoder takes a datagram.
fn is_taken(bytes: &[u8]) -> bool {
    Init::decode(bytes).is_some()
        || Init::decode_other_version(bytes).is_some()
        || InitAck::decode(bytes).is_some()
        || Reset::decode(bytes).is_some()
        || Versions::decode(bytes).is_some()
        || decode_data(bytes).is_some()
}

// r[verify datagram.common] r[verify setup.init] r[verify setup.init-ack] r[verify setup.params]
// r[verify setup.versions] r[verify reset.layout] r[verify reset.reasons]
#[test]
fn every_vector_of_a_set_up_packet_is_read_and_written() {
    for vector in Vector::read("init") {
        assert_eq!(Init::decode(&vector.bytes()), Some(vector.init()), "{}", vector.name);
        let out = encoded(|out| vector.init().encode(out));
        assert_eq!(out == vector.bytes(), vector.is_ours(), "{}", vector.name);
    }
    for vector in Vector::read("init_ack") {
        assert_eq!(InitAck::decode(&vector.bytes()), Some(vector.init_ack()), "{}", vector.name);
        let out = encoded(|out| vector.init_ack().encode(out));
        assert_eq!(out == vector.bytes(), vector.is_ours(), "{}", vector.name);
    }
    for vector in Vector::read("reset") {
        assert_eq!(Reset::decode(&vector.bytes()), Some(vector.reset()), "{}", vector.name);
        let out = encoded(|out| vector.reset().encode(out));
        assert_eq!(out == vector.bytes(), vector.is_ours(), "{}", vector.name);
    }
    for vector in Vector::read("versions") {
        assert_eq!(Versions::decode(&vector.bytes()), Some(vector.versions()), "{}", vector.name);
        let out = encoded(|out| vector.versions().encode(out));
        assert_eq!(out == vector.bytes(), vector.is_ours(), "{}", vector.name);
    }
}

// r[verify datagram.common] r[verify datagram.data]
#[test]
fn every_vector_of_a_data_packet_is_read_and_written() {
    for vector in Vector::read("data") {
        let (bytes, cookie, frames) = (vector.bytes(), vector.cookie(), vector.octets("frames"));
        let data = Data {
            from_server: vector.flag("from_server"),
            epoch16: vector.number("epoch16"),
            session: SessionId(vector.number("session")),
            pn32: vector.number("pn32"),
            cookie: cookie.as_ref(),
            frames: &frames,
        };
        let peeked = Peek::Data {
            session: data.session,
            from_server: data.from_server,
            has_cookie: cookie.is_some(),
        };
        assert_eq!(peek(&bytes), Some(peeked), "{}", vector.name);
        assert_eq!(decode_data(&bytes), Some(data), "{}", vector.name);
        assert_eq!(vector.data() == bytes, vector.is_ours(), "{}", vector.name);
    }
}

// r[verify datagram.drop] r[verify datagram.direction] r[verify datagram.size]
// r[verify setup.sizes] r[verify setup.params]
#[test]
fn no_decoder_takes_a_vector_that_is_dropped() {
    for vector in Vector::read("dropped") {
        let bytes = vector.bytes();
        assert!(!is_taken(&bytes), "{}", vector.name);
        // The reason is the one that is given: nothing else is wrong with it.
        let reason = vector.refused();
        let sized = (DATAGRAM_BYTES_MIN..=DATAGRAM_BYTES_MAX).contains(&bytes.len());
        assert_eq!(check(&bytes), reason != Some("crc") && bytes.len() >= 8, "{}", vector.name);
        assert!(sized || reason == Some("size"), "{}", vector.name);
        let passes_peek = match reason {
            Some("kind") => false,
            Some("crc" | "value") => true,
            _ => continue,
        };
        assert_eq!(peek(&bytes).is_some(), passes_peek, "{}", vector.name);
    }
}

// r[verify datagram.numbers]
#[test]
fn numbers_are_completed_as_the_vectors_say() {
    for vector in Vector::read("numbers") {
        let found = expand(vector.number("truncated"), vector.number("expected"));
        assert_eq!(found, number(&vector.text), "{}", vector.name);
    }
}

// r[verify setup.sizes] r[verify datagram.size]
#[test]
fn no_packet_of_a_server_is_longer_than_what_it_answers() {
    let sizes = |file| Vector::read(file).into_iter().map(|vector| vector.bytes().len());
    assert!(sizes("init").all(|bytes| bytes == 1200));
    assert!(sizes("init_ack").all(|bytes| bytes == 88));
    assert!(sizes("reset").chain(sizes("versions")).all(|bytes| bytes == 40));
    // An INIT_ACK answers an INIT, a RESET anything that is a datagram at all.
    const { assert!(INIT_ACK_BYTES < INIT_BYTES && RESET_BYTES <= DATAGRAM_BYTES_MIN) };
    let shortest = DataHeader { from_server: false, epoch: Epoch(0), session: SessionId(0), pn: 0 };
    let out = encoded(|out| {
        begin_data(out, shortest, None);
        finish(out, 0, 0);
    });
    assert_eq!(out.len(), DATAGRAM_BYTES_MIN);
}

// r[verify datagram.crc]
#[test]
fn every_single_bit_counts() {
    for mut bytes in samples() {
        assert!(check(&bytes) && is_taken(&bytes));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!check(&bytes) && !is_taken(&bytes), "bit {bit} of {}", bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

// r[verify datagram.drop]
#[test]
fn no_part_of_a_packet_is_taken_for_one() {
    for bytes in samples() {
        for cut in 0..bytes.len() {
            assert!(!is_taken(&bytes[..cut]), "{cut} of {}", bytes.len());
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(!is_taken(&longer), "{}", bytes.len());
    }
}

/// CRC-32C, bit by bit.
fn reference_crc(bytes: impl IntoIterator<Item = u8>) -> u32 {
    let register = bytes.into_iter().fold(!0, |register, byte| {
        (0..8).fold(register ^ u32::from(byte), |register, _| {
            if register & 1 == 0 { register >> 1 } else { register >> 1 ^ 0x82f6_3b78 }
        })
    });
    !register
}

// r[verify datagram.crc]
#[test]
fn the_checksum_is_crc_32c() {
    assert_eq!(reference_crc(*b"123456789"), 0xe306_9283);
    let mut bytes = *b"1234....56789";
    seal(&mut bytes);
    assert_eq!(bytes[4..8], 0xe306_9283_u32.to_le_bytes());
}

// r[verify setup.versions]
#[test]
fn an_init_of_another_version_says_its_nonce_and_no_more() {
    for version in 0..8 {
        let init = Init { nonce: Nonce(77), params: PARAMS };
        let mut bytes = encoded(|out| init.encode(out));
        bytes[0] = bytes[0] & !bits::VERSION_MASK | version;
        // Whatever a later version has behind the nonce.
        bytes[16..].fill(0xcc);
        seal(&mut bytes);
        assert_eq!(peek(&bytes), Some(Peek::Setup { kind: Kind::Init, version }));
        let nonce = Init::decode_other_version(&bytes);
        assert_eq!(nonce, (version != VERSION).then_some(Nonce(77)));
        assert_eq!(Init::decode(&bytes).is_some(), version == VERSION);
        // A shorter one would be answered with more than a fraction of what it cost.
        bytes.pop();
        seal(&mut bytes);
        assert_eq!(Init::decode_other_version(&bytes), None);
    }
}

#[test]
fn datagrams_lie_one_behind_the_other_in_a_buffer() {
    let header = DataHeader { from_server: true, epoch: Epoch(1), session: SessionId(2), pn: 3 };
    let mut out = vec![0xcc; 3];
    begin_data(&mut out, header, None);
    out.push(1);
    finish(&mut out, 3, 1200);
    let second = out.len();
    begin_data(&mut out, header, None);
    out.extend([0xee; 100]);
    finish(&mut out, second, 0);
    assert_eq!(second, 3 + 1200);
    assert_eq!(decode_data(&out[3..second]).expect("the first").frames.len(), 1180);
    assert_eq!(decode_data(&out[second..]).expect("the second").frames, [0xee; 100]);
    assert_eq!(out[..3], [0xcc; 3]);
}

#[test]
fn ids_are_shown_in_hexadecimal() {
    assert_eq!(format!("{:?}", SessionId(0xab)), "SessionId(0x00000000000000ab)");
    assert_eq!(format!("{:?}", Nonce(0xab)), "Nonce(0x00000000000000ab)");
    assert_eq!(format!("{:?}", Epoch(0xab)), "Epoch(0x00000000000000ab)");
    assert_eq!(Epoch(0x1234_5678_9abc_def0).low16(), 0xdef0);
}

const PARAMS: Params = Params { datagram_bytes: 1452, ack_delay_ms: 5, window: 4096, features: 0 };

fn params() -> impl Strategy<Value = Params> {
    (1200..=u16::MAX, 0..=1_000_u16, 64..=65_536_u32, any::<u32>()).prop_map(
        |(datagram_bytes, ack_delay_ms, window, features)| Params {
            datagram_bytes,
            ack_delay_ms,
            window,
            features,
        },
    )
}

fn cookies() -> impl Strategy<Value = [u8; COOKIE_BYTES]> {
    (any::<[u8; 20]>(), any::<[u8; 20]>())
        .prop_map(|(a, b)| std::array::from_fn(|i| if i < 20 { a[i] } else { b[i - 20] }))
}

/// A datagram of ours whose first bytes and checksum are right, whatever the rest is.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let lengths = prop_oneof![Just(40), Just(88), Just(1200), 0..1460_usize];
    (lengths, 0..=5_u8, any::<u8>(), any::<u64>()).prop_map(|(length, kind, first, seed)| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes: Vec<_> = (0..length).map(|_| random.u8(..)).collect();
        if let [b0, b1, _, _, _, _, _, _, ..] = &mut bytes[..] {
            (*b0, *b1) = (first & 0x3f | 0x40, kind);
            if random.bool() {
                *b0 = *b0 & !7 | VERSION;
            }
            seal(&mut bytes);
        }
        bytes
    })
}

proptest! {
    // r[verify setup.init] r[verify setup.init-ack] r[verify setup.params]
    #[test]
    fn set_up_packets_come_back(
        (nonce, epoch, session) in any::<(u64, u64, u64)>(),
        params in params(),
        retention_ms in any::<u32>(),
        cookie in cookies(),
    ) {
        let (nonce, epoch, session) = (Nonce(nonce), Epoch(epoch), SessionId(session));
        let init = Init { nonce, params };
        prop_assert_eq!(Init::decode(&encoded(|out| init.encode(out))), Some(init));
        let ack = InitAck { nonce, epoch, session, params, retention_ms, cookie };
        prop_assert_eq!(InitAck::decode(&encoded(|out| ack.encode(out))), Some(ack));
    }

    // r[verify reset.layout] r[verify setup.versions]
    #[test]
    fn refusals_come_back(
        (id, epoch, uptime_ms) in any::<(u64, u64, u64)>(),
        pn32 in any::<u32>(),
        reason in prop_oneof![
            Just(ResetReason::Unknown),
            Just(ResetReason::Closed),
            Just(ResetReason::Cookie),
            Just(ResetReason::Full),
            Just(ResetReason::Leaving),
            (6..=255_u8).prop_map(ResetReason::Other),
        ],
        versions in vec(0..8_u8, 1..=7),
    ) {
        let reset = Reset { id, epoch: Epoch(epoch), uptime_ms, pn32, reason };
        prop_assert_eq!(Reset::decode(&encoded(|out| reset.encode(out))), Some(reset));
        let versions = Versions { nonce: Nonce(id), versions };
        let bytes = encoded(|out| versions.encode(out));
        prop_assert_eq!(Versions::decode(&bytes), Some(versions));
    }

    // r[verify datagram.data]
    #[test]
    fn data_packets_come_back(
        from_server in any::<bool>(),
        (epoch, session, pn) in any::<(u64, u64, u64)>(),
        cookie in proptest::option::of(cookies()),
        frames in vec(any::<u8>(), 20..1392),
    ) {
        let cookie = cookie.filter(|_| !from_server);
        let header =
            DataHeader { from_server, epoch: Epoch(epoch), session: SessionId(session), pn };
        let mut bytes = Vec::new();
        begin_data(&mut bytes, header, cookie.as_ref());
        bytes.extend(&frames);
        finish(&mut bytes, 0, 0);
        let data = Data {
            from_server,
            epoch16: header.epoch.low16(),
            session: header.session,
            pn32: low32(pn),
            cookie: cookie.as_ref(),
            frames: &frames,
        };
        prop_assert_eq!(decode_data(&bytes), Some(data));
        prop_assert_eq!(expand(low32(pn), pn), pn);
    }

    // r[verify setup.params]
    #[test]
    fn no_parameter_is_out_of_bounds(bytes in any::<[u8; 12]>()) {
        let refused = u16::from_le_bytes([bytes[0], bytes[1]]) < 1200;
        let params = Params::decode(&bytes);
        prop_assert_eq!(params.is_none(), refused);
        if let Some(params) = params {
            prop_assert!(params.ack_delay_ms <= 1_000);
            prop_assert!((64..=65_536).contains(&params.window));
        }
    }

    // r[verify datagram.numbers]
    #[test]
    fn a_number_near_the_expected_one_is_completed(
        expected in any::<u64>(),
        distance in -(1_i64 << 31) + 1..=1 << 31,
    ) {
        if let Some(full) = expected.checked_add_signed(distance) {
            prop_assert_eq!(expand(low32(full), expected), full);
        }
    }

    #[test]
    fn the_low_half_of_a_number_is_kept_whatever_is_expected(
        truncated in any::<u32>(),
        expected in any::<u64>(),
    ) {
        prop_assert_eq!(low32(expand(truncated, expected)), truncated);
    }

    // r[verify datagram.crc]
    #[test]
    fn the_checksum_is_the_one_that_is_computed_bit_by_bit(
        mut bytes in vec(any::<u8>(), 8..200),
        bit in any::<Index>(),
    ) {
        seal(&mut bytes);
        let covered = bytes[..4].iter().chain(&bytes[8..]).copied();
        prop_assert_eq!(&bytes[4..8], &reference_crc(covered).to_le_bytes()[..]);
        prop_assert!(check(&bytes));
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!check(&bytes));
    }

    // r[verify datagram.drop]
    #[test]
    fn any_bytes_are_read_or_dropped(bytes in vec(any::<u8>(), 0..1500)) {
        prop_assert!(!is_taken(&bytes), "a checksum that is right by chance");
        peek(&bytes);
    }

    // r[verify datagram.drop] r[verify datagram.direction]
    #[test]
    fn a_datagram_is_taken_by_one_decoder_at_most(bytes in plausible()) {
        let takers = [
            Init::decode(&bytes).is_some(),
            Init::decode_other_version(&bytes).is_some(),
            InitAck::decode(&bytes).is_some(),
            Reset::decode(&bytes).is_some(),
            Versions::decode(&bytes).is_some(),
            decode_data(&bytes).is_some(),
        ];
        let count = takers.iter().filter(|taken| **taken).count();
        prop_assert!(count <= 1, "{:?}", takers);
        prop_assert!(count == 0 || peek(&bytes).is_some());
    }
}
