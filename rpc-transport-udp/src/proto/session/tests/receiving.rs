//! Tests of what is done with frames that come early, twice, or not as they should.

use rpc_core::transport::{InFrame, Inbox};

use super::super::{
    Budget, Violation,
    receiving::{Receiving, Taken},
};
use crate::proto::frame::LaneFrame;

/// The frames that were handed out: lane, end mark, bytes.
#[derive(Debug, Default)]
struct Out(Vec<(u64, bool, Vec<u8>)>);

impl Inbox for Out {
    fn push(&mut self, frame: InFrame<'_>) {
        self.0.push((frame.lane.number(), frame.end, frame.payload.as_slice().to_vec()));
    }

    fn frame_bytes_max(&self) -> usize {
        4000
    }
}

fn frame(number: u32, lane: u64, lane_seq: u32, payload: &[u8]) -> LaneFrame<'_> {
    LaneFrame { number, lane, lane_seq, end: false, more: false, payload }
}

fn last(number: u32, lane: u64, lane_seq: u32, payload: &[u8]) -> LaneFrame<'_> {
    LaneFrame { end: true, ..frame(number, lane, lane_seq, payload) }
}

fn piece(number: u32, lane: u64, lane_seq: u32, payload: &[u8]) -> LaneFrame<'_> {
    LaneFrame { more: true, ..frame(number, lane, lane_seq, payload) }
}

fn receiving() -> (Receiving, Out) {
    (Receiving::new(64, Budget::new(1 << 20)), Out::default())
}

/// Takes frames of which each is to be new.
#[track_caller]
fn take(receiving: &mut Receiving, out: &mut Out, frames: &[LaneFrame<'_>]) {
    for frame in frames {
        assert_eq!(receiving.handle_frame(frame, out), Ok(Taken::New), "{frame:?}");
    }
}

/// Takes frames of which the last breaks the rules.
#[track_caller]
fn refuse(frames: &[LaneFrame<'_>]) -> Violation {
    let (mut receiving, mut out) = receiving();
    let (bad, good) = frames.split_last().unwrap();
    take(&mut receiving, &mut out, good);
    receiving.handle_frame(bad, &mut out).unwrap_err()
}

#[test]
fn all_frames_wait_for_the_whole_of_a_hello_in_pieces() {
    let (mut receiving, mut out) = receiving();
    // A whole lane, and the beginning of another, before any of the hello, and between its pieces.
    take(&mut receiving, &mut out, &[last(3, 5, 0, b"five"), piece(1, 0, 1, b"l")]);
    take(&mut receiving, &mut out, &[piece(0, 0, 0, b"hel"), frame(4, 7, 0, b"seven")]);
    assert_eq!(out.0, []);
    take(&mut receiving, &mut out, &[frame(2, 0, 2, b"o")]);
    let expected =
        [(0, false, b"hello".to_vec()), (5, true, b"five".to_vec()), (7, false, b"seven".to_vec())];
    assert_eq!(out.0, expected);
    assert_eq!((receiving.held_bytes(), receiving.lanes_and_gaps().1), (0, 0));
}

#[test]
fn the_first_frame_is_the_first_of_its_lane() {
    // r[verify lane-frame.first]
    let wrong = Violation::Protocol("a first frame that isn't that of lane 0");
    assert_eq!(refuse(&[frame(0, 0, 1, b"")]), wrong);
    assert_eq!(refuse(&[frame(0, 1, 0, b"")]), wrong);
    let wrong = Violation::Protocol("two frames in one place of a lane");
    assert_eq!(refuse(&[frame(1, 0, 0, b""), frame(0, 0, 0, b"")]), wrong);
}

// r[verify lane-frame.gap]
#[test]
fn a_frame_waits_only_for_frames_that_are_under_way() {
    let wrong = Violation::Protocol("a frame whose lane lacks one before it");
    let hello = frame(0, 0, 0, b"");
    // All numbers have come, and what is held misses a frame that has none.
    assert_eq!(refuse(&[hello, frame(1, 5, 1, b"")]), wrong);
    assert_eq!(refuse(&[hello, frame(2, 5, 1, b""), frame(1, 6, 0, b"")]), wrong);
    // Also when there is always one more on its way.
    let held = [frame(2, 5, 1, b""), frame(4, 6, 0, b""), frame(1, 7, 0, b"")];
    assert_eq!(refuse(&[hello, held[0], held[1], held[2]]), wrong);
}

#[test]
fn lanes_that_nobody_ends_cost_what_is_held() {
    // r[verify window.budget]
    let mut receiving = Receiving::new(4096, Budget::new(10 * 128));
    let mut out = Out::default();
    // The hello's is one of those that cost nothing.
    take(&mut receiving, &mut out, &[frame(0, 0, 0, b"hello")]);
    for lane in 1..1024 + 10 {
        take(&mut receiving, &mut out, &[frame(lane, lane.into(), 0, b"")]);
    }
    assert_eq!(receiving.held_bytes(), 10 * 128);
    let late = frame(1034, 1034, 0, b"");
    assert_eq!(receiving.handle_frame(&late, &mut out), Ok(Taken::NoRoom));
    assert_eq!(out.0.len(), 1034, "it wasn't handed out either");
    // The lanes that there are go on, one that is a single frame needs nothing, and one that ends makes room.
    take(&mut receiving, &mut out, &[frame(1035, 1033, 1, b""), last(1036, 1036, 0, b"")]);
    take(&mut receiving, &mut out, &[last(1037, 1033, 2, b"")]);
    assert_eq!(receiving.held_bytes(), 9 * 128);
    take(&mut receiving, &mut out, &[late]);
    for lane in 0..1035 {
        let seq = u32::from(lane == 0);
        if lane != 1033 {
            take(&mut receiving, &mut out, &[last(1038 + lane, lane.into(), seq.max(1), b"")]);
        }
    }
    assert_eq!((receiving.held_bytes(), receiving.lanes_and_gaps()), (0, (0, 1)));
}

#[test]
fn memory_that_is_used_up_makes_frames_come_again() {
    // r[verify window.budget]
    let mut receiving = Receiving::new(64, Budget::new(4 * (100 + 64)));
    let mut out = Out::default();
    let payload = [1; 100];
    take(&mut receiving, &mut out, &[frame(0, 0, 0, b"hello")]);
    take(
        &mut receiving,
        &mut out,
        &[frame(2, 9, 1, &payload), frame(3, 9, 2, &payload), frame(4, 9, 3, &payload)],
    );
    let early = frame(5, 9, 4, &payload);
    assert_eq!(receiving.handle_frame(&early, &mut out), Ok(Taken::NoRoom));
    // What is missing needs no memory, and makes room.
    take(&mut receiving, &mut out, &[frame(1, 9, 0, &payload), early]);
    assert_eq!((out.0.len(), receiving.held_bytes()), (6, 0));
}

#[test]
fn a_piece_that_is_missing_is_taken_although_all_that_came_early_waits_for_it() {
    // r[verify window.budget]
    let mut receiving = Receiving::new(64, Budget::new(10 * (100 + 64)));
    let mut out = Out::default();
    let payload = [1; 100];
    take(&mut receiving, &mut out, &[frame(0, 0, 0, b"hello")]);
    let mut early = 2;
    while receiving.handle_frame(&frame(early, 9, early - 1, &payload), &mut out) == Ok(Taken::New)
    {
        early += 1;
    }
    assert_eq!(out.0.len(), 1, "everything waits");
    // The rest of the frame comes again when it wasn't taken.
    take(&mut receiving, &mut out, &[piece(1, 9, 0, &payload)]);
    assert_eq!((out.0.len(), receiving.held_bytes() % 164), (early as usize - 1, 0));
    take(&mut receiving, &mut out, &[frame(early, 9, early - 1, &payload)]);
    assert_eq!((out.0.len(), receiving.held_bytes()), (early as usize, 0));
}

#[test]
fn two_frames_in_one_place_break_the_rules() {
    let wrong = Violation::Protocol("two frames in one place of a lane");
    let hello = frame(0, 0, 0, b"");
    assert_eq!(refuse(&[hello, frame(1, 5, 0, b""), frame(2, 5, 0, b"")]), wrong);
    assert_eq!(refuse(&[hello, frame(2, 5, 1, b""), frame(3, 5, 1, b"")]), wrong);
    // The same number is the same frame, whatever it says.
    let (mut receiving, mut out) = receiving();
    take(&mut receiving, &mut out, &[hello, frame(1, 5, 0, b"a")]);
    let again = receiving.handle_frame(&frame(1, 6, 3, b"b"), &mut out);
    assert_eq!((again, out.0.len()), (Ok(Taken::Again), 2));
}

#[test]
fn frames_behind_the_end_of_their_lane_break_the_rules_if_they_are_known() {
    let wrong = Violation::Protocol("frames behind the end of their lane");
    let hello = frame(0, 0, 0, b"");
    assert_eq!(refuse(&[hello, frame(2, 5, 1, b""), last(1, 5, 0, b"")]), wrong);
}

#[test]
fn frames_beyond_the_window_or_the_end_break_the_rules() {
    // r[verify window.exceeded] r[verify session.fin]
    assert_eq!(refuse(&[frame(64, 5, 0, b"")]), Violation::Window);
    assert_eq!(refuse(&[frame(u32::MAX, 5, 0, b"")]), Violation::Window);
    assert_eq!(refuse(&[frame(1 << 31, 5, 0, b"")]), Violation::Window);
    let fin = |before: u32, frames: u32, total: u32| {
        let (mut receiving, mut out) = receiving();
        let frames: Vec<_> = (before..frames).map(|n| frame(n, 0, n, b"")).collect();
        take(&mut receiving, &mut out, &frames);
        (receiving.handle_fin(total), receiving, out)
    };
    let wrong = Err(Violation::Protocol("an end that doesn't fit the frames"));
    assert_eq!(fin(0, 3, 2).0, wrong);
    assert_eq!(fin(2, 4, 3).0, wrong);
    let (first, mut receiving, mut out) = fin(0, 3, 5);
    assert_eq!((first, receiving.handle_fin(5), receiving.handle_fin(4)), (Ok(()), Ok(()), wrong));
    let behind = receiving.handle_frame(&frame(5, 0, 5, b""), &mut out);
    assert_eq!(behind, Err(Violation::Protocol("a frame behind the last one")));
}

#[test]
fn a_large_frame_is_refused_before_more_than_its_limit_is_held() {
    let (mut receiving, mut out) = receiving();
    take(&mut receiving, &mut out, &[frame(0, 0, 0, b"")]);
    take(
        &mut receiving,
        &mut out,
        &[piece(1, 5, 0, &[0; 1120]), piece(2, 5, 1, &[0; 1120]), piece(3, 5, 2, &[0; 1120])],
    );
    let refused = receiving.handle_frame(&piece(4, 5, 3, &[0; 1120]), &mut out);
    let (bytes, limit) = (4 * 1120, 4000);
    assert_eq!(refused, Err(Violation::FrameTooLarge { bytes, limit }));
}

// r[verify lane-frame.pieces]
#[test]
fn the_pieces_of_a_frame_have_numbers_in_a_row() {
    let wrong = Violation::Protocol("a frame in the middle of another one");
    let hello = frame(0, 0, 0, b"");
    // In order, the other way round, and with the same lane behind it.
    assert_eq!(refuse(&[hello, piece(1, 5, 0, b"a"), piece(2, 6, 0, b"x")]), wrong);
    assert_eq!(refuse(&[hello, last(2, 6, 0, b"x"), piece(1, 5, 0, b"a")]), wrong);
    let (mut receiving, mut out) = receiving();
    take(
        &mut receiving,
        &mut out,
        &[hello, last(4, 6, 1, b"y"), piece(3, 6, 0, b"x"), last(2, 5, 1, b"b")],
    );
    take(&mut receiving, &mut out, &[piece(1, 5, 0, b"a")]);
    assert_eq!(out.0[1..], [(6, true, b"xy".to_vec()), (5, true, b"ab".to_vec())]);
}

#[test]
fn every_second_frame_of_a_window_is_bounded_work() {
    let mut receiving = Receiving::new(4096, Budget::new(1 << 30));
    let mut out = Out::default();
    // The highest first, so that each makes one more gap.
    for number in (1..4096).step_by(2).rev() {
        take(&mut receiving, &mut out, &[frame(number, 5, number - 1, b"")]);
    }
    assert_eq!(receiving.lanes_and_gaps(), (1, 2048));
    assert!(receiving.held_bytes() <= 2048 * 64);
    take(&mut receiving, &mut out, &[frame(0, 0, 0, b"")]);
    for number in (2..4096).step_by(2) {
        take(&mut receiving, &mut out, &[frame(number, 5, number - 1, b"")]);
    }
    assert_eq!(out.0.len(), 4096);
    assert_eq!((receiving.lanes_and_gaps(), receiving.held_bytes()), ((2, 0), 0));
}
