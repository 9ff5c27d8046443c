//! Frames against `spec/vectors`, there and back, cut, and made of anything.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::proto::{
    packet::expand,
    vectors::{Vector, number},
};

/// The one frame that these bytes are.
#[track_caller]
fn only(bytes: &[u8]) -> Frame<'_> {
    let mut frames = Frames::new(bytes);
    let frame = frames.next().expect("a frame").expect("a good frame");
    assert_eq!(frames.next(), None);
    frame
}

impl Vector {
    fn token(&self) -> [u8; 8] {
        self.octets("token").try_into().expect("8 bytes")
    }

    /// The ranges of an ACK, lowest and highest numbers.
    fn ranges(&self) -> Vec<(u64, u64)> {
        let pairs = self.field("ranges").split(',').map(|range| range.split_once('-'));
        pairs.map(|pair| pair.map(|(low, high)| (number(low), number(high))).unwrap()).collect()
    }

    fn ce(&self) -> Option<u64> {
        (self.field("ce") != "-").then(|| self.number("ce"))
    }
}

// r[verify datagram.frames] r[verify lane-frame.layout] r[verify lane-frame.size]
#[test]
fn every_vector_of_a_frame_is_read_and_written() {
    for vector in Vector::read("frame") {
        let (bytes, mut out) = (vector.bytes(), Vec::new());
        let payload = vector.find("payload").map(|_| vector.octets("payload")).unwrap_or_default();
        let frame = match vector.field("type") {
            "ping" => {
                encode_ping(&mut out);
                assert_eq!(out.len(), PING_BYTES);
                Frame::Ping
            }
            "challenge" => {
                encode_challenge(&mut out, vector.token());
                assert_eq!(out.len(), CHALLENGE_BYTES);
                Frame::Challenge(vector.token())
            }
            "answer" => {
                encode_answer(&mut out, vector.token());
                assert_eq!(out.len(), CHALLENGE_BYTES);
                Frame::Answer(vector.token())
            }
            "fin" => {
                encode_fin(&mut out, 7 << 32 | vector.number::<u64>("total"));
                assert_eq!(out.len(), FIN_BYTES);
                Frame::Fin { total: vector.number("total") }
            }
            "close" => {
                encode_close(&mut out, vector.number("code"));
                assert_eq!(out.len(), CLOSE_BYTES);
                Frame::Close { code: vector.number("code") }
            }
            "lane-frame" => {
                let (end, more) = (vector.flag("end"), vector.flag("more"));
                let (number, lane_seq) = (vector.number("number"), vector.number("lane_seq"));
                let lane = vector.number("lane");
                let header = FrameHeader {
                    number: 7 << 32 | u64::from(number),
                    lane,
                    lane_seq: 8 << 32 | u64::from(lane_seq),
                    end,
                    more,
                };
                encode_frame_header(&mut out, header, payload.len());
                assert_eq!(out.len(), crate::proto::packet::FRAME_HEADER_BYTES);
                out.extend(&payload);
                Frame::Data(LaneFrame { number, lane, lane_seq, end, more, payload: &payload })
            }
            other => panic!("{}: {other}", vector.name),
        };
        assert_eq!(only(&bytes), frame, "{}", vector.name);
        assert_eq!(out, bytes, "{}", vector.name);
    }
}

// r[verify ack.layout] r[verify ack.ranges] r[verify ack.delay]
#[test]
fn every_vector_of_an_ack_is_read_and_written() {
    for vector in Vector::read("ack") {
        let bytes = vector.bytes();
        let Frame::Ack(ack) = only(&bytes) else { panic!("{}", vector.name) };
        let (largest, window) = (vector.number("largest"), vector.number("window"));
        let delay = Duration::from_micros(vector.number("delay_us"));
        assert_eq!(ack.delay, delay, "{}", vector.name);
        assert_eq!(u64::from(ack.largest), largest & 0xffff_ffff, "{}", vector.name);
        assert_eq!(u64::from(ack.window), window & 0xffff_ffff, "{}", vector.name);
        assert_eq!(ack.ce.map(u64::from), vector.ce(), "{}", vector.name);
        if vector.refused().is_some() {
            assert_eq!(ack.ranges(largest).err(), Some(Malformed::BadValue), "{}", vector.name);
            // The same ranges below a number that is large enough.
            assert!(ack.ranges(largest + (1 << 32)).is_ok());
            continue;
        }
        let ranges: Vec<_> = ack.ranges(largest).expect(&vector.name).collect();
        assert_eq!(ranges, vector.ranges(), "{}", vector.name);
        let mut out = Vec::new();
        let head = AckHead { delay, window, ce: vector.ce() };
        assert!(encode_ack(&mut out, head, ranges, bytes.len()), "{}", vector.name);
        assert_eq!(out, bytes, "{}", vector.name);
    }
}

// r[verify datagram.malformed-frame] r[verify lane-frame.size] r[verify ack.ranges]
#[test]
fn what_is_no_frame_is_refused_for_the_right_reason() {
    for vector in Vector::read("malformed") {
        let bytes = vector.bytes();
        let found = Frames::new(&bytes).next().expect("a frame").map_err(|error| match error {
            Malformed::TooShort => "too-short",
            Malformed::UnknownType(kind) => {
                assert_eq!(kind, bytes[0]);
                "unknown-type"
            }
            Malformed::BadValue => "bad-value",
        });
        assert_eq!(found.err(), vector.refused(), "{}", vector.name);
        // Nothing is read behind it, and what is before it is not held against it.
        let behind: Vec<_> = [&[1], &bytes[..], &[1]].concat();
        let frames: Vec<_> = Frames::new(&behind).collect();
        assert!(matches!(frames[0], Ok(Frame::Ping)), "{}", vector.name);
        let last = frames.last().expect("frames");
        assert!(last.is_err() || vector.refused() == Some("too-short"), "{}", vector.name);
    }
}

// r[verify datagram.malformed-frame]
#[test]
fn no_part_of_a_frame_is_taken_for_more_than_it_is() {
    for vector in ["frame", "ack"].iter().flat_map(|file| Vector::read(file)) {
        let bytes = vector.bytes();
        for cut in 1..bytes.len() {
            let found: Vec<_> = Frames::new(&bytes[..cut]).collect();
            assert_eq!(found, [Err(Malformed::TooShort)], "{}, cut at {cut}", vector.name);
        }
    }
    assert_eq!(Frames::new(&[]).next(), None);
}

// r[verify datagram.frames]
#[test]
fn padding_is_the_rest_of_its_packet() {
    let found: Vec<_> = Frames::new(&[1, 7, 9, 0, 0xff, 1]).collect();
    assert_eq!(found, [Ok(Frame::Ping), Ok(Frame::Close { code: 9 })]);
}

const HEAD: AckHead = AckHead { delay: Duration::ZERO, window: 0, ce: None };

/// What is read of an ACK for these ranges that has this room, and how long it is.
fn acked(ranges: &[(u64, u64)], ce: Option<u64>, room: usize) -> Option<(usize, Vec<(u64, u64)>)> {
    let mut out = vec![1];
    if !encode_ack(&mut out, AckHead { ce, ..HEAD }, ranges.iter().copied(), room) {
        assert_eq!(out, [1], "nothing is left of an ACK that has no room");
        return None;
    }
    let Some(Ok(Frame::Ack(ack))) = Frames::new(&out).nth(1) else { panic!("{out:?}") };
    let (_, largest) = ranges[0];
    assert_eq!(expand(ack.largest, largest), largest);
    Some((out.len() - 1, ack.ranges(largest).expect("good ranges").collect()))
}

// r[verify ack.ranges]
#[test]
fn an_ack_has_as_many_ranges_as_fit() {
    let ranges: Vec<_> = (0..40).rev().map(|n| (n * 10, n * 10 + 3)).collect();
    for ce in [None, Some(9)] {
        let fixed = if ce.is_some() { 18 } else { 14 };
        for room in 0..200 {
            let Some((bytes, read)) = acked(&ranges, ce, room) else {
                assert!(room < fixed);
                continue;
            };
            let count = 32.min(1 + (room - fixed) / 4);
            assert!(bytes <= room);
            assert_eq!((bytes, &read[..]), (fixed + 4 * (count - 1), &ranges[..count]));
        }
    }
    assert_eq!(acked(&[(3, 3)], None, 13), None);
    let mut out = Vec::new();
    assert!(!encode_ack(&mut out, HEAD, [], 1000), "nothing has come, nothing is acknowledged");
}

// r[verify ack.ranges]
#[test]
fn what_does_not_fit_a_field_is_left_out_and_nothing_is_made_up() {
    let million = (0, 1_000_000);
    let (_, read) = acked(&[million], None, 100).expect("room");
    assert_eq!(read, [(1_000_000 - 65_535, 1_000_000)]);
    // Behind a range that was cut, and behind a gap that is too wide.
    let (_, read) = acked(&[(1_000_000, 2_000_000), (5, 6)], None, 100).expect("room");
    assert_eq!(read, [(2_000_000 - 65_535, 2_000_000)]);
    let (_, read) = acked(&[(100_000, 100_000), (5, 6), (1, 1)], None, 100).expect("room");
    assert_eq!(read, [(100_000, 100_000)]);
    // The widest of all.
    let wide: Vec<_> = (0..32).rev().map(|n| (n * 131_072, n * 131_072 + 65_535)).collect();
    let (_, read) = acked(&wide, None, 1000).expect("room");
    assert_eq!(read, wide);
    let end = [(u64::MAX - 3, u64::MAX), (u64::MAX - 9, u64::MAX - 5)];
    assert_eq!(acked(&end, None, 1000).expect("room").1, end);
}

// r[verify ack.ranges]
#[test]
fn the_widest_ranges_there_can_be_reach_exactly_0_or_below_it() {
    let bytes = [&[2, 31][..], &[0xff; 12], &[0xff; 31 * 4]].concat();
    let Frame::Ack(ack) = only(&bytes) else { panic!() };
    let reach = 65_535 + 31 * (65_537 + 65_535);
    assert_eq!(ack.ranges(reach - 1).err(), Some(Malformed::BadValue));
    for largest in [reach, reach + 1, u64::MAX] {
        let ranges: Vec<_> = ack.ranges(largest).expect("not below 0").collect();
        assert_eq!(ranges.len(), 32);
        assert_eq!(ranges[31].0, largest - reach);
        assert!(ranges.windows(2).all(|pair| pair[1].1 + 1 < pair[0].0));
    }
}

// r[verify ack.delay]
#[test]
fn an_ack_of_a_single_range_comes_back_from_its_few_bytes() {
    let head = |ce| AckHead { delay: Duration::from_micros(65_535 * 8), window: 4096, ce };
    let encoded = |ranges: &[(u64, u64)], ce| {
        let mut out = Vec::new();
        assert!(encode_ack(&mut out, head(ce), ranges.iter().copied(), 200));
        out
    };
    for (ranges, ce, is_plain) in [
        (&[(3, 9)][..], None, true),
        (&[(9, 9)][..], None, true),
        (&[(3, 9)][..], Some(1), false),
        (&[(7, 9), (3, 4)][..], None, false),
    ] {
        let bytes = encoded(ranges, ce);
        let Frame::Ack(ack) = only(&bytes) else { panic!("an ACK") };
        assert_eq!(ack.plain().map(Ack::from), is_plain.then_some(ack), "{ranges:?} {ce:?}");
    }
}

#[test]
fn a_delay_that_has_no_place_is_the_longest() {
    for (micros, read) in [(0, 0), (7, 0), (8, 8), (1_000, 1_000), (524_287, 524_280)] {
        let delay = Duration::from_micros(micros);
        let mut out = Vec::new();
        assert!(encode_ack(&mut out, AckHead { delay, ..HEAD }, [(0, 0)], 14));
        let Frame::Ack(ack) = only(&out) else { panic!() };
        assert_eq!(ack.delay, Duration::from_micros(read));
    }
    let mut out = Vec::new();
    assert!(encode_ack(&mut out, AckHead { delay: Duration::MAX, ..HEAD }, [(0, 0)], 14));
    let Frame::Ack(ack) = only(&out) else { panic!() };
    assert_eq!(ack.delay, Duration::from_micros(524_280));
}

/// Ranges as an ACK lists them, from the distances between their ends.
fn ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
    (any::<u64>(), vec((0..70_000_u64, 2..70_000_u64), 1..50)).prop_map(|(largest, steps)| {
        let mut high = Some(largest);
        let mut ranges = Vec::new();
        for (len, gap) in steps {
            let Some(top) = high else { break };
            let low = top.saturating_sub(len);
            ranges.push((low, top));
            high = low.checked_sub(gap);
        }
        ranges
    })
}

proptest! {
    // r[verify ack.ranges]
    #[test]
    fn an_ack_says_nothing_that_is_not_so(ranges in ranges(), room in 14..200_usize) {
        let (bytes, read) = acked(&ranges, None, room).expect("room for one range");
        prop_assert!(bytes <= room && read.len() <= 32);
        for (low, high) in read {
            let whole = ranges.iter().find(|range| range.1 == high);
            let whole = whole.expect("a range of ours");
            prop_assert!(whole.0 <= low && (whole.0 == low || high - low == 65_535));
        }
    }

    // r[verify lane-frame.layout]
    #[test]
    fn frames_come_back_one_after_the_other(
        lanes in vec((any::<[u64; 3]>(), 0..3_u8, vec(any::<u8>(), 1..200)), 0..8),
        token in any::<[u8; 8]>(),
        total in any::<u32>(),
        code in any::<u8>(),
    ) {
        let mut out = Vec::new();
        let mut frames = Vec::new();
        for ([number, lane, lane_seq], flags, payload) in &lanes {
            let (number, lane, lane_seq) = (*number, *lane, *lane_seq);
            let (end, more) = (*flags == 1, *flags == 2);
            let header = FrameHeader { number, lane, lane_seq, end, more };
            encode_frame_header(&mut out, header, payload.len());
            out.extend(payload);
            let (number, lane_seq) = (low32(number), low32(lane_seq));
            frames.push(Frame::Data(LaneFrame { number, lane, lane_seq, end, more, payload }));
            encode_ping(&mut out);
            frames.push(Frame::Ping);
        }
        encode_challenge(&mut out, token);
        encode_answer(&mut out, token);
        encode_fin(&mut out, u64::from(total));
        encode_close(&mut out, code);
        out.extend([0; 9]);
        frames.extend([Frame::Challenge(token), Frame::Answer(token)]);
        frames.extend([Frame::Fin { total }, Frame::Close { code }]);
        let read: Result<Vec<_>, _> = Frames::new(&out).collect();
        prop_assert_eq!(read, Ok(frames));
    }

    // r[verify datagram.malformed-frame]
    #[test]
    fn any_bytes_are_frames_or_refused(
        mut bytes in vec(any::<u8>(), 0..1500),
        first in 0..16_u8,
        largest in any::<u64>(),
    ) {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        let frames: Vec<_> = Frames::new(&bytes).collect();
        prop_assert!(frames.len() <= bytes.len());
        let errors = frames.iter().filter(|frame| frame.is_err()).count();
        prop_assert!(errors == 0 || errors == 1 && frames.last().is_some_and(Result::is_err));
        for frame in frames.into_iter().flatten() {
            let Frame::Ack(ack) = frame else { continue };
            let ranges = ack.ranges(expand(ack.largest, largest)).into_iter().flatten();
            prop_assert!(ranges.count() <= 32);
        }
    }
}
