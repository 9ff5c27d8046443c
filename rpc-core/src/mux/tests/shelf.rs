//! Large messages that are collected in the same buffer one after the other: which buffers are kept, for
//! how long, and that nobody's bytes change.

use std::thread;

use super::*;
use crate::body::Body;

const MIB: usize = 1024 * 1024;

/// What one side has kept.
fn kept(side: &Side) -> usize {
    side.mux.shelf().kept_bytes()
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
    let mut pair = Pair::new();
    let mut buffers = Vec::new();
    for round in 0..3 {
        let (id, request) = deliver(&mut pair, round, 3 * MIB);
        assert_eq!(kept(&pair.b), 0, "it is in use");
        let addresses = request.as_slice().as_ptr();
        drop(request);
        assert!(kept(&pair.b) >= 3 * MIB);
        let reply = answer(&mut pair, id, !round, 3 * MIB);
        buffers.push((addresses, reply.as_slice().as_ptr()));
        drop(reply);
        assert!(kept(&pair.a) >= 3 * MIB);
    }
    assert_eq!(buffers[1], buffers[0]);
    assert_eq!(buffers[2], buffers[0]);
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
fn one_buffer_is_kept_no_larger_than_a_message_may_be() {
    let mut pair = Pair::new();
    drop(deliver(&mut pair, 1, MIB - 1));
    assert_eq!(kept(&pair.b), 0, "that isn't a large one");
    let three = [5, 3, 4].map(|many| deliver(&mut pair, 2, many * MIB));
    assert_eq!(kept(&pair.b), 0);
    drop(three);
    assert!((5 * MIB..10 * MIB).contains(&kept(&pair.b)), "of three, the largest");

    let limits = Limits { message_bytes: 5 << 19, ..Limits::default() };
    let mut pair = Pair::with(limits.clone(), limits);
    drop(deliver(&mut pair, 3, 5 * MIB / 2));
    assert_eq!(kept(&pair.b), 5 * MIB / 2, "growth ends at the largest message");
}

#[test]
fn whoever_keeps_a_message_keeps_four_times_its_bytes_at_most() {
    let mut pair = Pair::new();
    drop(deliver(&mut pair, 1, 24 * MIB));
    let large = kept(&pair.b);
    assert!(large >= 24 * MIB);
    let (_, small) = deliver(&mut pair, 2, MIB);
    assert_eq!(kept(&pair.b), large, "that one isn't worth it");
    drop(small);
    assert_eq!(kept(&pair.b), large, "of two, the larger one");
    let (_, middle) = deliver(&mut pair, 3, 3 * MIB);
    assert_eq!(kept(&pair.b), 0);
    drop(middle);
    assert!((3 * MIB..=12 * MIB).contains(&kept(&pair.b)), "the rest was given back");
}

#[test]
fn a_buffer_that_was_not_used_for_a_while_is_given_back() {
    let mut pair = Pair::new();
    let (_, request) = deliver(&mut pair, 1, 2 * MIB);
    drop(request);
    pair.b.mux.shelf().trim(false);
    assert!(kept(&pair.b) > 0, "it was used");
    pair.b.mux.shelf().trim(false);
    assert_eq!(kept(&pair.b), 0);

    let (_, request) = deliver(&mut pair, 1, 2 * MIB);
    pair.b.mux.shelf().trim(false);
    pair.b.mux.shelf().trim(false);
    drop(request);
    assert!(kept(&pair.b) > 0, "it was in use all the while");
    pair.b.mux.shelf().trim(false);
    assert!(kept(&pair.b) > 0, "until a moment ago");
    pair.b.mux.shelf().trim(false);
    assert_eq!(kept(&pair.b), 0);

    let (_, request) = deliver(&mut pair, 1, 2 * MIB);
    drop(request);
    pair.b.mux.shelf().trim(true);
    assert_eq!(kept(&pair.b), 0, "nothing happens on the connection");

    let (_, held) = deliver(&mut pair, 1, 2 * MIB);
    pair.b.mux.shelf().trim(true);
    drop(held);
    assert_eq!(kept(&pair.b), 0, "nobody would look after it");
}

#[test]
fn the_last_handle_gives_the_buffer_back_from_whatever_thread() {
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
    assert!(kept(&pair.b) >= 2 * MIB);
}

#[test]
fn messages_outlive_their_connection_and_are_freed_then() {
    let mut pair = Pair::new();
    let (_, first) = deliver(&mut pair, 1, 2 * MIB);
    let (_, second) = deliver(&mut pair, 2, 2 * MIB);
    pair.b.mux.shelf().close();
    drop(first);
    assert_eq!(kept(&pair.b), 0, "the connection has ended");
    let shelf = Arc::downgrade(pair.b.mux.shelf());
    drop(pair);
    assert_eq!(shelf.strong_count(), 0, "no message keeps what is left of it");
    assert_eq!(second.as_slice(), vec![2; 2 * MIB]);
}

/// Lets 2 MiB of a message come, from either side.
fn half(pair: &mut Pair) {
    for _ in 0..100 {
        let (to_b, to_a) = (pair.a.draw_batch(), pair.b.draw_batch());
        pair.b.take_all(&to_b);
        pair.a.take_all(&to_a);
        if pair.b.mux.requests.partial_bytes + pair.a.mux.calls.partial_bytes >= 2 * MIB {
            return;
        }
    }
    panic!("the message doesn't come");
}

#[test]
fn messages_that_are_given_up_half_way_give_their_buffers_back() {
    let mut pair = Pair::new();
    let (id, request) = deliver(&mut pair, 1, 3 * MIB);
    drop((request, answer(&mut pair, id, 1, 3 * MIB)));

    let id = pair.a.call(vec![2; 3 * MIB]);
    half(&mut pair);
    assert_eq!(kept(&pair.b), 0, "it is in use");
    pair.a.drop_call(id);
    pair.drive();
    assert!(kept(&pair.b) >= 3 * MIB);

    let id = pair.a.call("");
    pair.drive();
    pair.b.reply(id, vec![3; 3 * MIB]);
    half(&mut pair);
    assert_eq!(kept(&pair.a), 0, "it is in use");
    pair.a.drop_call(id);
    assert!(kept(&pair.a) >= 3 * MIB);
}
