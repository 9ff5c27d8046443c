//! Streams attacked: what is under way when one side changes its mind, and what may pile up.

use std::task::Poll;

use super::{streams::*, *};
use crate::mux::{
    ITEM_COST, Need, Room, StreamEnd,
    streams::{WAKE_MAX, WINDOW_BASE},
};

#[test]
fn an_item_above_the_limit_fails_its_stream_alone() {
    let limits = Limits { message_bytes: 100_000, ..Limits::default() };
    let mut pair = Pair::with(Limits::default(), limits);
    let id = pair.a.call_with_items();
    pair.drive();
    assert!(pair.a.send_item(id, &[7; 500_000]));
    pair.drive();
    assert_eq!((pair.a.mux.phase(), pair.b.mux.phase()), (&Phase::Open, &Phase::Open));
    let end = pair.b.end_of_items(id);
    assert!(matches!(end, Some(StreamEnd::Failed { kind: ErrorKind::TooLarge, .. })), "{end:?}");
}

#[test]
fn a_request_taken_back_takes_its_staged_items_with_it() {
    for end in [false, true] {
        let mut pair = Pair::new();
        let before = pair.a.mux.outbox.bulk_credit();
        let id = pair.a.call_with_items();
        assert!(pair.a.send_item(id, b"one"));
        if end {
            pair.a.end_items(id);
        }
        pair.a.drop_call(id);
        pair.drive();
        assert_eq!(pair.b.mux.phase(), &Phase::Open, "ended: {end}");
        assert!(pair.a.at_rest() && pair.b.at_rest());
        assert_eq!(pair.a.mux.outbox.bulk_credit(), before, "what never left costs nothing");
    }
}

#[test]
fn writers_that_see_the_same_room_do_not_all_take_it() {
    let limits = Limits { window_bytes: 0, ..Limits::default() };
    let mut pair = Pair::with(Limits::default(), limits);
    let ids: Vec<_> = (0..6).map(|_| pair.a.call_with_items()).collect();
    pair.drive();
    let rooms: Vec<_> = ids.iter().map(|id| pair.a.room(*id)).collect();
    for (id, room) in ids.iter().zip(rooms) {
        let Poll::Ready(Room::Bytes { mut cost, item }) = room else { continue };
        let mut staged = Vec::new();
        let mut paid = 0;
        while cost > ITEM_COST {
            let bytes = item.min(cost - ITEM_COST);
            frame::framed(&mut staged, id.lane(), false, |out| {
                frame::encode_item_header(out, false);
                out.resize(out.len() + bytes, 7);
            });
            cost -= bytes + ITEM_COST;
            paid += bytes + ITEM_COST;
        }
        pair.a.mux.send_items(pair.now, *id, &staged, paid);
    }
    pair.drive();
    assert_eq!(pair.b.mux.phase(), &Phase::Open);
}

#[test]
fn a_request_refused_half_way_is_aborted_once() {
    let mut pair = Pair::new();
    let want = Want { body: vec![7; 600_000], stream: true, ..Want::default() };
    let id = pair.a.call_with(&want);
    let frames = pair.a.draw_batch();
    pair.b.take_all(&frames);
    pair.b.take(&made(|out| frame::encode_cancel(out, id)));
    let error = pair.b.draw();
    pair.a.take_all(&error);
    assert_eq!(kinds(&pair.a.draw()), "abort");
}

#[test]
fn the_end_of_a_reply_breaks_off_the_items_of_its_call() {
    let (mut pair, id) = asking();
    pair.b.accept_with_stream(id);
    pair.drive();
    assert_eq!(pair.a.end_of(id), Some(End::Stream));
    pair.b.end_items(id);
    pair.drive();
    assert_eq!(pair.a.room(id), Poll::Ready(Room::Gone));
}

#[test]
fn grants_of_a_stream_overflow_also_while_a_large_item_has_them() {
    let (mut pair, id) = asking();
    assert!(pair.a.send_item(id, &[7; 500_000]));
    for _ in 0..3 {
        pair.a.take(&made(|out| frame::encode_credit(out, id.lane(), u32::MAX)));
    }
    assert_ne!(pair.a.mux.phase(), &Phase::Open);
}

#[test]
fn whole_items_that_wait_are_held_too() {
    let limits = Limits { held_bytes: 1_000_000, ..Limits::default() };
    let mut pair = Pair::with(Limits::default(), limits);
    let ids: Vec<_> = (0..10).map(|_| pair.a.call_with_items()).collect();
    pair.drive();
    for id in &ids {
        assert!(pair.a.send_item(*id, &[7; 900_000]));
        pair.drive();
    }
    let held: usize = ids.iter().flat_map(|id| pair.b.items(*id)).map(|item| item.len()).sum();
    assert!(held <= 2_000_000, "{held}");
}

#[test]
fn a_grant_for_each_item_is_no_stray() {
    let (mut pair, id) = asking();
    let mut staged = Vec::new();
    for _ in 0..256 {
        frame::framed(&mut staged, id.lane(), false, |out| frame::encode_item_header(out, false));
    }
    pair.a.mux.send_items(pair.now, id, &staged, 256 * ITEM_COST);
    for _ in 0..256 {
        pair.a.take(&made(|out| frame::encode_credit(out, id.lane(), 16)));
    }
    assert_eq!(pair.a.mux.strays, 0);
}

#[test]
fn items_given_up_before_their_request_has_left_end_no_connection() {
    let mut pair = Pair::new();
    let want = Want { body: vec![7; 600_000], stream: true, ..Want::default() };
    let id = pair.a.call_with(&want);
    pair.a.break_off(id);
    pair.drive();
    assert_eq!(pair.b.mux.phase(), &Phase::Open);
    let failed = End::Failed(ErrorKind::MalformedRequest, Delivery::NotSent);
    assert_eq!(pair.a.end_of(id), Some(failed));
    assert!(pair.a.at_rest() && pair.b.at_rest());
}

#[test]
fn a_large_item_goes_no_further_after_a_stop() {
    let (mut pair, id) = asking();
    assert!(pair.a.send_item(id, &[7; 500_000]));
    let begun = pair.a.draw_batch();
    pair.b.take_all(&begun);
    pair.b.mux.drop_reader(id);
    let stop = pair.b.draw();
    pair.a.take_all(&stop);
    assert!(!kinds(&pair.a.draw()).contains("data"));
    assert_eq!(pair.a.mux.outbox.queued_bytes(), 0, "the rest of it is still held");
}

#[test]
fn a_second_end_is_a_violation() {
    for (kind, flags) in [(13, 0), (5, 2)] {
        let (mut pair, id) = asking();
        pair.b.take(&raw(id.lane(), 13, 0, b""));
        pair.b.take(&raw(id.lane(), kind, flags, b""));
        assert_eq!(pair.b.close_reason(), Some(CloseReason::UnexpectedFrame), "{kind}");
    }
}

#[test]
fn items_of_a_request_that_announced_none_are_a_violation() {
    for kind in [12, 13] {
        let mut pair = Pair::new();
        let id = pair.a.call("");
        pair.drive();
        pair.b.take(&raw(id.lane(), kind, 0, b""));
        assert_eq!(pair.b.close_reason(), Some(CloseReason::UnexpectedFrame), "{kind}");
    }
}

#[test]
fn an_item_of_one_frame_keeps_to_the_limit_too() {
    let limits = Limits { message_bytes: 1000, ..Limits::default() };
    let mut pair = Pair::with(Limits::default(), limits);
    let id = pair.a.call_with_items();
    pair.drive();
    assert!(pair.a.send_item(id, &[7; 2000]));
    pair.drive();
    assert!(pair.b.items(id).is_empty());
}

#[test]
fn a_sender_keeps_to_the_peers_limit_on_items() {
    let limits = Limits { message_bytes: 300_000, ..Limits::default() };
    let mut pair = Pair::strangers(Limits::default(), limits.clone());
    let id = pair.a.call_with_items();
    // Nobody knows the limit yet, but for what every peer accepts.
    assert!(pair.a.room_for(id, Need::Item(256 * 1024)).is_ready());
    let woken = pair.a.wakes.count();
    assert_eq!(pair.a.room_for(id, Need::Item(400_000)), Poll::Pending);
    pair.drive();
    assert!(pair.a.wakes.count() > woken, "it is known now");
    let too_large = Poll::Ready(Room::TooLarge { limit: 300_000, whose: "the peer" });
    assert_eq!(pair.a.room_for(id, Need::Item(300_001)), too_large);
    assert!(matches!(pair.a.room_for(id, Need::Item(300_000)), Poll::Ready(Room::Bytes { .. })));

    let mut pair = Pair::with(limits, Limits::default());
    let id = pair.a.call_with_items();
    let too_large = Poll::Ready(Room::TooLarge { limit: 300_000, whose: "this side" });
    assert_eq!(pair.a.room_for(id, Need::Item(300_001)), too_large);
}

#[test]
fn few_writers_are_woken_when_there_is_room_and_each_gets_its_turn() {
    let mut pair = Pair::new();
    let mut ids = Vec::new();
    for _ in 0..500 {
        ids.push(pair.a.call_with_items());
    }
    pair.drive();
    // Somebody fills what all streams share.
    assert!(pair.a.send_item(ids[0], &[7; 16_000]));
    for id in &ids[1..5] {
        pair.a.send_item(*id, &[7; 16_300]);
    }
    let waits = |id: &&CallId| pair.a.room(**id).is_pending();
    let waiting: Vec<_> = ids.iter().skip(5).filter(waits).copied().collect();
    assert_eq!(waiting.len(), 495);
    let woken = pair.a.wakes.count();
    pair.a.draw_batch();
    assert_eq!(pair.a.wakes.count() - woken, WAKE_MAX, "not all of them");
    // Each that comes back hands on its turn. The first may vanish instead.
    pair.a.drop_call(waiting[0]);
    for (n, id) in waiting.iter().enumerate().skip(1) {
        assert!(pair.a.room(*id).is_ready(), "{n}");
    }
    assert!(pair.a.wakes.count() - woken >= waiting.len());
}

/// Streams of `pair.a` that have used all credit of the connection but `left` bytes, and a further one.
fn used_up(pair: &mut Pair, left: usize) -> CallId {
    for _ in 0..10 {
        let id = pair.a.call_with_items();
        for _ in 0..3 {
            let bytes = pair.a.mux.outbox.bulk_credit() - left;
            if bytes > ITEM_COST {
                assert!(pair.a.send_item(id, &vec![7; bytes.min(16_000) - ITEM_COST]));
            }
            pair.a.draw_batch();
        }
    }
    assert_eq!(pair.a.mux.outbox.bulk_credit(), left);
    pair.a.call_with_items()
}

/// What the mux checks after each step says that nobody waits in vain; so here it is enough to get there.
#[test]
fn a_window_that_the_hello_makes_larger_is_for_those_who_wait() {
    let mut pair = Pair::strangers(Limits::default(), Limits::default());
    let id = used_up(&mut pair, 0);
    assert!(pair.a.room(id).is_pending());
    let far = Pair::strangers(Limits::default(), Limits::default()).a.draw_batch();
    let woken = pair.a.wakes.count();
    pair.a.take(&far[0]);
    assert!(pair.a.mux.hello_arrived());
    assert!(pair.a.wakes.count() > woken);
    assert!(pair.a.room(id).is_ready());
}

#[test]
fn who_waits_for_more_and_leaves_lets_those_go_who_need_less() {
    let mut pair = Pair::with(Limits::default(), Limits { window_bytes: 0, ..Limits::default() });
    let first = used_up(&mut pair, 1000);
    let second = pair.a.call_with_items();
    assert!(pair.a.room_for(first, Need::Staged(2000)).is_pending());
    assert!(pair.a.room(second).is_pending(), "it is not its turn");
    let woken = pair.a.wakes.count();
    pair.a.drop_call(first);
    assert!(pair.a.wakes.count() > woken);
    assert!(pair.a.room(second).is_ready());
}

#[test]
fn credit_that_a_call_gives_back_is_for_those_who_wait() {
    let mut pair = Pair::with(Limits::default(), Limits { window_bytes: 0, ..Limits::default() });
    let taken_back = used_up(&mut pair, 1000);
    assert!(pair.a.send_item(taken_back, &[7; 900]));
    let waits = pair.a.call_with_items();
    assert!(pair.a.room_for(waits, Need::Staged(500)).is_pending());
    let woken = pair.a.wakes.count();
    pair.a.drop_call(taken_back);
    assert!(pair.a.wakes.count() > woken);
    assert!(pair.a.room_for(waits, Need::Staged(500)).is_ready());
}

#[test]
fn an_end_waits_for_no_credit() {
    for bytes in [WINDOW_BASE - ITEM_COST, WINDOW_BASE - ITEM_COST - 10] {
        let (mut pair, id) = asking();
        assert!(pair.a.send_item(id, &vec![7; bytes]));
        assert!(pair.a.room_for(id, Need::Nothing).is_pending(), "not within an item");
        let frames = pair.a.draw();
        assert!(pair.a.room(id).is_pending(), "there is no credit for another item");
        assert!(pair.a.room_for(id, Need::Nothing).is_ready());
        pair.a.end_items(id);
        pair.b.take_all(&frames);
        pair.drive();
        assert_eq!(pair.b.items(id).len(), 1);
        assert_eq!(pair.b.end_of_items(id), Some(StreamEnd::Finished));
    }
}

#[test]
fn tiny_items_take_no_more_memory_than_they_cost() {
    let (mut pair, id) = asking();
    while pair.a.send_item(id, b"x") {}
    pair.drive();
    let held = pair.b.mux.streams.memory_of(id);
    assert!(held <= WINDOW_BASE, "{held}");
    assert_eq!(pair.b.items(id).len(), WINDOW_BASE / (1 + ITEM_COST));
    assert!(pair.b.mux.streams.memory_of(id) < 10_000, "what is empty takes little");
}

// r[verify stop.effect] r[verify call.opener]
#[test]
fn stops_that_nobody_can_mean() {
    // One for each stream that was begun may have crossed its end.
    let (mut pair, id) = asking();
    for n in 0..1002 {
        pair.a.take(&made(|out| frame::encode_stop(out, id)));
        assert_eq!(pair.a.mux.strays, n);
    }
    assert_eq!(pair.a.close_reason(), Some(CloseReason::Flood));
    // One for the items of a reply.
    let (mut pair, id) = replying();
    pair.b.take(&made(|out| frame::encode_stop(out, id)));
    assert_eq!(pair.b.close_reason(), Some(CloseReason::BadCallId));
    // One for a request that hasn't left.
    let mut pair = Pair::new();
    for body in [vec![], vec![7; 200_000]] {
        let id = pair.a.call_with(&Want { body, stream: true, ..Want::default() });
        pair.a.take(&made(|out| frame::encode_stop(out, id)));
        assert_eq!(pair.a.close_reason(), Some(CloseReason::UnexpectedFrame));
        pair = Pair::new();
    }
}
