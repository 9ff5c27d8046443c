//! The outbox seen from both sides: as the bytes a stream writes and as the frames a datagram
//! transport packs, with positions that tell what has left.

use std::io::IoSlice;

use bytes::Buf;

use super::*;
use crate::frame::{Role, VOID};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ z >> 31) % limit as u64).unwrap()
    }
}

fn id(sequence: u64) -> CallId {
    CallId::new(sequence, 0, Role::Connector)
}

/// One whose peer has allowed all the bulk that a test wants.
fn outbox() -> Outbox {
    let mut outbox = Outbox::default();
    assert!(outbox.allow_bulk(1 << 30));
    outbox
}

/// Appends a small frame of `kind` with `bytes` bytes, and returns where it ends.
fn small(outbox: &mut Outbox, sequence: u64, kind: u8, bytes: usize) -> u64 {
    outbox.append(|out| {
        frame::framed(out, id(sequence).lane(), true, |out| {
            out.extend_from_slice(&[kind, 0, 0, 0]);
            out.resize(out.len() + bytes, kind);
        });
    })
}

/// Queues a large message of `bytes` bytes.
fn bulk(outbox: &mut Outbox, sequence: u64, bytes: usize, terminal: bool) {
    let body: Vec<_> = (0..bytes).map(|n| (n as u64 ^ sequence).to_le_bytes()[0]).collect();
    let mut header = Vec::new();
    frame::encode_reply_header(&mut header, false, false);
    outbox.push_bulk(id(sequence), header, [body.into(), Bytes::new()], terminal);
}

fn draw(outbox: &mut Outbox, frame_bytes: usize) -> Batch {
    let mut batch = Batch::default();
    outbox.draw(&mut batch, frame_bytes, |_| {});
    batch
}

fn frames(batch: &mut Batch) -> Vec<OutFrame> {
    std::iter::from_fn(|| batch.next_frame()).collect()
}

/// Random contents, the same for the same seed.
fn filled(seed: u64) -> Outbox {
    let mut random = Random(seed);
    let mut outbox = outbox();
    for sequence in 1..2 + random.below(20) as u64 {
        if random.below(3) == 0 {
            bulk(&mut outbox, sequence, random.below(200_000), true);
        } else {
            let bytes = random.below(1000);
            small(&mut outbox, sequence, 3, bytes);
        }
    }
    outbox
}

/// Reads a batch as a stream would write it, a random piece at a time.
fn bytes_of(batch: &mut Batch, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    while batch.has_remaining() {
        let step = if random.below(2) == 0 {
            let chunk = batch.chunk();
            assert!(!chunk.is_empty());
            let step = 1 + random.below(chunk.len());
            bytes.extend_from_slice(&chunk[..step]);
            step
        } else {
            let mut slices = [IoSlice::new(&[]); 32];
            let most = 1 + random.below(slices.len());
            let used = batch.chunks_vectored(&mut slices[..most]);
            assert!(used > 0 && slices[..used].iter().all(|slice| !slice.is_empty()));
            let all: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            let step = 1 + random.below(all.len());
            bytes.extend_from_slice(&all[..step]);
            step
        };
        batch.advance(step);
    }
    assert!(batch.chunk().is_empty() && batch.chunks_vectored(&mut [IoSlice::new(&[])]) == 0);
    bytes
}

#[test]
fn bytes_and_frames_are_two_views_of_the_same() {
    for seed in 0..100 {
        let mut random = Random(!seed);
        let frame_bytes = 1000 << random.below(7);
        let (mut one, mut other) = (filled(seed), filled(seed));
        while !one.is_empty() {
            let mut expected = Vec::new();
            for out in frames(&mut draw(&mut one, frame_bytes)) {
                let length = out.payload.len();
                frame::encode_prefix(&mut expected, out.lane, length, out.end);
                expected.extend_from_slice(&out.payload);
            }
            let bytes = bytes_of(&mut draw(&mut other, frame_bytes), &mut random);
            assert!(bytes == expected, "seed {seed}");
        }
        assert!(other.is_empty());
        assert_eq!((one.drawn(), one.terminals()), (other.drawn(), 0));
    }
}

#[test]
fn frames_are_packed_into_one_buffer_as_they_are_taken_one_by_one() {
    for seed in 0..100 {
        let (mut one, mut other) = (filled(seed), filled(seed));
        let mut packed = Vec::new();
        let mut bodies = 0;
        while !one.is_empty() {
            let (mut frames, mut batch) = (draw(&mut one, 65_536), draw(&mut other, 65_536));
            bodies += batch.bodies.len();
            while let Some(OutFrame { lane, end, payload }) = frames.next_frame() {
                let (at, position) = (packed.len(), batch.position());
                assert_eq!(batch.peek(), Some(FrameInfo { lane, end, bytes: payload.len() }));
                assert_eq!(batch.position(), position, "a look takes nothing");
                assert_eq!(batch.next_frame_into(&mut packed), Some((lane, end)));
                assert!(packed[at..] == payload, "seed {seed}");
                assert_eq!(batch.position(), position + (PREFIX_BYTES + payload.len()) as u64);
                assert_eq!(batch.position(), frames.position());
            }
            assert!(batch.is_empty() && batch.peek().is_none());
            let bytes = packed.len();
            assert_eq!(batch.next_frame_into(&mut packed), None);
            assert_eq!(packed.len(), bytes, "nothing comes of an empty batch");
        }
        assert!(seed > 0 || bodies > 0, "frames with bodies of their own are among them");
    }
}

#[test]
fn a_frame_that_fits_the_buffer_is_taken_without_an_allocation() {
    let mut outbox = outbox();
    small(&mut outbox, 1, 2, 100);
    bulk(&mut outbox, 2, 20_000, true);
    let mut batch = draw(&mut outbox, 65_536);
    let mut packed = Vec::with_capacity(20_108);
    let at = packed.as_ptr();
    while batch.next_frame_into(&mut packed).is_some() {}
    assert_eq!((packed.len(), packed.as_ptr()), (20_108, at));
}

#[test]
fn the_position_follows_what_was_consumed() {
    let mut outbox = filled(3);
    let mut random = Random(4);
    let mut at = 0;
    while !outbox.is_empty() {
        let mut batch = draw(&mut outbox, 16_384);
        assert_eq!(batch.position(), at, "nothing of this batch has left");
        while batch.has_remaining() {
            let step = 1 + random.below(batch.remaining().min(5000));
            batch.advance(step);
            at += step as u64;
            assert_eq!(batch.position(), at);
        }
        assert_eq!(outbox.drawn(), at);
    }
}

#[test]
fn the_end_of_a_frame_is_where_its_last_byte_has_left() {
    let mut outbox = outbox();
    let ends: Vec<_> = (1..4).map(|n| small(&mut outbox, n, 2, 10)).collect();
    let mut batch = draw(&mut outbox, 16_384);
    for end in ends {
        assert!(batch.position() < end);
        batch.next_frame().unwrap();
        assert_eq!(batch.position(), end);
    }
    let next = small(&mut outbox, 4, 2, 10);
    assert!(next > batch.position());
}

#[test]
fn a_large_message_is_finished_at_the_end_of_its_last_frame() {
    let mut outbox = outbox();
    for n in 1..4 {
        bulk(&mut outbox, n, 300_000, false);
    }
    let mut finished = Vec::new();
    let mut ends = Vec::new();
    let mut batch = Batch::default();
    while !outbox.is_empty() {
        outbox.draw(&mut batch, 16_384, |drawn| finished.push((drawn.call.lane(), drawn.position)));
        while let Some(frame) = batch.next_frame() {
            if frame.end {
                ends.push((frame.lane, batch.position()));
            }
        }
    }
    assert_eq!(finished, ends);
    assert_eq!(finished.len(), 3);
}

#[test]
fn a_voided_frame_is_skipped_and_nothing_moves() {
    let mut outbox = outbox();
    let ends: Vec<_> = (1..4).map(|n| small(&mut outbox, n, 2, 10)).collect();
    let bytes = PREFIX_BYTES + 4 + 10;
    assert!(outbox.void(ends[1], bytes));
    let mut batch = draw(&mut outbox, 16_384);
    let kinds: Vec<_> = frames(&mut batch).iter().map(|frame| frame.payload[0]).collect();
    assert_eq!(kinds, [2, VOID, 2]);
    assert_eq!(batch.position(), ends[2]);
}

#[test]
fn what_was_drawn_cannot_be_voided() {
    let mut outbox = outbox();
    let bytes = PREFIX_BYTES + 4;
    let first = small(&mut outbox, 1, 2, 0);
    draw(&mut outbox, 16_384);
    assert!(!outbox.void(first, bytes), "nothing lies here");
    let second = small(&mut outbox, 2, 2, 0);
    assert!(!outbox.void(first, bytes), "another frame lies here");
    assert!(!outbox.void(second, 0) && !outbox.void(u64::MAX, bytes));
    assert!(outbox.void(second, bytes));
}

#[test]
fn closing_takes_requests_back_and_leaves_replies() {
    let mut outbox = outbox();
    small(&mut outbox, 1, 2, 10);
    small(&mut outbox, 2, 3, 10);
    bulk(&mut outbox, 3, 20_000, false);
    bulk(&mut outbox, 4, 20_000, true);
    assert_eq!(outbox.void_requests(), 0);
    let lanes: Vec<_> = frames(&mut draw(&mut outbox, 65_536))
        .iter()
        .map(|frame| (frame.lane, frame.payload[0]))
        .collect();
    let expected = [(1, VOID), (2, 3), (4, 3)].map(|(n, kind)| (id(n).lane(), kind));
    assert_eq!(lanes, expected);
}

#[test]
fn what_is_left_of_a_message_can_be_dropped() {
    let mut outbox = outbox();
    for n in 1..4 {
        bulk(&mut outbox, n, 300_000, n == 2);
    }
    assert!(outbox.drop_bulk_of(id(1)).is_some_and(|header| !header.is_empty()));
    draw(&mut outbox, 16_384);
    assert_eq!(outbox.terminals(), 1);
    assert!(outbox.drop_bulk_of(id(2)).is_some_and(|header| header.is_empty()), "it was begun");
    assert_eq!(outbox.drop_bulk_of(id(2)), None);
    assert_eq!(outbox.terminals(), 0);
    outbox.check_invariants(|_| false);
    let rest = frames(&mut draw(&mut outbox, 16_384));
    assert!(rest.iter().all(|frame| frame.lane == id(3).lane()));
}

#[test]
fn a_batch_holds_every_small_frame_and_a_fair_share_of_the_large() {
    let mut outbox = outbox();
    for n in 1..9 {
        bulk(&mut outbox, n, 1_000_000, true);
    }
    for n in 9..100 {
        small(&mut outbox, n, 2, 100);
    }
    let mut drawn = [0; 9];
    let mut batches = 0;
    while !outbox.is_empty() {
        let frames = frames(&mut draw(&mut outbox, 16_384));
        let is_small = |frame: &&OutFrame| frame.payload.len() == 104;
        if batches == 0 {
            assert!(frames.iter().take_while(is_small).count() == 91, "small frames go first");
        }
        let large = frames.iter().filter(|frame| frame.payload.len() != 104);
        let total: usize = large.clone().map(|frame| frame.payload.len()).sum();
        assert!(total <= BATCH_BULK_BYTES + 16 * 4, "{total}");
        for frame in large {
            let sequence = (frame.lane.number() >> 24) as usize;
            drawn[sequence] += frame.payload.len();
        }
        let (least, most) = (drawn[1..].iter().min(), drawn[1..].iter().max());
        assert!(most.unwrap() - least.unwrap() <= TURN_BYTES, "{drawn:?}");
        batches += 1;
    }
}

#[test]
fn a_large_message_may_be_empty() {
    let mut outbox = outbox();
    bulk(&mut outbox, 1, 0, true);
    assert!(!outbox.is_empty());
    let frames = frames(&mut draw(&mut outbox, 16_384));
    assert_eq!(frames.len(), 1);
    assert!(frames[0].end && frames[0].payload.len() == frame::DATA_HEADER_BYTES);
    assert_eq!(outbox.terminals(), 0);
}

#[test]
fn an_idle_outbox_holds_no_memory() {
    let mut outbox = filled(1);
    let mut batch = Batch::default();
    while !outbox.is_empty() {
        outbox.draw(&mut batch, 65_536, |_| {});
        batch.advance(batch.remaining());
    }
    outbox.shrink();
    batch.shrink();
    assert_eq!(outbox.small.capacity() + outbox.bulk.capacity(), 0);
    assert_eq!(batch.bytes.capacity() + batch.bodies.capacity(), 0);
    assert_eq!(batch.position(), outbox.drawn());
}

/// The bodies in a batch that belong to a lane, in order: kind, MORE, end mark and length of each.
fn parts(batch: &mut Batch, lane: Lane) -> Vec<(u8, bool, bool, usize)> {
    let frames = std::iter::from_fn(|| batch.next_frame()).filter(|frame| frame.lane == lane);
    frames
        .map(|frame| {
            (frame.payload[0], frame.payload[1] & 1 != 0, frame.end, frame.payload.len() - 4)
        })
        .collect()
}

// r[verify message.account]
#[test]
fn messages_of_many_frames_wait_for_the_credit_of_the_connection() {
    let mut outbox = Outbox::default();
    bulk(&mut outbox, 1, 300_000, false);
    // One frame is no matter of credit.
    bulk(&mut outbox, 2, 60_000, false);
    let mut drawn = 0;
    while !outbox.is_empty() {
        let mut batch = draw(&mut outbox, 65_536);
        while let Some(frame) = batch.next_frame() {
            drawn += frame.payload.len() - 4;
        }
    }
    assert_eq!((drawn, outbox.bulk_credit()), (BULK_WINDOW_BASE + 60_000, 0));
    assert!(outbox.is_empty() && outbox.queued_bytes() > 0, "the rest is stalled");
    assert!(outbox.allow_bulk(10));
    let rest = parts(&mut draw(&mut outbox, 65_536), id(1).lane());
    assert_eq!(rest, [(5, true, false, 10)]);
    assert!(outbox.allow_bulk(1_000_000));
    let rest = parts(&mut draw(&mut outbox, 65_536), id(1).lane());
    assert_eq!(rest, [(5, false, true, 300_000 - BULK_WINDOW_BASE - 10)]);
    assert_eq!(outbox.queued_bytes(), 0);
}

// r[verify credit.cost]
#[test]
fn a_large_item_is_cut_by_the_credit_of_its_stream() {
    let mut outbox = outbox();
    outbox.push_item(id(1), Bytes::from(vec![7; 50_000]), ITEM_COST + 1000);
    assert_eq!(parts(&mut draw(&mut outbox, 65_536), id(1).lane()), [(12, true, false, 1000)]);
    assert!(outbox.is_empty() && outbox.queued_bytes() == 49_000, "it is blocked");
    // The connection's credit doesn't help, nor does that of another stream.
    assert!(outbox.allow_bulk(1000) && outbox.allow_item(id(2), 1000).is_none());
    assert!(outbox.is_empty());
    assert_eq!(outbox.allow_item(id(1), 20_000), Some(true));
    assert_eq!(parts(&mut draw(&mut outbox, 65_536), id(1).lane()), [(5, true, false, 20_000)]);
    assert_eq!(outbox.allow_item(id(1), 40_000), Some(true));
    let mut left = Vec::new();
    let mut batch = Batch::default();
    outbox.draw(&mut batch, 65_536, |drawn| left.push((drawn.is_item, drawn.credit)));
    // An item doesn't end its lane, and leaves the credit that it didn't need.
    assert_eq!(parts(&mut batch, id(1).lane()), [(5, false, false, 29_000)]);
    assert_eq!(left, [(true, 11_000)]);
}

#[test]
fn a_message_is_taken_back_wherever_it_waits() {
    let mut outbox = Outbox::default();
    outbox.push_item(id(1), Bytes::from(vec![7; 50_000]), ITEM_COST);
    bulk(&mut outbox, 2, 400_000, false);
    while !outbox.is_empty() {
        draw(&mut outbox, 65_536);
    }
    bulk(&mut outbox, 3, 50_000, false);
    for (call, begun) in [(1, false), (2, true), (3, false)] {
        let header = outbox.drop_bulk_of(id(call)).unwrap();
        assert_eq!(header.is_empty(), begun, "call {call}");
    }
    assert_eq!((outbox.queued_bytes(), outbox.drop_bulk_of(id(1))), (0, None));
}

#[test]
fn grants_without_end_are_noticed() {
    let mut outbox = Outbox::default();
    assert!(outbox.allow_bulk(u32::MAX as usize - BULK_WINDOW_BASE));
    assert!(!outbox.allow_bulk(1));
}

#[test]
fn what_waits_for_the_connection_is_told_from_what_waits_for_its_stream() {
    let mut outbox = Outbox::default();
    bulk(&mut outbox, 1, BULK_WINDOW_BASE + 500, false);
    assert!(!outbox.is_stalled() && !outbox.is_held_up(), "its turn hasn't come");
    while !outbox.is_empty() {
        draw(&mut outbox, 65_536);
    }
    assert!(outbox.is_stalled() && outbox.is_held_up());
    assert!(outbox.allow_bulk(1000));
    assert!(!outbox.is_stalled() && !outbox.is_held_up(), "it has its turn again");
    draw(&mut outbox, 65_536);
    outbox.push_item(id(2), Bytes::from(vec![7; 20_000]), ITEM_COST);
    draw(&mut outbox, 65_536);
    assert!(!outbox.is_stalled() && outbox.is_held_up(), "no grant for the connection helps it");
}

#[test]
fn one_message_is_no_sign_of_a_peer_that_does_not_read() {
    let mut outbox = Outbox::default();
    assert_eq!(outbox.bytes_beside_the_largest(), 0);
    bulk(&mut outbox, 1, BULK_WINDOW_BASE + 50_000, false);
    assert_eq!(outbox.bytes_beside_the_largest(), 0);
    while !outbox.is_empty() {
        draw(&mut outbox, 65_536);
    }
    bulk(&mut outbox, 2, 30_000, false);
    small(&mut outbox, 3, 2, 100);
    assert_eq!(outbox.queued_bytes(), 50_000 + 30_000 + PREFIX_BYTES + 104);
    assert_eq!(outbox.bytes_beside_the_largest(), 30_000 + PREFIX_BYTES + 104, "it is stalled");
}

#[test]
fn frames_that_took_credit_are_counted() {
    let mut outbox = outbox();
    let credit = outbox.bulk_credit();
    let mut items = Vec::new();
    for bytes in [0, 10, 100] {
        frame::framed(&mut items, id(1).lane(), false, |out| {
            frame::encode_item_header(out, false);
            out.resize(out.len() + bytes, 7);
        });
    }
    outbox.append_items(&items, 3 * ITEM_COST + 110);
    assert_eq!((outbox.charged_frames(), outbox.bulk_credit()), (3, credit - 3 * ITEM_COST - 110));
    // Three frames; and one, which is free.
    bulk(&mut outbox, 2, 150_000, false);
    bulk(&mut outbox, 3, 20_000, false);
    while !outbox.is_empty() {
        draw(&mut outbox, 65_536);
    }
    assert_eq!(outbox.charged_frames(), 6);
}
