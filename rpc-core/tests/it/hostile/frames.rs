//! Frames that are none: every kind and flag, lengths, truncation, lanes, extensions.

use rpc_core::{Delivery, ErrorKind, Limits};
use tokio::io::AsyncWriteExt;

use super::{
    CLOSE, CREDIT, DATA, END, GO_AWAY, ITEM, NO_TIMEOUT, PING, PONG, Prey, REPLY, REQUEST, STREAM,
    Target, nth, request, text_body,
};
use crate::raw::{Raw, framed};

const MALFORMED_FRAME: u16 = 11;
const FRAME_TOO_LARGE: u16 = 10;

/// Frames that break the connection, whichever side gets them: a name, the lane, the bytes from the
/// kind on.
fn malformed() -> Vec<(&'static str, u64, Vec<u8>)> {
    let mut frames = vec![
        ("an empty frame on lane 0", 0, vec![]),
        ("an empty frame on a call's lane", nth(1), vec![]),
        ("one byte", 0, vec![PING]),
        ("three bytes", 0, vec![PING, 0, 0]),
        ("a ping on a call's lane", nth(1), [&[PING, 0, 0, 0][..], &[0; 8]].concat()),
        ("a close on a call's lane", nth(1), vec![CLOSE, 0, 0, 0, 0, 0, 0, 0]),
        ("data on lane 0", 0, vec![DATA, 0, 0, 0, 1]),
        ("a reply on lane 0", 0, vec![REPLY, 0, 0, 0, 1]),
        ("a request on lane 0", 0, [&[REQUEST, 0, 0, 0][..], &[0; 12]].concat()),
        ("extensions beyond the frame", 0, [&[PING, 0, 1, 0][..], &[0; 8]].concat()),
        ("all the extensions there can be", 0, [&[PING, 0, 0xff, 0xff][..], &[0; 8]].concat()),
        ("half an extension", 0, [&[PING, 0, 3, 0][..], &[0; 8], &[1, 0, 0]].concat()),
        ("an extension too long", 0, [&[PING, 0, 4, 0][..], &[0; 8], &[9, 0, 1, 0]].concat()),
        ("an extension of a reply", nth(1), vec![REPLY, 0, 4, 0, 1, 0, 1, 0]),
        ("a close whose text isn't one", 0, vec![CLOSE, 0, 0, 0, 0, 0, 0, 0, 0xff]),
        ("an error whose text isn't one", nth(1), vec![4, 0, 0, 0, 1, 0, 0, 0, 0xc3, 0x28]),
        ("an error that ran in no known way", nth(1), vec![4, 0, 0, 0, 1, 0, 3, 0]),
        ("a cancel of no call", 0, [&[7, 0, 0, 0][..], &[0; 8]].concat()),
    ];
    let fields = [(1, 44), (REQUEST, 12), (4, 4), (CREDIT, 12), (7, 8)];
    let fields = fields.into_iter().chain([(PING, 8), (PONG, 8), (GO_AWAY, 8), (CLOSE, 4)]);
    for (kind, bytes) in fields {
        let lane = if matches!(kind, REQUEST | 4) { nth(1) } else { 0 };
        for cut in 0..bytes {
            frames.push((
                "fixed fields cut short",
                lane,
                [&[kind, 0, 0, 0][..], &vec![0; cut]].concat(),
            ));
        }
    }
    frames
}

/// The frame with its prefix, whatever it is.
fn raw_frame(lane: u64, frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).unwrap();
    [&length.to_le_bytes()[..], &lane.to_le_bytes(), frame].concat()
}

// r[verify frame.malformed] r[verify frame.lane] r[verify frame.common] r[verify extension.layout]
#[tokio::test]
async fn a_malformed_frame_closes_its_connection_and_no_other() {
    let target = Target::start().await;
    for (name, lane, frame) in malformed() {
        let mut raw = target.attacker().await;
        raw.good_call(nth(1)).await;
        raw.put(&raw_frame(lane, &frame)).await;
        let (code, text) = raw.closed().await;
        assert_eq!(code, MALFORMED_FRAME, "{name}: {text}, {frame:x?}");
    }
    target.others_go_on().await;
}

#[tokio::test]
async fn a_malformed_frame_from_a_server_ends_the_call_and_not_the_channel() {
    let prey = Prey::new();
    for (name, lane, frame) in malformed() {
        let (mut raw, call, _) = prey.called().await;
        raw.put(&raw_frame(lane, &frame)).await;
        let error = call.await.unwrap().unwrap_err();
        let ended = (error.kind(), error.delivery());
        assert_eq!(ended, (ErrorKind::ConnectionLost, Delivery::Unknown), "{name}: {error}");
        assert_eq!(raw.closed().await.0, MALFORMED_FRAME, "{name}");
    }
    prey.goes_on(None).await;
}

/// What a server does about a frame of this kind and 48 zero bytes after the common ones: the code
/// that it closes with, or none.
fn verdict(kind: u8, flags: u8, on_a_call: bool) -> Option<u16> {
    match (kind, on_a_call) {
        (REPLY, true) if flags & STREAM != 0 => Some(MALFORMED_FRAME), // it has a body
        (128.., _) | (CREDIT | PING | PONG | GO_AWAY, false) => None,
        (CLOSE, false) => None,
        (1, false) => Some(9),                 // HELLO_REPEATED
        (REQUEST, true) => None,               // of no known service: that call is refused
        (REPLY | 4, true) => Some(13),         // BAD_CALL_ID: it is the attacker's own call
        (DATA | ITEM | END, true) => Some(14), // UNEXPECTED_FRAME: no request went before it
        _ => Some(MALFORMED_FRAME),
    }
}

// r[verify frame.kind] r[verify frame.flags] r[verify frame.unknown]
#[tokio::test]
async fn all_kinds_with_all_flags_do_what_the_specification_says() {
    let target = Target::start().await;
    for kind in 0..=255 {
        for (flags, lane) in [(0, 0), (0, nth(1)), (0xfc, 0), (0xfc, nth(1))] {
            let mut raw = target.attacker().await;
            raw.put(&framed(lane, kind, flags, &[0; 48])).await;
            match verdict(kind, flags, lane != 0) {
                Some(code) => {
                    let closed = raw.closed().await;
                    assert_eq!(closed.0, code, "kind {kind}, flags {flags}, lane {lane}");
                }
                None if kind == CLOSE => raw.ends_silently().await,
                None if kind == GO_AWAY => {
                    // It said that it begins nothing more, and keeps to that.
                    raw.put(&request(nth(2), "echo", NO_TIMEOUT, &text_body("late"))).await;
                    assert_eq!(raw.refusal(nth(2)).await, (4, 0), "SHUTTING_DOWN, never");
                }
                None => raw.good_call(nth(2)).await,
            }
        }
    }
    target.others_go_on().await;
}

// r[verify stream.frame-limit]
#[tokio::test]
async fn lengths_above_the_limit_are_refused_before_a_byte_of_the_frame_came() {
    let target = Target::start().await;
    let prey = Prey::new();
    for length in [66_561_u32, 1 << 20, 1 << 24, 1 << 30, 0x7fff_ffff] {
        for end in [0, 1 << 31_u32] {
            for lane in [0, nth(1), u64::MAX] {
                let prefix = [&(length | end).to_le_bytes()[..], &lane.to_le_bytes()].concat();
                let mut raw = target.attacker().await;
                raw.put(&prefix).await;
                let (code, text) = raw.closed().await;
                assert_eq!(code, FRAME_TOO_LARGE);
                let told = format!("announced a frame of {length} bytes, this side accepts 66560");
                assert!(text.contains(&told), "{text}");
            }
        }
        let (mut raw, call, _) = prey.called().await;
        raw.put(&[&length.to_le_bytes()[..], &[0; 8]].concat()).await;
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionLost);
        assert_eq!(raw.closed().await.0, FRAME_TOO_LARGE);
    }
    target.others_go_on().await;
    prey.goes_on(None).await;
}

#[tokio::test]
async fn the_limit_on_frames_holds_for_the_first_one_too() {
    let target = Target::start().await;
    let mut raw = target.stranger();
    raw.put(&[&super::hello()[..8], &[0xff; 12]].concat()).await;
    let mut preface = [0; 8];
    tokio::io::AsyncReadExt::read_exact(&mut raw.io, &mut preface).await.unwrap();
    assert_eq!(raw.closed().await.0, FRAME_TOO_LARGE);
    target.others_go_on().await;
}

/// A large frame is taken apart as it comes, however small the pieces: what was read once isn't
/// looked at again.
#[tokio::test]
async fn a_large_frame_may_come_in_the_smallest_pieces() {
    let mut limits = Limits::default();
    limits.frame_bytes = 2 << 20;
    let target = Target::limited(limits).await;
    let text = "a".repeat(1_000_000);
    let frame = request(nth(1), "echo", NO_TIMEOUT, &text_body(&text));
    let mut raw = target.stranger_with(PIECE);
    let (mut from, mut to) = tokio::io::split(&mut raw.io);
    let sending = async {
        for piece in [super::hello(), frame].concat().chunks(PIECE) {
            to.write_all(piece).await.unwrap();
        }
    };
    let mut received = vec![0; 8 + 60 + text.len()];
    let receiving = tokio::io::AsyncReadExt::read_exact(&mut from, &mut received);
    let both = async { tokio::join!(sending, receiving).1 };
    tokio::time::timeout(std::time::Duration::from_secs(60), both).await.unwrap().unwrap();
    target.others_go_on().await;
}

/// Cut after every byte of a frame, in a pipe that closes: the call before it was answered, the one
/// that was cut never ran.
// r[verify stream.truncated]
#[tokio::test]
async fn a_frame_cut_anywhere_never_runs() {
    let target = Target::start().await;
    let frame = request(nth(2), "echo", NO_TIMEOUT, &text_body("cut"));
    for cut in 0..frame.len() {
        let mut raw = target.attacker().await;
        raw.good_call(nth(1)).await;
        let started = target.gauge.started();
        raw.put(&frame[..cut]).await;
        raw.io.shutdown().await.unwrap();
        raw.ends_silently().await;
        assert_eq!(target.gauge.started(), started, "cut at {cut}");
    }
    target.others_go_on().await;
}

#[tokio::test]
async fn a_reply_cut_anywhere_is_a_lost_connection() {
    let prey = Prey::new();
    let length = framed(nth(1), REPLY, 0, &text_body("cut")).len();
    for cut in 0..length {
        let (mut raw, call, id) = prey.called().await;
        raw.put(&framed(id, REPLY, 0, &text_body("cut"))[..cut]).await;
        raw.io.shutdown().await.unwrap();
        let error = call.await.unwrap().unwrap_err();
        let ended = (error.kind(), error.delivery());
        assert_eq!(ended, (ErrorKind::ConnectionLost, Delivery::Unknown), "cut at {cut}: {error}");
    }
    prey.goes_on(None).await;
}

/// The end mark is the transport's; whether a message goes on is said by MORE alone.
// r[verify lane.end]
#[tokio::test]
async fn an_end_mark_that_lies_changes_nothing() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    for (id, (begin, rest)) in (1..).map(nth).zip([(0, 0), (0x80, 0), (0x80, 0x80), (0, 0x80)]) {
        let mut first = super::request_begins(id, "echo", &3u64.to_le_bytes());
        let mut last = framed(id, DATA, 0, b"end");
        (first[3], last[3]) = (begin, rest);
        raw.put(&[first, last].concat()).await;
        assert_eq!(raw.answer(id).await.1[3..], text_body("end"));
    }
    target.others_go_on().await;
}

/// Pieces so small that every frame comes in many.
const PIECE: usize = 7;

/// Random frames: whatever the server makes of them, it ends or goes on, and others don't notice.
#[tokio::test]
async fn noise_behind_the_hello_harms_nobody() {
    let target = Target::start().await;
    for seed in 0..300 {
        let mut random = Noise(seed);
        let mut raw = target.attacker().await;
        for _ in 0..30 {
            if raw.io.write_all(&random.frame()).await.is_err() {
                break;
            }
        }
        let _peer_may_be_gone = raw.io.shutdown().await;
        let mut answers = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut raw.io, &mut answers);
        let ended = tokio::time::timeout(std::time::Duration::from_secs(30), read).await;
        assert!(ended.is_ok(), "the connection hangs: replay with Noise({seed})");
        drop::<Raw>(raw);
    }
    target.connections(1).await;
    target.gauge.nothing_runs().await;
    target.others_go_on().await;
}

/// SplitMix64, and frames made of it.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Mostly something that gets past the first check.
    fn frame(&mut self) -> Vec<u8> {
        let id = nth(self.below(5)) | self.below(4) << 1 | u64::from(self.below(20) == 0);
        let [kind, flags] = [self.below(13), self.below(8)].map(|n| u8::try_from(n).unwrap());
        let rest: Vec<u8> = (0..self.below(30)).map(|_| self.next().to_le_bytes()[0]).collect();
        match self.below(8) {
            0 => framed(id, kind, flags, &rest),
            1 => framed(0, kind, flags, &rest),
            2 => super::cancel(id),
            3 => super::request_begins(id, "echo", &rest),
            4 => framed(id, DATA, flags, &rest),
            5 => request(id, "forever", 10, &[]),
            6 => framed(0, PING, 0, &[0; 8]),
            _ => request(id, "echo", NO_TIMEOUT, &rest),
        }
    }
}
