//! Streams: items in both directions, their ends, and the credit that bounds them.

use std::task::Poll;

use super::*;
use crate::mux::{
    ITEM_COST, Need, NextItem, Room, StreamEnd,
    streams::{WINDOW_BASE, WINDOW_MAX},
};

impl Side {
    /// A request whose items follow.
    #[track_caller]
    pub(super) fn call_with_items(&mut self) -> CallId {
        self.call_with(&Want { stream: true, ..Want::default() })
    }

    pub(super) fn next(&mut self, id: CallId) -> Poll<NextItem> {
        let next = self.mux.poll_item(id);
        if next.is_pending() {
            let waker = self.waker();
            self.mux.set_item_waker(id, waker);
        }
        self.settle();
        next
    }

    /// All items that are there.
    pub(super) fn items(&mut self, id: CallId) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| match self.next(id) {
            Poll::Ready(NextItem::Item(item)) => Some(item),
            _ => None,
        })
        .collect()
    }

    pub(super) fn end_of_items(&mut self, id: CallId) -> Option<StreamEnd> {
        match self.next(id) {
            Poll::Ready(NextItem::End(end)) => Some(end),
            _ => None,
        }
    }

    /// The room for an item.
    pub(super) fn room(&mut self, id: CallId) -> Poll<Room> {
        self.room_for(id, Need::Item(1))
    }

    pub(super) fn room_for(&mut self, id: CallId, need: Need) -> Poll<Room> {
        let waker = self.waker();
        let room = self.mux.poll_room(id, need, &waker);
        self.settle();
        room
    }

    /// Sends one item, the way a pump does. Returns whether there was room for it.
    pub(super) fn send_item(&mut self, id: CallId, item: &[u8]) -> bool {
        let Poll::Ready(Room::Bytes { cost, item: largest }) = self.room(id) else { return false };
        if item.len() > largest || item.len() + ITEM_COST > cost {
            self.mux.send_large_item(self.now, id, Bytes::copy_from_slice(item));
        } else {
            let mut staged = Vec::new();
            frame::framed(&mut staged, id.lane(), false, |out| {
                frame::encode_item_header(out, false);
                out.extend_from_slice(item);
            });
            self.mux.send_items(self.now, id, &staged, item.len() + ITEM_COST);
        }
        self.settle();
        true
    }

    pub(super) fn accept_with_stream(&mut self, id: CallId) {
        self.accepted.retain(|accepted| accepted.id != id);
        assert!(self.mux.begin_stream(id));
        self.settle();
    }

    pub(super) fn end_items(&mut self, id: CallId) {
        self.mux.end_writer(id);
        self.settle();
    }

    pub(super) fn break_off(&mut self, id: CallId) {
        self.mux.fail_arguments(id, ErrorKind::MalformedRequest, "it broke".into());
        self.settle();
    }

    pub(super) fn drop_reader(&mut self, id: CallId) {
        self.mux.drop_reader(id);
        self.settle();
    }

    pub(super) fn at_rest(&self) -> bool {
        self.mux.streams.open() == 0 && !self.mux.is_busy() && self.mux.requests.at_rest()
    }
}

/// A call of `a` to which `b` replies with a stream, that has begun.
pub(super) fn replying() -> (Pair, CallId) {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    pair.drive();
    pair.b.accept_with_stream(id);
    pair.drive();
    assert_eq!(pair.a.end_of(id), Some(End::Stream));
    (pair, id)
}

/// A call of `a` with items, that `b` has.
pub(super) fn asking() -> (Pair, CallId) {
    let mut pair = Pair::new();
    let id = pair.a.call_with_items();
    pair.drive();
    assert!(pair.b.accepted[0].stream);
    (pair, id)
}

// r[verify reply.stream] r[verify item.end]
#[test]
fn items_of_a_reply_come_in_order_and_then_the_end() {
    let (mut pair, id) = replying();
    let sizes = [0, 1, 10_000, 16_384, 40_000, 300_000, 3];
    let mut sent = Vec::new();
    let mut received = Vec::new();
    for (n, size) in (0..).zip(sizes) {
        let item = vec![n; size];
        while !pair.b.send_item(id, &item) {
            assert!(pair.step(), "there is credit on its way");
            received.extend(pair.a.items(id));
        }
        sent.push(item);
    }
    while pair.step() {
        received.extend(pair.a.items(id));
    }
    pair.b.end_items(id);
    assert_eq!(kinds(&pair.b.draw()), "end");
    let end = made(|out| frame::encode_end(out, id));
    pair.a.take(&end);
    assert!(received == sent);
    assert_eq!(pair.a.end_of_items(id), Some(StreamEnd::Finished));
    assert!(!pair.a.mux.is_busy() && pair.b.at_rest(), "the slot is free");
    pair.a.drop_reader(id);
    assert!(pair.a.at_rest() && kinds(&pair.a.draw()).is_empty(), "there is nothing to cancel");
}

// r[verify request.stream] r[verify lane.end]
#[test]
fn items_of_a_request_end_its_lane_and_not_the_request() {
    let mut pair = Pair::new();
    let id = pair.a.call_with_items();
    assert!(pair.a.send_item(id, b"one") && pair.a.send_item(id, b"two"));
    pair.a.end_items(id);
    let frames = pair.a.draw();
    assert_eq!(kinds(&frames), "request item item end");
    assert_eq!(
        frames.iter().map(|frame| frame.end).collect::<Vec<_>>(),
        [false, false, false, true]
    );
    pair.b.take_all(&frames);
    assert_eq!(pair.b.items(id), [b"one", b"two"]);
    assert_eq!(pair.b.end_of_items(id), Some(StreamEnd::Finished));
    pair.b.reply(id, "both");
    pair.drive();
    assert_eq!(pair.a.end_of(id), Some(End::Reply(b"both".to_vec())));
    pair.b.drop_reader(id);
    assert!(pair.a.at_rest() && pair.b.at_rest());
}

#[test]
fn a_large_request_goes_before_its_items() {
    let mut pair = Pair::new();
    let want = Want { body: vec![7; 200_000], stream: true, ..Want::default() };
    let id = pair.a.call_with(&want);
    assert!(pair.a.room(id).is_pending(), "the request is being sent");
    pair.drive();
    assert!(pair.a.send_item(id, b"first"), "{:?}", pair.a.room(id));
    pair.drive();
    assert_eq!(pair.b.accepted[0].body.as_slice().len(), 200_000);
    assert_eq!(pair.b.items(id), [b"first"]);
}

// r[verify item.abort]
#[test]
fn arguments_that_break_off_fail_their_call_on_both_sides() {
    let (mut pair, id) = asking();
    assert!(pair.a.send_item(id, b"one"));
    pair.a.break_off(id);
    let frames = pair.a.draw();
    assert_eq!(kinds(&frames), "item abort cancel");
    assert!(frames[1].end);
    pair.b.take_all(&frames);
    assert_eq!(pair.b.items(id), [b"one"]);
    let end = pair.b.end_of_items(id);
    assert!(matches!(end, Some(StreamEnd::Failed { kind: ErrorKind::Cancelled, .. })), "{end:?}");
    assert_eq!(pair.b.stopped, [(id, ErrorKind::Cancelled)]);
    pair.b.drop_reader(id);
    pair.b.end_stopped();
    pair.drive();
    let failed = End::Failed(ErrorKind::MalformedRequest, Delivery::Unknown);
    assert_eq!(pair.a.end_of(id), Some(failed));
    assert!(pair.a.at_rest() && pair.b.at_rest());
}

#[test]
fn arguments_that_break_off_end_the_stream_that_comes_in_reply() {
    let (mut pair, id) = asking();
    pair.b.accept_with_stream(id);
    assert!(pair.b.send_item(id, b"before"));
    pair.drive();
    assert_eq!(pair.a.end_of(id), Some(End::Stream));
    pair.a.break_off(id);
    assert!(pair.b.send_item(id, b"crossing"));
    assert_eq!(kinds(&pair.a.draw()), "abort cancel");
    pair.b.take(&made(|out| frame::encode_cancel(out, id)));
    pair.b.end_stopped();
    pair.drive();
    assert_eq!(pair.a.items(id), [b"before"]);
    let end = pair.a.end_of_items(id);
    let Some(StreamEnd::Failed { kind, delivery, .. }) = end else { panic!("{end:?}") };
    assert_eq!((kind, delivery), (ErrorKind::MalformedRequest, Delivery::Unknown));
    pair.a.drop_reader(id);
    assert!(kinds(&pair.a.draw()).is_empty(), "it was cancelled already");
    assert_eq!((pair.a.mux.calls.open(), pair.a.mux.strays), (0, 0));
}

#[test]
fn a_reader_that_outlives_its_call_has_what_came_and_then_learns_why() {
    let (mut pair, id) = asking();
    assert!(pair.a.send_item(id, b"one") && pair.a.send_item(id, &[2; 20_000]));
    pair.drive();
    pair.b.reply(id, "");
    pair.drive();
    assert_eq!(pair.a.end_of(id), Some(End::Reply(Vec::new())));
    assert_eq!(pair.b.items(id), [b"one".to_vec(), vec![2; 20_000]]);
    let end = pair.b.end_of_items(id);
    let Some(StreamEnd::Failed { kind, detail, .. }) = end else { panic!("{end:?}") };
    assert_eq!((kind, detail.as_str()), (ErrorKind::Cancelled, "its call has ended"));
    // What is still under way for the call goes nowhere, and no grant or stop does either.
    pair.b.take(&raw(id.lane(), 12, 0, b"late"));
    assert!(pair.b.items(id).is_empty());
    pair.b.drop_reader(id);
    assert!(kinds(&pair.b.draw()).is_empty());
    assert!(pair.b.at_rest());
}

#[test]
fn a_stream_that_had_ended_before_its_call_ends_as_it_did() {
    let (mut pair, id) = asking();
    assert!(pair.a.send_item(id, b"one"));
    pair.a.end_items(id);
    pair.drive();
    pair.b.reply(id, "");
    assert_eq!(pair.b.items(id), [b"one"]);
    assert_eq!(pair.b.end_of_items(id), Some(StreamEnd::Finished));
}

// r[verify item.abort]
#[test]
fn an_answer_breaks_off_the_items_that_nobody_reads_any_more() {
    let (mut pair, id) = asking();
    pair.b.reply(id, "enough");
    pair.drive();
    assert_eq!(pair.a.room(id), Poll::Ready(Room::Gone));
    assert_eq!(pair.a.end_of(id), Some(End::Reply(b"enough".to_vec())));
    pair.b.drop_reader(id);
    assert!(pair.a.at_rest() && pair.b.at_rest());
    // The slot is used again at once, whatever is still on its way for the old call.
    let next = pair.a.call_with_items();
    assert_eq!(next.slot(), id.slot());
    pair.b.take(&raw(id.lane(), 12, 0, b"late"));
    pair.drive();
    assert_eq!(*pair.b.mux.phase(), Phase::Open);
}

#[test]
fn an_error_ends_a_stream_after_what_came_before_it() {
    let (mut pair, id) = replying();
    assert!(pair.b.send_item(id, b"one"));
    if pair.b.mux.finish(id) {
        pair.b.mux.queue_error(id, ErrorKind::HandlerPanicked, Ran::Ended, "");
    }
    pair.drive();
    assert_eq!(pair.a.items(id), [b"one"]);
    let failed = StreamEnd::Failed {
        kind: ErrorKind::HandlerPanicked,
        delivery: Delivery::Replied,
        detail: String::new(),
    };
    assert_eq!(pair.a.end_of_items(id), Some(failed));
    assert!(!pair.a.mux.is_busy() && pair.b.at_rest());
}

#[test]
fn a_reader_that_goes_cancels_the_call() {
    let (mut pair, id) = replying();
    pair.a.drop_reader(id);
    assert_eq!(kinds(&pair.a.draw()), "cancel");
    pair.b.take(&made(|out| frame::encode_cancel(out, id)));
    assert!(pair.b.send_item(id, b"crossing"));
    pair.b.end_stopped();
    pair.drive();
    assert!(pair.a.at_rest() && pair.b.at_rest());
    assert_eq!(pair.a.mux.strays, 0);
}

#[test]
fn a_call_that_is_dropped_unread_cancels_its_stream() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    pair.drive();
    pair.b.accept_with_stream(id);
    pair.drive();
    // It has the stream, and never looks.
    pair.a.drop_call(id);
    pair.drive();
    pair.b.end_stopped();
    pair.drive();
    assert!(pair.a.at_rest() && pair.b.at_rest());
}

// r[verify stop.effect]
#[test]
fn a_handler_that_wants_no_more_stops_the_items() {
    let (mut pair, id) = asking();
    pair.b.drop_reader(id);
    assert_eq!(kinds(&pair.b.draw()), "stop");
    assert!(pair.a.send_item(id, b"crossing"));
    pair.a.take(&made(|out| frame::encode_stop(out, id)));
    assert_eq!(pair.a.room(id), Poll::Ready(Room::Gone));
    pair.a.break_off(id);
    pair.drive();
    pair.b.reply(id, "");
    pair.drive();
    assert_eq!(pair.a.end_of(id), Some(End::Reply(Vec::new())));
    // One that comes after the end may have crossed it; a second one can't have.
    assert_eq!((pair.a.mux.strays, pair.a.mux.phase().clone()), (0, Phase::Open));
    pair.a.take(&made(|out| frame::encode_stop(out, id)));
    assert_eq!((pair.a.mux.strays, pair.a.mux.phase().clone()), (1, Phase::Open));
}

#[test]
fn a_request_that_is_taken_back_takes_its_items_with_it() {
    for drawn in [false, true] {
        let mut pair = Pair::new();
        let body = vec![7; if drawn { 200_000 } else { 10 }];
        let want = Want { body, stream: true, timeout: Some(ms(50)), ..Want::default() };
        let id = pair.a.call_with(&want);
        if drawn {
            let frames = [pair.a.draw_batch(), pair.a.draw()].concat();
            pair.b.take_all(&frames[..1]);
        }
        pair.advance(ms(60));
        assert_eq!(pair.a.room(id), Poll::Ready(Room::Gone));
        let delivery = if drawn { Delivery::Unknown } else { Delivery::NotSent };
        assert_eq!(pair.a.end_of(id), Some(End::Failed(ErrorKind::DeadlineExceeded, delivery)));
    }
}

#[test]
fn a_request_that_comes_together_with_its_cancel_leaves_no_stream() {
    for items in 0..3 {
        let mut pair = Pair::new();
        let id = pair.a.call_with_items();
        for _ in 0..items {
            assert!(pair.a.send_item(id, b"one"));
        }
        let mut frames = pair.a.draw_batch();
        pair.a.drop_call(id);
        frames.extend(pair.a.draw_batch());
        pair.b.take_at_once(&frames);
        pair.drive();
        assert_eq!((pair.a.mux.phase(), pair.b.mux.phase()), (&Phase::Open, &Phase::Open));
        assert!(pair.a.at_rest() && pair.b.at_rest(), "{items}");
    }
}

// r[verify item.order]
#[test]
fn frames_out_of_order_end_the_connection() {
    type Row = (&'static str, fn(CallId) -> Vec<OutFrame>);
    let rows: [Row; 6] = [
        ("an item within an item", |id| {
            vec![raw(id.lane(), 12, 1, b"x"), raw(id.lane(), 12, 0, b"")]
        }),
        ("data without an item", |id| vec![raw(id.lane(), 5, 0, b"x")]),
        ("an end within an item", |id| {
            vec![raw(id.lane(), 12, 1, b"x"), raw(id.lane(), 13, 0, b"")]
        }),
        ("an item after the end", |id| {
            vec![raw(id.lane(), 13, 0, b""), raw(id.lane(), 12, 0, b"x")]
        }),
        ("data after the end", |id| vec![raw(id.lane(), 13, 0, b""), raw(id.lane(), 5, 0, b"x")]),
        ("items of a call that never was", |id| {
            let other = CallId::new(id.sequence() + 1, 5, Role::Connector);
            vec![raw(other.lane(), 12, 0, b"x")]
        }),
    ];
    for (what, frames) in rows {
        let (mut pair, id) = asking();
        pair.b.take_all(&frames(id));
        assert_eq!(pair.b.close_reason(), Some(CloseReason::UnexpectedFrame), "{what}");
    }
    // A call that announced none has no items.
    let mut pair = Pair::new();
    let id = pair.a.call("");
    pair.drive();
    pair.b.take(&raw(id.lane(), 5, 0, b"x"));
    assert_eq!(pair.b.close_reason(), Some(CloseReason::UnexpectedFrame));
}

// r[verify reply.stream]
#[test]
fn a_reply_that_announces_a_stream_says_nothing_else() {
    for (flags, body) in [(4, &b"x"[..]), (5, b""), (6, b"")] {
        let mut pair = Pair::new();
        let id = pair.a.call("");
        pair.drive();
        pair.a.take(&raw(id.lane(), 3, flags, body));
        assert_eq!(pair.a.close_reason(), Some(CloseReason::MalformedFrame), "{flags}");
    }
}

// r[verify credit.initial] r[verify credit.exceeded] r[verify credit.cost]
#[test]
fn a_stream_that_nobody_reads_is_held_to_its_credit() {
    let (mut pair, id) = replying();
    let item = vec![7; 1000 - ITEM_COST];
    let mut sent = 0;
    while pair.b.send_item(id, &item) {
        sent += 1;
        pair.drive();
    }
    assert_eq!(sent, WINDOW_BASE / 1000 + 1, "the last one goes as far as the credit does");
    assert_eq!(pair.a.items(id).len(), WINDOW_BASE / 1000);
    // One byte more than was granted, from a peer that doesn't care. Empty items cost as well.
    for body in [vec![0; WINDOW_BASE - ITEM_COST + 1], Vec::new()] {
        let (mut pair, id) = replying();
        let mut frames = 0;
        while *pair.a.mux.phase() == Phase::Open && frames <= WINDOW_BASE / ITEM_COST {
            pair.a.take(&raw(id.lane(), 12, 0, &body));
            frames += 1;
        }
        assert_eq!(pair.a.close_reason(), Some(CloseReason::CreditExceeded));
        assert_eq!(frames, if body.is_empty() { WINDOW_BASE / ITEM_COST + 1 } else { 1 });
    }
}

// r[verify credit.overflow]
#[test]
fn grants_that_cannot_be_meant_end_the_connection() {
    for lane in [Lane::CONTROL.number(), 0] {
        let (mut pair, id) = asking();
        let lane = if lane == 0 { Lane::CONTROL } else { id.lane() };
        pair.a.take(&made(|out| frame::encode_credit(out, lane, u32::MAX)));
        assert_eq!(pair.a.close_reason(), Some(CloseReason::CreditExceeded), "{lane:?}");
    }
    let (mut pair, id) = asking();
    pair.a.take(&made(|out| frame::encode_credit(out, id.lane(), u32::MAX)));
    assert_eq!(pair.a.close_reason(), Some(CloseReason::CreditExceeded));
}

#[test]
fn a_reader_that_keeps_up_gets_a_larger_window_out_of_a_budget() {
    let limits = Limits { stream_bytes: 100_000, ..Limits::default() };
    for (limits, most) in [(Limits::default(), WINDOW_MAX), (limits, WINDOW_BASE + 100_000)] {
        let mut pair = Pair::with(limits, Limits::default());
        let id = pair.a.call("");
        pair.drive();
        pair.b.accept_with_stream(id);
        pair.drive();
        pair.a.end_of(id);
        let mut largest = 0;
        for _ in 0..20_000 {
            if let Poll::Ready(Room::Bytes { .. }) = pair.b.room(id) {
                largest = largest.max(pair.b.mux.streams.credit_of(id));
            }
            if !pair.b.send_item(id, &[7; 8000]) {
                pair.step();
                pair.a.items(id);
            }
        }
        assert!(largest <= most && largest > most / 2, "{largest} of {most}");
        // What it had is free again for others.
        pair.a.drop_reader(id);
        assert_eq!(pair.a.mux.streams.growth(), pair.a.mux.limits().stream_bytes);
    }
}

#[test]
fn items_keep_a_call_alive_and_a_reply_needs_no_hurry() {
    let mut pair = Pair::new();
    let want = Want { stream: true, timeout: Some(ms(100)), ..Want::default() };
    let id = pair.a.call_with(&want);
    pair.drive();
    for _ in 0..10 {
        pair.advance(ms(80));
        assert!(pair.a.send_item(id, b"x"));
        pair.drive();
    }
    assert!(pair.a.end_of(id).is_none() && pair.b.stopped.is_empty());
    pair.b.accept_with_stream(id);
    pair.drive();
    assert_eq!(pair.a.end_of(id), Some(End::Stream));
    pair.advance(ms(1000));
    assert!(pair.b.stopped.is_empty(), "the next item is up to its reader");

    let id = pair.a.call_with(&want);
    pair.drive();
    pair.advance(ms(101));
    assert_eq!(pair.b.stopped, [(id, ErrorKind::DeadlineExceeded)]);
}

#[test]
fn a_lost_connection_ends_every_half() {
    let (mut pair, id) = replying();
    assert!(pair.b.send_item(id, b"one"));
    pair.drive();
    let asked = pair.a.call_with_items();
    pair.drive();
    pair.a.lose();
    pair.b.lose();
    assert_eq!(pair.a.items(id), [b"one"]);
    assert_eq!(pair.a.end_of_items(id), Some(StreamEnd::Lost));
    assert_eq!(pair.b.end_of_items(asked), Some(StreamEnd::Lost));
    assert_eq!(pair.a.room(asked), Poll::Ready(Room::Gone));
    assert_eq!(pair.b.room(id), Poll::Ready(Room::Gone));
}

#[test]
fn ten_thousand_streams_opened_and_dropped_leave_nothing() {
    let mut pair = Pair::new();
    for n in 0..10_000_u32 {
        let id = if n % 2 == 0 { pair.a.call("") } else { pair.a.call_with_items() };
        pair.drive();
        pair.b.accept_with_stream(id);
        pair.b.send_item(id, b"never read");
        if n % 3 == 0 {
            pair.drive();
        }
        pair.a.drop_call(id);
        pair.drive();
        pair.b.end_stopped();
        pair.b.drop_reader(id);
        pair.drive();
    }
    assert!(pair.a.at_rest() && pair.b.at_rest());
    assert_eq!((pair.a.mux.calls.slots(), pair.a.mux.strays, pair.b.mux.strays), (1, 0, 0));
}

/// The last part of an item isn't the end of its call, also when nobody reads.
#[test]
fn parts_of_items_that_nobody_reads_end_nothing() {
    for dropped_before in [true, false] {
        let mut pair = Pair::new();
        let id = pair.a.call("");
        pair.drive();
        if dropped_before {
            pair.a.drop_call(id);
        }
        pair.b.accept_with_stream(id);
        assert!(pair.b.send_item(id, &[7; 50_000]));
        pair.step();
        pair.a.drop_call(id);
        pair.drive();
        assert_eq!(pair.a.mux.calls.open(), 1, "the slot waits for the terminal frame");
        pair.b.end_stopped();
        pair.drive();
        assert!(pair.a.at_rest() && pair.b.at_rest());
        assert_eq!((pair.a.mux.strays, pair.a.mux.phase().clone()), (0, Phase::Open));
    }
}
