//! Fuzz target: the frames that come in. Of an honest peer, all of them are handed out, once and in
//! order, however they come; of another, no frame twice, no lane out of order, and no more is held than
//! the budget has.

use std::collections::{BTreeMap, BTreeSet};

use rpc_core::transport::{InFrame, Inbox};

use super::super::{
    Budget,
    receiving::{Receiving, Taken},
};
use crate::{fuzz::Input, proto::frame::LaneFrame};

/// The first byte says which of the two peers.
///
/// # Panics
/// If something is wrong.
pub fn receiving(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.u8();
    let budget_bytes = if choice & 2 == 0 { 1 << 20 } else { 4000 };
    if choice & 1 == 0 {
        honest(&mut input, budget_bytes);
    } else {
        hostile(&mut input, budget_bytes);
    }
}

const WINDOW: u32 = 64;

/// Bytes that were handed out, by lane, with the end of each frame.
#[derive(Debug, Default, PartialEq, Eq)]
struct Out {
    lanes: BTreeMap<u64, Vec<(bool, Vec<u8>)>>,
    frames: usize,
}

impl Inbox for Out {
    fn push(&mut self, frame: InFrame<'_>) {
        let lane = frame.lane.number();
        assert!(lane == 0 || self.frames > 0, "lane {lane} before the hello");
        self.frames += 1;
        let bytes = frame.payload.as_slice().to_vec();
        self.lanes.entry(lane).or_default().push((frame.end, bytes));
    }

    fn frame_bytes_max(&self) -> usize {
        2000
    }
}

/// A frame of a script, or a piece of one.
#[derive(Debug)]
struct Piece {
    number: u32,
    lane: u64,
    lane_seq: u32,
    end: bool,
    more: bool,
    payload: Vec<u8>,
}

impl Piece {
    fn frame(&self) -> LaneFrame<'_> {
        let Self { number, lane, lane_seq, end, more, .. } = *self;
        LaneFrame { number, lane, lane_seq, end, more, payload: &self.payload }
    }
}

/// What an honest peer sends: whole frames and cut ones on a few lanes, of which some end.
fn script(input: &mut Input<'_>) -> (Vec<Piece>, Out) {
    let (mut pieces, mut out) = (Vec::new(), Out::default());
    let mut places = BTreeMap::<u64, u32>::new();
    let mut ended = BTreeSet::new();
    for at in 0..1 + input.below(40) {
        let choice = input.u8();
        let lane = if at == 0 { 0 } else { u64::from(choice & 7) };
        if ended.contains(&lane) {
            continue;
        }
        let end = lane != 0 && choice & 0x38 == 0;
        if end {
            ended.insert(lane);
        }
        let cuts = if choice & 0xc0 == 0 { 1 + choice % 3 } else { 0 };
        let mut whole = Vec::new();
        for cut in 0..=cuts {
            let more = cut < cuts;
            let payload = vec![choice ^ cut; usize::from(choice % 50) + usize::from(more)];
            whole.extend_from_slice(&payload);
            let place = places.entry(lane).or_default();
            let number = u32::try_from(pieces.len()).expect("a short script");
            pieces.push(Piece { number, lane, lane_seq: *place, end: end && !more, more, payload });
            *place += 1;
        }
        out.lanes.entry(lane).or_default().push((end, whole));
        out.frames += 1;
    }
    (pieces, out)
}

fn honest(input: &mut Input<'_>, budget_bytes: usize) {
    let (pieces, expected) = script(input);
    let mut receiving = Receiving::new(WINDOW, Budget::new(budget_bytes));
    let mut out = Out::default();
    let mut came = BTreeSet::new();
    let total = u32::try_from(pieces.len()).expect("a short script");
    let mut take = |at: usize, receiving: &mut Receiving| {
        let piece = &pieces[at];
        if u64::from(piece.number) >= receiving.window_end() {
            return;
        }
        let taken = receiving.handle_frame(&piece.frame(), &mut out).expect("an honest frame");
        assert_eq!(taken == Taken::Again, came.contains(&at), "frame {at} is {taken:?}");
        assert!(receiving.held_bytes() <= budget_bytes);
        if taken == Taken::New {
            came.insert(at);
        }
    };
    while !input.is_empty() {
        match input.u8() {
            0xff => receiving.handle_fin(total).expect("an honest end"),
            _ => take(input.size(pieces.len()), &mut receiving),
        }
    }
    (0..pieces.len()).for_each(|at| take(at, &mut receiving));
    receiving.handle_fin(total).expect("an honest end");
    assert!(receiving.is_complete());
    assert_eq!((receiving.held_bytes(), receiving.lanes_and_gaps().1), (0, 0));
    assert_eq!(out, expected);
}

fn hostile(input: &mut Input<'_>, budget_bytes: usize) {
    let mut receiving = Receiving::new(WINDOW, Budget::new(budget_bytes));
    let mut out = Out::default();
    let (mut next, mut places, mut came) = (0_u32, [0_u32; 8], BTreeSet::new());
    while !input.is_empty() {
        let choice = input.u8();
        if choice == 0xff {
            if receiving.handle_fin(input.u32()).is_err() {
                return;
            }
            continue;
        }
        let lane = usize::from(choice & 7);
        let (mut number, mut lane_seq) = (next, places[lane]);
        match choice >> 3 & 7 {
            0 => number = number.wrapping_add_signed(i32::from(input.u8()) - 70),
            1 => lane_seq = lane_seq.wrapping_add_signed(i32::from(input.u8()) - 8),
            2 => (number, lane_seq) = (input.u32(), input.u32()),
            _ => {
                next = next.wrapping_add(1);
                places[lane] = places[lane].wrapping_add(1);
            }
        }
        let more = choice & 0xc0 == 0x40;
        // No two places of a lane look alike, as far as that goes.
        let payload = [lane_seq.to_le_bytes().as_slice(), &vec![1; input.u8().into()]].concat();
        let end = choice & 0xc0 == 0x80;
        let frame = LaneFrame { number, lane: lane as u64, lane_seq, end, more, payload: &payload };
        let Ok(taken) = receiving.handle_frame(&frame, &mut out) else { return };
        if taken == Taken::New {
            assert!(came.insert(number), "frame {number} is new twice");
        }
        let (lanes, gaps) = receiving.lanes_and_gaps();
        assert!(lanes <= 8 && gaps <= WINDOW as usize, "{lanes} lanes, {gaps} gaps");
        assert!(receiving.held_bytes() <= budget_bytes);
        assert!(out.frames <= came.len(), "more is handed out than came");
    }
}
