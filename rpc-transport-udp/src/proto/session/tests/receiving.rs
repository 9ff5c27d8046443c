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
    let wrong = Violation::Protocol("a first frame that isn't that of lane 0");
    assert_eq!(refuse(&[frame(0, 0, 1, b"")]), wrong);
    assert_eq!(refuse(&[frame(0, 1, 0, b"")]), wrong);
    let wrong = Violation::Protocol("two frames in one place of a lane");
    assert_eq!(refuse(&[frame(1, 0, 0, b""), frame(0, 0, 0, b"")]), wrong);
}
