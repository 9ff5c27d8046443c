//! Large messages: cut into frames, side by side with small ones, put together within limits, given
//! up half-way.

use super::*;

fn large(seed: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n % 251).to_le_bytes()[0] ^ seed).collect()
}

/// Opens a request of 600 kB and sends the first batch of it.
fn half_sent(pair: &mut Pair) -> CallId {
    let id = pair.a.call(large(0, 600_000));
    let frames = pair.a.draw_batch();
    assert_eq!(kinds(&frames), "request… data… data… data…");
    pair.b.take_all(&frames);
    assert!(pair.b.mux.requests.partial_bytes > 0);
    id
}

/// Lets `b` answer with 600 kB, of which the first batch arrives.
fn half_answered(pair: &mut Pair) -> CallId {
    let id = pair.a.call("");
    pair.drive();
    pair.b.reply(id, large(0, 600_000));
    let frames = pair.b.draw_batch();
    assert_eq!(kinds(&frames), "reply… data… data… data…");
    pair.a.take_all(&frames);
    assert!(pair.a.mux.calls.partial_bytes > 0);
    id
}

#[track_caller]
fn at_rest(pair: &mut Pair) {
    pair.drive();
    for side in [&pair.a, &pair.b] {
        assert!(!side.mux.is_busy() && side.mux.requests.at_rest());
        assert_eq!(side.mux.requests.partial_bytes + side.mux.calls.partial_bytes, 0);
        assert_eq!(side.mux.strays, 0);
        assert_eq!(*side.mux.phase(), Phase::Open);
    }
}

// r[verify message.frames]
#[test]
fn large_messages_arrive_as_they_were() {
    for bytes in [BULK_BYTES - 1, BULK_BYTES, 65_520, 65_521, 65_536, 1_000_000] {
        let mut pair = Pair::new();
        let id = pair.a.call(large(1, bytes));
        pair.drive();
        assert_eq!(pair.b.bodies(), [large(1, bytes)]);
        pair.b.reply(id, large(2, bytes));
        pair.drive();
        assert_eq!(pair.a.end_of(id), Some(End::Reply(large(2, bytes))));
        at_rest(&mut pair);
    }
}

// r[verify hello.base-limits] r[verify hello.limits]
#[test]
fn frames_are_as_large_as_both_the_transport_and_the_peer_want() {
    let mut pair = Pair::strangers(Limits::default(), Limits::default());
    pair.a.call(large(0, 200_000));
    let largest = |frames: &[OutFrame]| frames.iter().map(|f| f.payload.len()).max();
    let frames = pair.a.draw();
    assert_eq!(largest(&frames), Some(16 * 1024), "nobody knows more before the hello");
    pair.b.take_all(&frames);
    pair.drive();
    pair.a.call(large(0, 200_000));
    assert_eq!(largest(&pair.a.draw()), Some(FRAME_BYTES));
}

#[test]
fn small_frames_pass_by_a_large_message() {
    let mut pair = Pair::new();
    let id = pair.a.call(large(0, 2_000_000));
    for n in 0..5u8 {
        let small = pair.a.call([n]);
        let frames = pair.a.draw_batch();
        assert!(kinds(&frames).starts_with(if n == 0 {
            "request request…"
        } else {
            "request data"
        }));
        pair.b.take_all(&frames);
        assert_eq!(pair.b.bodies().last(), Some(&&[n][..]));
        assert!(small > id);
    }
    pair.drive();
    assert_eq!(pair.b.accepted.len(), 6);
}

#[test]
fn large_messages_take_turns() {
    let mut pair = Pair::new();
    let ids: Vec<_> = (0..4u8).map(|n| pair.a.call(large(n, 300_000))).collect();
    let frames = pair.a.draw_batch();
    let order: Vec<_> = frames.iter().map(|frame| frame.lane).collect();
    let lanes: Vec<_> = ids.iter().map(|id| id.lane()).collect();
    assert_eq!(order, lanes, "a turn is a frame of 64 KiB, and four turns are a batch");
    pair.b.take_all(&frames);
    pair.drive();
    assert_eq!(pair.b.accepted.len(), 4);
}

// r[verify message.size]
#[test]
fn a_message_above_the_limit_fails_alone() {
    let limits = Limits { message_bytes: 100_000, ..Limits::default() };
    let mut pair = Pair::strangers(Limits::default(), limits.clone());
    let id = pair.a.call(large(0, 200_000));
    let other = pair.a.call(large(1, 100_000));
    pair.drive();
    assert_eq!(pair.a.end_of(id), Some(End::Failed(ErrorKind::TooLarge, Delivery::Rejected)));
    assert_eq!(pair.b.bodies(), [large(1, 100_000)]);
    pair.b.echo_all();
    pair.drive();
    assert!(pair.a.end_of(other).is_some());
    at_rest(&mut pair);

    // A server should know better; its reply fails alone all the same.
    for bytes in [20_000, 200_000] {
        let limits = Limits { message_bytes: 10_000, ..Limits::default() };
        let mut pair = Pair::with(limits, Limits::default());
        let id = pair.a.call("");
        pair.drive();
        assert_eq!(pair.b.mux.reply_limits().message_bytes, 10_000);
        pair.b.reply(id, large(0, bytes));
        pair.drive();
        assert_eq!(pair.a.end_of(id), Some(End::Failed(ErrorKind::TooLarge, Delivery::Replied)));
        at_rest(&mut pair);
    }
}

// r[verify message.reassembly]
#[test]
fn incomplete_messages_share_a_limit() {
    let limits = Limits { held_bytes: 500_000, ..Limits::default() };
    let mut pair = Pair::with(Limits::default(), limits);
    let ids: Vec<_> = (0..3u8).map(|n| pair.a.call(large(n, 300_000))).collect();
    pair.drive();
    let failed = End::Failed(ErrorKind::Overloaded, Delivery::Rejected);
    let ends: Vec<_> = ids.iter().map(|id| pair.a.end_of(*id)).collect();
    assert!(ends.contains(&Some(failed)) && ends.contains(&None), "{ends:?}");
    pair.b.echo_all();
    pair.drive();
    for (id, end) in ids.iter().zip(ends).filter(|(_, end)| end.is_none()) {
        assert!(end.is_none() && matches!(pair.a.end_of(*id), Some(End::Reply(_))));
    }
    at_rest(&mut pair);
}

#[test]
fn first_frames_count_as_well() {
    let limits = Limits { held_bytes: 100_000, ..Limits::default() };
    let mut pair = Pair::with(Limits::default(), limits);
    for _ in 0..10 {
        pair.a.call(large(0, 70_000));
    }
    let frames = pair.a.draw();
    let begun: Vec<_> =
        frames.into_iter().filter(|f| kinds(std::slice::from_ref(f)) == "request…").collect();
    pair.b.take_all(&begun);
    assert_eq!(pair.b.mux.requests.open(), 1);
}

#[test]
fn replies_share_the_limit_with_requests() {
    let limits = Limits { held_bytes: 400_000, ..Limits::default() };
    let mut pair = Pair::with(limits, Limits::default());
    let ids = [pair.a.call("1"), pair.a.call("2")];
    pair.drive();
    for id in ids {
        pair.b.reply(id, large(0, 300_000));
    }
    pair.drive();
    let ends = ids.map(|id| pair.a.end_of(id));
    assert!(ends.contains(&Some(End::Failed(ErrorKind::Overloaded, Delivery::Replied))));
    at_rest(&mut pair);
}

#[test]
fn a_large_request_dropped_before_it_is_drawn_never_runs() {
    let mut pair = Pair::new();
    let id = pair.a.call(large(0, 100_000));
    pair.a.drop_call(id);
    assert_eq!(kinds(&pair.a.draw()), "");
    assert!(!pair.a.mux.is_busy());
}

// r[verify data.abort]
#[test]
fn a_large_request_dropped_half_way_is_given_up() {
    let mut pair = Pair::new();
    let id = half_sent(&mut pair);
    pair.a.drop_call(id);
    let frames = pair.a.draw();
    assert_eq!(kinds(&frames), "abort");
    assert!(frames[0].end);
    pair.b.take_all(&frames);
    assert!(pair.b.accepted.is_empty());
    at_rest(&mut pair);
}

// r[verify data.late]
#[test]
fn a_request_refused_half_way_is_sent_no_further() {
    let mut pair = Pair::new();
    let id = half_sent(&mut pair);
    pair.b.take(&made(|out| frame::encode_cancel(out, id)));
    let error = pair.b.draw();
    assert_eq!(kinds(&error), "error");
    pair.a.take_all(&error);
    assert_eq!(pair.a.end_of(id), Some(End::Failed(ErrorKind::Cancelled, Delivery::Rejected)));
    assert_eq!(kinds(&pair.a.draw_batch()), "abort");
    at_rest(&mut pair);
}

// r[verify data.late]
#[test]
fn what_is_left_of_a_refused_request_does_not_hit_the_next_call_of_its_slot() {
    let mut pair = Pair::new();
    let old = half_sent(&mut pair);
    pair.b.take(&made(|out| frame::encode_cancel(out, old)));
    let error = pair.b.draw();
    pair.a.take_all(&error);
    assert!(pair.a.end_of(old).is_some());
    let abort = pair.a.draw();
    let new = pair.a.call(large(0, 100_000));
    assert_eq!(new.slot(), old.slot());
    let mut frames = pair.a.draw();
    frames.insert(1, abort[0].clone());
    pair.b.take_all(&frames);
    assert_eq!(pair.b.bodies(), [large(0, 100_000)]);
}

#[test]
fn a_cancel_that_overtakes_frames_of_its_request_stops_it() {
    let mut pair = Pair::new();
    let id = pair.a.call(large(0, 200_000));
    let mut frames = pair.a.draw();
    pair.a.drop_call(id);
    let cancel = pair.a.draw();
    frames.insert(2, cancel[0].clone());
    pair.b.take_all(&frames);
    assert!(pair.b.accepted.is_empty());
    at_rest(&mut pair);
}

#[test]
fn a_large_reply_nobody_waits_for_is_given_up() {
    let mut pair = Pair::new();
    let id = half_answered(&mut pair);
    pair.a.drop_call(id);
    assert_eq!(pair.a.mux.calls.partial_bytes, 0);
    let cancel = pair.a.draw();
    pair.b.take_all(&cancel);
    assert_eq!(kinds(&pair.b.draw_batch()), "abort");
    assert!(pair.b.mux.outbox.is_empty());
}

#[test]
fn a_reply_given_up_by_the_peer_frees_the_slot_of_whoever_has_gone() {
    let mut pair = Pair::new();
    let id = half_answered(&mut pair);
    pair.a.drop_call(id);
    pair.drive();
    at_rest(&mut pair);
    assert_eq!(pair.a.call("next").slot(), id.slot());
}

#[test]
fn a_large_reply_that_nobody_has_begun_to_send_becomes_an_error() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    pair.drive();
    pair.b.reply(id, large(0, 100_000));
    pair.a.drop_call(id);
    let cancel = pair.a.draw();
    pair.b.take_all(&cancel);
    let frames = pair.b.draw_batch();
    assert_eq!(kinds(&frames), "error");
    pair.a.take_all(&frames);
    at_rest(&mut pair);
}

// r[verify data.abort]
#[test]
fn a_reply_that_the_peer_gives_up_fails_its_call() {
    for more in [false, true] {
        let mut pair = Pair::new();
        let id = half_answered(&mut pair);
        pair.a.take(&raw(id.lane(), 5, 2 | u8::from(more), b"x"));
        assert_eq!(
            pair.a.end_of(id),
            Some(End::Failed(ErrorKind::MalformedReply, Delivery::Replied))
        );
        assert!(!pair.a.mux.is_busy(), "an abort is the end, whatever it says besides");
    }
}

#[test]
fn the_rest_of_a_reply_is_dropped_when_its_caller_goes() {
    let mut pair = Pair::new();
    let id = half_answered(&mut pair);
    let rest = pair.b.draw();
    pair.a.drop_call(id);
    pair.a.take_all(&rest);
    assert_eq!(pair.a.mux.calls.partial_bytes, 0);
    at_rest(&mut pair);
}

#[test]
fn an_error_may_end_a_reply_half_way() {
    let mut pair = Pair::new();
    let id = half_answered(&mut pair);
    pair.a.take(&made(|out| frame::encode_error(out, id, ErrorKind::Cancelled, Ran::Maybe, "")));
    assert_eq!(pair.a.end_of(id), Some(End::Failed(ErrorKind::Cancelled, Delivery::Unknown)));
    assert_eq!(pair.a.mux.calls.partial_bytes, 0);
}

#[test]
fn a_connection_lost_half_way_frees_what_was_collected() {
    let mut pair = Pair::new();
    let id = half_answered(&mut pair);
    pair.a.lose();
    assert_eq!(pair.a.mux.calls.partial_bytes, 0);
    assert_eq!(pair.a.end_of(id), Some(End::Lost(Delivery::Unknown)));
}

// r[verify lane.end]
#[test]
fn the_last_frame_of_a_lane_is_marked_in_each_direction() {
    let mut pair = Pair::new();
    let id = pair.a.call(large(0, 200_000));
    let frames = pair.a.draw();
    let ends: Vec<_> = frames.iter().map(|frame| frame.end).collect();
    assert_eq!(ends, [false, false, false, true]);
    pair.b.take_all(&frames);
    pair.b.reply(id, "");
    assert!(pair.b.draw()[0].end);
}
