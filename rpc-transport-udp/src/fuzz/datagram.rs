//! Fuzz target: any bytes are a datagram or none; what is one is written again as it was; a cookie is
//! good for what it was made for alone; and a table of sessions keeps nothing of a stranger.

use std::{net::SocketAddr, time::Instant};

use super::Input;
use crate::proto::{
    cookie::{CookieKey, Verified},
    frame::{AckHead, Frame, FrameHeader, Frames, encode_ack, encode_frame_header},
    joined,
    packet::{
        self, COOKIE_BYTES, DataHeader, Epoch, Init, InitAck, Nonce, Params, Peek, Reset,
        SessionId, VERSION, Versions, expand,
    },
    setup::SetUpClient,
    table::{COOKIE_LIFETIME, Decision, RETENTION, Table, TableConfig},
    tests::world::PARAMS,
};

const EPOCH: Epoch = Epoch(0xe90c_1234_5678);

/// Takes a datagram, sealed or as it is, then one cookie with a change.
///
/// # Panics
/// If something is wrong.
pub fn datagram(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.u8();
    let change = (input.u8(), input.u8());
    let now_ms = u64::from(input.u16());
    let mut datagram = input.bytes(packet::DATAGRAM_BYTES_MAX + 1).to_vec();
    if choice & 1 == 0 && datagram.len() >= 8 {
        packet::seal(&mut datagram);
    }
    check_joined(&datagram);
    check_setup(&datagram);
    check_data(&datagram);
    check_table(&datagram, now_ms);
    check_cookie(choice, change, now_ms);
    let setup = SetUpClient::new(Instant::now(), client(), PARAMS, Nonce(1));
    assert!(setup.handle_datagram(&datagram).is_none() || packet::check(&datagram));
}

fn client() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], 4000))
}

/// What came together is told apart where a datagram ends, and nowhere else.
fn check_joined(datagram: &[u8]) {
    for count in 1..3 {
        let row = datagram.repeat(count);
        let stride = joined::stride(&row);
        assert!(stride == row.len() || packet::check(&row[..stride]));
    }
}

/// Packets outside of sessions come back as they were, up to padding and what is out of bounds.
fn check_setup(datagram: &[u8]) {
    let mut out = Vec::new();
    if let Some(init) = Init::decode(datagram) {
        init.encode(&mut out);
        assert_eq!(Init::decode(&out), Some(init));
    }
    if let Some(ack) = InitAck::decode(datagram) {
        out.clear();
        ack.encode(&mut out);
        assert_eq!(InitAck::decode(&out), Some(ack));
    }
    if let Some(reset) = Reset::decode(datagram) {
        out.clear();
        reset.encode(&mut out);
        assert_eq!(Reset::decode(&out), Some(reset));
    }
    if let Some(versions) = Versions::decode(datagram) {
        out.clear();
        versions.encode(&mut out);
        assert_eq!(Versions::decode(&out), Some(versions));
    }
}

fn check_data(datagram: &[u8]) {
    let Some(data) = packet::decode_data(datagram) else { return };
    let header = DataHeader {
        from_server: data.from_server,
        epoch: Epoch(data.epoch16.into()),
        session: data.session,
        pn: data.pn32.into(),
    };
    let mut out = Vec::new();
    packet::begin_data(&mut out, header, data.cookie);
    out.extend_from_slice(data.frames);
    packet::finish(&mut out, 0, 0);
    assert_eq!(packet::decode_data(&out).as_ref(), Some(&data));
    let mut frames = Frames::new(data.frames);
    let (mut count, mut failed) = (0, false);
    for frame in frames.by_ref() {
        assert!(!failed, "frames go on after one that is none");
        count += 1;
        match frame {
            Ok(frame) => check_frame(&frame),
            Err(_) => failed = true,
        }
    }
    assert!(count <= data.frames.len() && frames.next().is_none());
}

fn check_frame(frame: &Frame<'_>) {
    let mut out = Vec::new();
    match frame {
        Frame::Ack(ack) => {
            let largest = expand(ack.largest, 1 << 20);
            let Ok(ranges) = ack.ranges(largest) else { return };
            let ranges: Vec<_> = ranges.collect();
            assert!(ranges.len() <= 32 && ranges.first().is_some_and(|first| first.1 == largest));
            assert!(ranges.windows(2).all(|pair| pair[1].1 + 1 < pair[0].0), "{ranges:?}");
            assert!(ranges.iter().all(|(low, high)| low <= high), "{ranges:?}");
            let ce = ack.ce.map(u64::from);
            let head = AckHead { delay: ack.delay, window: ack.window.into(), ce };
            assert!(encode_ack(&mut out, head, ranges.iter().copied(), 200));
            let Some(Ok(Frame::Ack(again))) = Frames::new(&out).next() else { panic!("no ACK") };
            assert_eq!(again, *ack);
        }
        Frame::Data(lane) => {
            let header = FrameHeader {
                number: lane.number.into(),
                lane: lane.lane,
                lane_seq: lane.lane_seq.into(),
                end: lane.end,
                more: lane.more,
            };
            encode_frame_header(&mut out, header, lane.payload.len());
            out.extend_from_slice(lane.payload);
            assert_eq!(Frames::new(&out).next(), Some(Ok(*frame)));
        }
        _ => {}
    }
}

/// A table that knows nobody: it begins nothing, and what it answers is no longer than what came.
fn check_table(datagram: &[u8], uptime_ms: u64) {
    let config = TableConfig {
        epoch: EPOCH,
        params: PARAMS,
        sessions: 10,
        cookie_lifetime: COOKIE_LIFETIME,
        retention: RETENTION,
    };
    let mut table = Table::<()>::new(config, CookieKey::new(&[7; CookieKey::BYTES]));
    match table.handle_datagram(uptime_ms, client(), datagram) {
        Decision::Deliver(()) | Decision::Begin(..) => panic!("a session out of nothing"),
        Decision::Drop => {}
        Decision::Answer(answer) => {
            assert!(packet::check(datagram) && packet::check(&answer));
            assert!(answer.len() <= datagram.len(), "an answer that amplifies");
            let is_init = matches!(
                packet::peek(datagram),
                Some(Peek::Setup { kind: packet::Kind::Init, version: VERSION })
            );
            assert_eq!(is_init, InitAck::decode(&answer).is_some());
        }
    }
    assert_eq!(table.len(), 0);
}

/// One cookie, used as it was made or with a change.
fn check_cookie(choice: u8, (at, flip): (u8, u8), now_ms: u64) {
    let key = CookieKey::new(&[9; CookieKey::BYTES]);
    let (nonce, issued_ms) = (Nonce(u64::from(at) << 8 | u64::from(flip)), 1000);
    let id = key.session_id(nonce, issued_ms, client());
    let mut cookie = key.make(nonce, issued_ms, &PARAMS, EPOCH, id, client());
    let (mut epoch, mut session, mut from) = (EPOCH, id, client());
    let mut is_good = true;
    match choice >> 1 & 7 {
        0 => {
            cookie[usize::from(at) % COOKIE_BYTES] ^= flip;
            is_good = flip == 0;
        }
        1 => {
            epoch = Epoch(EPOCH.0 ^ u64::from(flip));
            is_good = flip == 0;
        }
        2 => {
            session = SessionId(id.0 ^ u64::from(flip) << (at % 56));
            is_good = flip == 0;
        }
        3 => {
            from.set_port(4000 ^ u16::from(flip));
            is_good = flip == 0;
        }
        _ => {}
    }
    let lifetime_ms = 500;
    let is_in_time = (issued_ms..=issued_ms + lifetime_ms).contains(&now_ms);
    let verdict = key.verify(&cookie, epoch, session, from, now_ms, lifetime_ms);
    assert_eq!(verdict.is_ok(), is_good && is_in_time, "{verdict:?}");
    if let Ok(verified) = verdict {
        let params = Params { features: 0, ..PARAMS };
        assert_eq!(verified, Verified { params, issued_ms });
    }
}
