//! Buffers that are used again: which are kept, for how long, and that nobody's bytes change. And
//! messages that are received in place.

use std::thread;

use super::*;
use crate::body::Body;

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

/// What one side has kept and nobody uses, in bytes.
fn kept(side: &mut Side) -> usize {
    side.mux.shelf().free_bytes().iter().sum()
}

/// `a` makes a call with so many bytes, which `b` gets.
#[track_caller]
fn deliver(pair: &mut Pair, byte: u8, bytes: usize) -> (CallId, Body) {
    let id = pair.a.call(vec![byte; bytes]);
    pair.drive();
    let accepted = pair.b.accepted.pop().expect("the request came");
    assert_eq!((accepted.id, accepted.body.as_slice().len()), (id, bytes));
    assert!(accepted.body.as_slice().iter().all(|b| *b == byte), "it is what was sent");
    (id, accepted.body)
}

/// The same for the reply.
#[track_caller]
fn answer(pair: &mut Pair, id: CallId, byte: u8, bytes: usize) -> Body {
    pair.b.reply(id, vec![byte; bytes]);
    pair.drive();
    let Some(Ending::Reply { body, .. }) = pair.a.mux.take_ending(id) else { panic!("no reply") };
    assert_eq!(body.as_slice(), vec![byte; bytes]);
    body
}

/// A message as its reader has it.
#[track_caller]
fn shared(body: Body) -> Bytes {
    match body {
        Body::Shared(bytes) => bytes,
        Body::Buffer(_) => panic!("it was collected like a small one"),
    }
}

#[test]
fn large_messages_one_after_the_other_have_the_same_buffer() {
    for bytes in [20 * KIB, 100 * KIB, 3 * MIB] {
        let mut pair = Pair::new();
        let mut ends = Vec::new();
        for round in 0..5 {
            let (id, request) = deliver(&mut pair, round, bytes);
            let of_request = request.as_slice().as_ptr();
            let free = kept(&mut pair.b);
            drop(request);
            assert!(kept(&mut pair.b) >= free + bytes, "it was in use");
            let reply = answer(&mut pair, id, !round, bytes);
            ends.push((of_request, reply.as_slice().as_ptr()));
        }
        // The first may grow, and begin behind the header of a frame.
        assert_eq!(ends[3], ends[2], "{bytes}");
        assert_eq!(ends[4], ends[2], "{bytes}");
    }
}

#[test]
fn a_message_that_is_held_is_never_written_over() {
    let mut pair = Pair::new();
    let held: Vec<_> = (0..4)
        .map(|byte| {
            let (id, request) = deliver(&mut pair, byte, 2 * MIB);
            let request = shared(request);
            // One reader keeps all of it, another one a little.
            let some = request.slice(MIB..MIB + 10);
            (byte, some, (byte < 2).then_some(request), answer(&mut pair, id, byte, 2 * MIB))
        })
        .collect();
    for byte in 10..13 {
        let (id, _) = deliver(&mut pair, byte, 2 * MIB);
        answer(&mut pair, id, byte, 2 * MIB);
    }
    for (byte, some, all, reply) in held {
        assert_eq!(some, vec![byte; 10]);
        assert!(all.is_none_or(|all| all == vec![byte; 2 * MIB]));
        assert_eq!(reply.as_slice(), vec![byte; 2 * MIB]);
    }
}

#[test]
fn small_buffers_are_not_kept_although_their_message_came_in_two_frames() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    let OutFrame { lane, payload, .. } = pair.a.draw().remove(0);
    let header = &payload[4..frame::RequestHeader::BYTES];
    pair.b.take(&raw(lane, frame::Kind::Request as u8, frame::flag::MORE, header));
    pair.b.take(&raw(lane, frame::Kind::Data as u8, 0, &[1; 4 * KIB]));
    assert_eq!(
        pair.b.accepted.pop().map(|it| (it.id, it.body.as_slice().len())),
        Some((id, 4 * KIB))
    );
    assert_eq!(kept(&mut pair.b), 0, "allocators keep that");
}

#[test]
fn few_buffers_are_kept_and_not_much_beside_the_largest() {
    let mut pair = Pair::new();
    drop(deliver(&mut pair, 1, 15 * KIB));
    assert_eq!(kept(&mut pair.b), 0, "allocators keep that");

    let many: Vec<_> = (0..40).map(|_| deliver(&mut pair, 2, 64 * KIB)).collect();
    assert_eq!(kept(&mut pair.b), 0);
    drop(many);
    assert!((64 * KIB * 15..=128 * KIB * 16).contains(&kept(&mut pair.b)));

    let large = [9, 3, 30, 4, 2].map(|mib| deliver(&mut pair, 3, mib * MIB));
    drop(large);
    assert!((30 * MIB..=64 * MIB).contains(&kept(&mut pair.b)), "{}", kept(&mut pair.b));
    for mib in [1, 2, 1, 2, 1, 2, 1, 2] {
        drop(deliver(&mut pair, 4, mib * MIB));
    }
    assert!((31 * MIB..=68 * MIB).contains(&kept(&mut pair.b)), "{}", kept(&mut pair.b));
}

#[test]
fn whoever_keeps_a_message_keeps_four_times_its_bytes_at_most() {
    let mut pair = Pair::new();
    drop(deliver(&mut pair, 1, 24 * MIB));
    let large = kept(&mut pair.b);
    assert!(large >= 24 * MIB);
    let (_, small) = deliver(&mut pair, 2, MIB);
    assert_eq!(kept(&mut pair.b), large, "that one isn't worth it");
    drop(small);
    // It gets into that buffer half-way, and leaves it for one of its size.
    let (_, middle) = deliver(&mut pair, 3, 3 * MIB);
    assert!(kept(&mut pair.b) >= large, "the large one is free");
    assert_eq!(middle.as_slice(), vec![3; 3 * MIB]);
    let (_, rather_large) = deliver(&mut pair, 4, 16 * MIB);
    assert!(kept(&mut pair.b) < large, "it is worth it");
    assert_eq!(rather_large.as_slice(), vec![4; 16 * MIB]);
}

#[test]
fn buffers_that_were_not_used_for_a_while_are_given_back() {
    let mut pair = Pair::new();
    let (_, request) = deliver(&mut pair, 1, 2 * MIB);
    drop(request);
    drop(pair.b.mux.shelf().unused(false));
    assert!(kept(&mut pair.b) > 0, "it was used");
    drop(pair.b.mux.shelf().unused(false));
    assert_eq!(kept(&mut pair.b), 0);

    let (_, request) = deliver(&mut pair, 1, 2 * MIB);
    drop(request);
    drop(pair.b.mux.shelf().unused(true));
    assert_eq!(kept(&mut pair.b), 0, "nothing happens on the connection");

    let (_, held) = deliver(&mut pair, 1, 2 * MIB);
    drop(pair.b.mux.shelf().unused(true));
    assert_eq!(held.as_slice(), vec![1; 2 * MIB]);
    drop(held);
    assert_eq!(kept(&mut pair.b), 0, "nobody would look after it");
}

#[test]
fn the_last_handle_frees_the_buffer_on_whatever_thread() {
    let mut pair = Pair::new();
    let (_, request) = deliver(&mut pair, 1, 2 * MIB);
    let bytes = shared(request);
    let threads = [bytes.clone(), bytes.slice(..10), bytes].map(|bytes| {
        thread::spawn(move || {
            assert_eq!(bytes.first(), Some(&1));
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(kept(&mut pair.b) >= 2 * MIB);
}

#[test]
fn messages_outlive_their_connection() {
    let mut pair = Pair::new();
    let (_, first) = deliver(&mut pair, 1, 2 * MIB);
    let (_, second) = deliver(&mut pair, 2, 2 * MIB);
    drop(first);
    drop(pair);
    assert_eq!(second.as_slice(), vec![2; 2 * MIB]);
}

/// `a` makes a call of so many bytes, drawn to the end. The frames that it takes.
fn frames_of(pair: &mut Pair, bytes: usize) -> (CallId, Vec<OutFrame>, Vec<u8>) {
    pair.drive();
    let body: Vec<_> = (0..=250).cycle().take(bytes).collect();
    let id = pair.a.call(body.clone());
    let frames = std::iter::from_fn(|| Some(pair.a.draw_batch()).filter(|some| !some.is_empty()));
    (id, frames.flatten().collect(), body)
}

/// Hands a frame over in the buffer that it was received in.
fn push_filled(pair: &mut Pair, frame: &OutFrame, buffer: BytesMut) {
    let payload = Payload::Filled(buffer);
    pair.b.mux.handle_frame(pair.now, InFrame { lane: frame.lane, end: frame.end, payload });
    pair.b.settle();
}

#[test]
fn a_frame_is_received_behind_what_has_come_of_its_message() {
    let mut pair = Pair::new();
    // By the second time there is a buffer that is large enough from the beginning.
    for round in 0..3 {
        let (_, frames, body) = frames_of(&mut pair, 200_000);
        let mut ends = Vec::new();
        for frame in &frames {
            let buffer = pair.b.receive(frame);
            let range = buffer.as_ptr_range();
            ends.push((range.start as usize, range.end as usize));
            push_filled(&mut pair, frame, buffer);
        }
        assert!(frames.len() >= 4);
        for pair in ends.windows(2) {
            let behind = pair[0].1 - frame::DATA_HEADER_BYTES == pair[1].0;
            assert!(behind || round == 0, "its header covers the end of what is there: {pair:?}");
        }
        let accepted = pair.b.accepted.pop().expect("a request");
        assert_eq!(accepted.body.as_slice(), body);
        let address = accepted.body.as_slice().as_ptr_range().end as usize;
        assert!(address == ends.last().unwrap().1 || round == 0, "it wasn't moved");
    }
}

#[test]
fn a_buffer_that_is_not_what_was_given_or_never_comes_back_loses_nothing() {
    let mut pair = Pair::new();
    let (_, frames, body) = frames_of(&mut pair, 400_000);
    for (at, frame) in frames.iter().enumerate() {
        let (beginning, _) = frame.payload.split_at(20);
        let room = pair.b.mux.room(frame.lane, frame.payload.len(), beginning);
        match at % 4 {
            // Never used: what came is handed over otherwise.
            0 => pair.b.take(frame),
            // Another one, as after it had to grow.
            1 => push_filled(&mut pair, frame, BytesMut::from(&frame.payload[..])),
            // The one before the last.
            2 => {
                let _last = pair.b.mux.room(frame.lane, frame.payload.len(), &[]);
                let mut room = room;
                room.extend_from_slice(&frame.payload[20..]);
                push_filled(&mut pair, frame, room);
            }
            _ => {
                drop(room);
                let buffer = pair.b.receive(frame);
                push_filled(&mut pair, frame, buffer);
            }
        }
    }
    let accepted = pair.b.accepted.pop().expect("a request");
    assert_eq!(accepted.body.as_slice(), body);
}

#[test]
fn a_frame_that_is_received_for_a_call_that_ends_meanwhile_is_dropped() {
    let mut pair = Pair::new();
    let (id, frames, _) = frames_of(&mut pair, 200_000);
    let (first, rest) = frames.split_first().unwrap();
    pair.b.take(first);
    let buffer = pair.b.receive(&rest[0]);
    pair.a.drop_call(id);
    let cancel = pair.a.draw_batch();
    pair.b.take_all(&cancel);
    push_filled(&mut pair, &rest[0], buffer);
    pair.b.take_all(&rest[1..]);
    assert!(pair.b.accepted.is_empty());
    assert_eq!(pair.b.mux.requests.partial_bytes, 0);
    pair.drive();
    let (_, request) = deliver(&mut pair, 9, 200_000);
    assert_eq!(request.as_slice(), vec![9; 200_000], "the connection goes on");
}

/// A DATA frame may have extensions, which nobody reads.
#[test]
fn a_frame_with_extensions_is_received_too() {
    let mut pair = Pair::new();
    let (_, frames, body) = frames_of(&mut pair, 200_000);
    for frame in &frames {
        let mut payload = frame.payload.to_vec();
        if decode(frame).body().len() + frame::DATA_HEADER_BYTES == payload.len() {
            // Kind 200 may be skipped; it has 3 bytes.
            payload[2] = 7;
            payload.splice(4..4, [200, 0, 3, 0, 1, 2, 3]);
        }
        let frame = OutFrame { payload: payload.into(), ..frame.clone() };
        let buffer = pair.b.receive(&frame);
        push_filled(&mut pair, &frame, buffer);
    }
    let accepted = pair.b.accepted.pop().expect("a request");
    assert!(accepted.body.as_slice() == body);
}
