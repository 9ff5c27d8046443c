//! What a peer must not do, what it may do to no effect, and what it may try in vain.

use super::*;
use crate::{frame::Hello, limits::PeerLimits};

/// One violation: its name, what the victim closes with, and how to commit it.
type Row = (&'static str, CloseReason, fn(&mut Pair));

/// Every reason that a peer's frames can lead to. The victim is `b` unless a row says otherwise by
/// making `b` the attacker: whoever of the two is closed afterwards was the victim.
const VIOLATIONS: &[Row] = &[
    ("another version", CloseReason::Version, |pair| {
        stranger(pair, |hello| hello.version += 1);
    }),
    ("another codec", CloseReason::Codec, |pair| stranger(pair, |hello| hello.codec += 1)),
    ("a request before the hello", CloseReason::HelloMissing, |pair| {
        *pair = Pair::strangers(Limits::default(), Limits::default());
        pair.b.take(&request(id(1, 0)));
    }),
    ("a ping before the hello", CloseReason::HelloMissing, |pair| {
        *pair = Pair::strangers(Limits::default(), Limits::default());
        pair.b.take(&raw(Lane::CONTROL, 8, 0, &[0; 8]));
    }),
    ("a second hello", CloseReason::HelloRepeated, |pair| {
        let hello = hello(&Limits::default(), 0);
        pair.b.take(&made(|out| frame::encode_hello(out, &hello)));
    }),
    ("no bytes", CloseReason::MalformedFrame, |pair| {
        let payload = Bytes::new();
        pair.b.take(&OutFrame { lane: Lane::CONTROL, end: false, payload });
    }),
    ("an unknown kind", CloseReason::MalformedFrame, |pair| {
        pair.b.take(&raw(Lane::CONTROL, 127, 0, &[]));
    }),
    ("a request on lane 0", CloseReason::MalformedFrame, |pair| {
        pair.b.take(&raw(Lane::CONTROL, 2, 0, &[0; 12]));
    }),
    ("a ping on a call's lane", CloseReason::MalformedFrame, |pair| {
        pair.b.take(&raw(id(1, 0).lane(), 8, 0, &[0; 8]));
    }),
    ("a request cut short", CloseReason::MalformedFrame, |pair| {
        pair.b.take(&raw(id(1, 0).lane(), 2, 0, &[0; 11]));
    }),
    ("one call too many", CloseReason::TooManyCalls, |pair| {
        *pair = Pair::with(Limits::default(), Limits { calls: 100, ..Limits::default() });
        (0..=100).for_each(|n| pair.b.take(&request(id(1 + u64::from(n), n % 100))));
    }),
    ("replies never read", CloseReason::TooManyCalls, |pair| {
        for n in 0..=u64::from(pair.b.mux.limits().calls) {
            pair.b.take(&request(id(n + 1, 0)));
            pair.b.echo_all();
        }
    }),
    ("an id twice", CloseReason::BadCallId, |pair| {
        pair.b.take(&request(id(1, 0)));
        pair.b.take(&request(id(1, 0)));
    }),
    ("an id of the past", CloseReason::BadCallId, |pair| {
        pair.b.take(&request(id(2, 0)));
        pair.b.echo_all();
        pair.b.take(&request(id(1, 0)));
    }),
    ("a slot that is in use", CloseReason::BadCallId, |pair| {
        pair.b.take(&request(id(1, 0)));
        pair.b.take(&request(id(2, 0)));
    }),
    ("a slot whose reply is still being sent", CloseReason::BadCallId, |pair| {
        pair.b.take(&request(id(1, 0)));
        pair.b.reply(id(1, 0), vec![0; BULK_BYTES]);
        pair.b.take(&request(id(2, 0)));
    }),
    ("a slot beyond the limit", CloseReason::BadCallId, |pair| {
        let slot = pair.b.mux.limits().calls;
        pair.b.take(&request(id(1, slot)));
    }),
    ("the last slot there is", CloseReason::BadCallId, |pair| {
        pair.b.take(&request(id(CallId::SEQUENCE_MAX, CallId::SLOTS_MAX - 1)));
    }),
    ("sequence number 0", CloseReason::BadCallId, |pair| {
        pair.b.take(&raw(Lane::new(1 << 23), 2, 0, &[0; 12]));
    }),
    ("a request with the victim's own id", CloseReason::BadCallId, |pair| {
        pair.b.take(&request(CallId::new(1, 0, Role::Acceptor)));
    }),
    ("a cancel of the victim's own call", CloseReason::BadCallId, |pair| {
        let own = CallId::new(1, 0, Role::Acceptor);
        pair.b.take(&made(|out| frame::encode_cancel(out, own)));
    }),
    ("a cancel of a slot beyond the limit", CloseReason::BadCallId, |pair| {
        let far = id(1, CallId::SLOTS_MAX - 1);
        pair.b.take(&made(|out| frame::encode_cancel(out, far)));
    }),
    ("a reply to the attacker's own call", CloseReason::BadCallId, |pair| {
        pair.b.take(&raw(id(1, 0).lane(), 3, 0, &[]));
    }),
    ("an error for the attacker's own call", CloseReason::BadCallId, |pair| {
        pair.b.take(&made(|out| frame::encode_error(out, id(1, 0), KIND, Ran::Never, "")));
    }),
    ("data of a request that never began", CloseReason::UnexpectedFrame, |pair| {
        pair.b.take(&raw(id(1, 0).lane(), 5, 0, b"x"));
    }),
    ("data of a request that was only cancelled", CloseReason::UnexpectedFrame, |pair| {
        pair.b.take(&made(|out| frame::encode_cancel(out, id(1, 0))));
        pair.b.take(&raw(id(1, 0).lane(), 5, 0, b"x"));
    }),
    ("data after the end of its request", CloseReason::UnexpectedFrame, |pair| {
        pair.b.take(&request(id(1, 0)));
        pair.b.take(&raw(id(1, 0).lane(), 5, 0, b"x"));
    }),
    ("data of a reply that never began", CloseReason::UnexpectedFrame, |pair| {
        let id = sent_by_a(pair);
        pair.a.take(&raw(id.lane(), 5, 0, b"x"));
    }),
    ("the beginning of a reply twice", CloseReason::UnexpectedFrame, |pair| {
        let id = sent_by_a(pair);
        pair.a.take(&raw(id.lane(), 3, 1, b"x"));
        pair.a.take(&raw(id.lane(), 3, 1, b"x"));
    }),
    ("a reply to a request that hasn't left", CloseReason::UnexpectedFrame, |pair| {
        let id = pair.a.call("");
        pair.a.take(&raw(id.lane(), 3, 0, b"x"));
    }),
    ("a reply to one that has left in part", CloseReason::UnexpectedFrame, |pair| {
        let id = pair.a.call(vec![0; 600_000]);
        pair.a.draw_batch();
        pair.a.take(&raw(id.lane(), 3, 0, b"x"));
    }),
    ("an error for a request that hasn't left", CloseReason::UnexpectedFrame, |pair| {
        let id = pair.a.call("");
        pair.a.take(&made(|out| frame::encode_error(out, id, KIND, Ran::Never, "")));
    }),
    ("data without data", CloseReason::Flood, |pair| {
        pair.b.take(&raw(id(1, 0).lane(), 5, 1, &[]));
    }),
    ("replies to nothing", CloseReason::Flood, |pair| {
        strays(pair, 1001, |id| raw(id.lane(), 3, 0, b"x"));
    }),
    ("errors for nothing", CloseReason::Flood, |pair| {
        strays(pair, 1001, |id| made(|out| frame::encode_error(out, id, KIND, Ran::Never, "")));
    }),
    ("data for nothing", CloseReason::Flood, |pair| {
        strays(pair, 1001, |id| raw(id.lane(), 5, 1, b"x"));
    }),
    ("answers to a go-away that nobody sent", CloseReason::Flood, |pair| {
        let answer = made(|out| frame::encode_go_away(out, 0, true));
        (0..1001).for_each(|_| pair.b.take(&answer));
    }),
];

const KIND: ErrorKind = ErrorKind::Overloaded;

/// An id of `a`'s.
fn id(sequence: u64, slot: u32) -> CallId {
    CallId::new(sequence, slot, Role::Connector)
}

/// A request without deadline or body.
fn request(id: CallId) -> OutFrame {
    raw(id.lane(), 2, 0, &[[0xff; 4].as_slice(), &[0; 8]].concat())
}

/// A connection of which the hello is not what it should be.
fn stranger(pair: &mut Pair, change: fn(&mut Hello)) {
    *pair = Pair::strangers(Limits::default(), Limits::default());
    let mut hello = hello(&Limits::default(), 0);
    change(&mut hello);
    pair.b.take(&made(|out| frame::encode_hello(out, &hello)));
}

fn sent_by_a(pair: &mut Pair) -> CallId {
    let id = pair.a.call("");
    pair.drive();
    id
}

/// Sends `a` frames for a call of its that has ended.
fn strays(pair: &mut Pair, count: usize, stray: fn(CallId) -> OutFrame) {
    let id = sent_by_a(pair);
    pair.b.echo_all();
    pair.drive();
    assert!(pair.a.end_of(id).is_some());
    (0..count).for_each(|_| pair.a.take(&stray(id)));
}

fn victim(pair: &mut Pair) -> Option<&mut Side> {
    let closed = |side: &Side| matches!(side.mux.phase(), Phase::Closed(_));
    [&mut pair.a, &mut pair.b].into_iter().find(|side| closed(side))
}

// r[verify hello.first] r[verify hello.once] r[verify hello.version] r[verify hello.codec]
// r[verify call.id] r[verify call.opener] r[verify call.slot] r[verify call.limit]
// r[verify data.progress] r[verify data.unexpected] r[verify reply.unexpected]
// r[verify frame.malformed] r[verify request.once]
#[test]
fn every_violation_closes_the_connection_and_says_why() {
    for (name, reason, commit) in VIOLATIONS {
        let mut pair = Pair::new();
        commit(&mut pair);
        let victim = victim(&mut pair).unwrap_or_else(|| panic!("{name}: nobody minds"));
        victim.mux.handle_closing();
        victim.settle();
        assert_eq!(victim.close_reason(), Some(*reason), "{name}");
    }
}

#[test]
fn every_reason_that_a_mux_gives_has_its_violation() {
    for reason in [
        CloseReason::Version,
        CloseReason::Codec,
        CloseReason::HelloMissing,
        CloseReason::HelloRepeated,
        CloseReason::MalformedFrame,
        CloseReason::TooManyCalls,
        CloseReason::BadCallId,
        CloseReason::UnexpectedFrame,
        CloseReason::Flood,
    ] {
        assert!(VIOLATIONS.iter().any(|row| row.1 == reason), "{reason:?}");
    }
}

// r[verify close.hello]
#[test]
fn a_close_may_come_before_the_hello_and_is_read_by_a_stranger() {
    let mut pair = Pair::strangers(Limits::default(), Limits::default());
    pair.b.mux.close(CloseReason::TooManyConnections, "");
    let frames = pair.b.draw();
    assert_eq!(kinds(&frames), "hello close", "the hello comes first whatever happens");
    pair.a.take(&frames[1]);
    assert!(matches!(pair.a.mux.phase(), Phase::Closed(_)));
}

// r[verify close.last]
#[test]
fn after_the_close_every_frame_is_ignored() {
    let mut pair = Pair::new();
    let late =
        [request(id(1, 0)), raw(Lane::CONTROL, 8, 0, &[0; 8]), raw(Lane::new(9), 99, 0, &[])];
    pair.b.mux.close(CloseReason::Done, "");
    let phase = pair.b.mux.phase().clone();
    assert_eq!(kinds(&pair.b.draw()), "close");
    pair.b.take_all(&late);
    assert!(pair.b.accepted.is_empty() && !pair.b.mux.has_frames());
    assert_eq!(*pair.b.mux.phase(), phase);
}

// r[verify frame.unknown]
#[test]
fn kinds_of_the_future_are_skipped_on_any_lane() {
    let mut pair = Pair::new();
    for kind in 128..=255 {
        pair.b.take(&raw(Lane::CONTROL, kind, 0xff, &[1, 2, 3]));
        pair.b.take(&raw(Lane::new(5), kind, 0xff, &[1, 2, 3]));
    }
    assert_eq!(*pair.b.mux.phase(), Phase::Open);
    assert_eq!(kinds(&pair.b.draw()), "");
}

// r[verify reply.stray]
#[test]
fn a_thousand_strays_are_borne() {
    let mut pair = Pair::new();
    strays(&mut pair, 1000, |id| raw(id.lane(), 3, 0, b"x"));
    assert_eq!(pair.a.mux.strays, 1000);
    assert_eq!(*pair.a.mux.phase(), Phase::Open);
}

#[test]
fn the_first_of_two_replies_counts() {
    let mut pair = Pair::new();
    let id = sent_by_a(&mut pair);
    pair.a.take(&raw(id.lane(), 3, 0, b"first"));
    pair.a.take(&raw(id.lane(), 3, 0, b"second"));
    assert_eq!(pair.a.mux.strays, 1);
    assert_eq!(pair.a.end_of(id), Some(End::Reply(b"first".into())));
}

#[test]
fn a_stray_reply_does_not_reach_the_next_call_of_its_slot() {
    let mut pair = Pair::new();
    strays(&mut pair, 0, request);
    let id = sent_by_a(&mut pair);
    let old = CallId::new(id.sequence() - 1, 0, Role::Connector);
    assert_eq!(old.slot(), id.slot());
    pair.a.take(&raw(old.lane(), 3, 0, b"old"));
    assert_eq!(pair.a.end_of(id), None);
    pair.b.echo_all();
    pair.drive();
    assert_eq!(pair.a.end_of(id), Some(End::Reply(Vec::new())));
}

// r[verify ping.answer]
#[test]
fn pings_are_answered_however_many_with_one_pong() {
    let mut pair = Pair::new();
    for n in 0..1000u64 {
        pair.b.take(&raw(Lane::CONTROL, 8, 0, &n.to_le_bytes()));
    }
    let frames = pair.b.draw();
    let [pong] = &frames[..] else { panic!("{}", kinds(&frames)) };
    assert_eq!(decode(pong), Frame::Pong(999));
}

/// What has no use, how much of it is no stray yet, and one frame of it.
type Stray = (&'static str, u64, fn(u64) -> OutFrame);

const STRAYS: &[Stray] = &[
    ("hasty pings", 1, |n| raw(Lane::CONTROL, 8, 0, &n.to_le_bytes())),
    ("pongs to no ping", 0, |n| raw(Lane::CONTROL, 9, 0, &n.to_le_bytes())),
    ("credit for nothing", 0, |_| raw(Lane::CONTROL, 6, 0, &[0; 12])),
    ("cancels of calls that never come", 1024, |n| {
        let id = id(1 + n, u32::try_from(n % 64).unwrap());
        made(|out| frame::encode_cancel(out, id))
    }),
    ("go-aways after the first", 1, |_| made(|out| frame::encode_go_away(out, 0, false))),
];

// r[verify flood.strays]
#[test]
fn frames_without_a_use_are_borne_but_not_any_number_of_them() {
    for &(what, more, frame) in STRAYS {
        let mut pair = Pair::new();
        let borne = 1000 + more;
        (0..borne).for_each(|n| pair.b.take(&frame(n)));
        assert_eq!(pair.b.mux.strays, 1000, "{what}");
        assert!(!pair.b.mux.is_closed(), "{what}");
        pair.b.take(&frame(borne));
        assert_eq!(pair.b.close_reason(), Some(CloseReason::Flood), "{what}");
    }
}

#[test]
fn what_is_of_use_is_no_stray_however_often_it_comes() {
    let mut pair = Pair::new();
    for n in 0..10_000u64 {
        let id = id(n + 1, 0);
        // Pings are answered, cancels have their request, and what may be skipped is skipped.
        pair.b.take(&raw(Lane::CONTROL, 8, 0, &n.to_le_bytes()));
        pair.b.take(&request(id));
        pair.b.take(&made(|out| frame::encode_cancel(out, id)));
        pair.b.take(&raw(id.lane(), 128, 0, b"taken back"));
        pair.b.end_stopped();
        pair.b.draw();
    }
    assert_eq!(pair.b.mux.strays, 0);
}

#[test]
fn cancels_of_calls_that_never_come_take_no_more_than_the_slots() {
    let mut pair = Pair::new();
    let calls = pair.b.mux.limits().calls;
    for n in 0..calls + 900 {
        let id = id(1 + u64::from(n / calls), n % calls);
        pair.b.take(&made(|out| frame::encode_cancel(out, id)));
    }
    assert_eq!(pair.b.mux.requests.slots(), calls as usize);
    assert!(!pair.b.mux.is_busy() && !pair.b.mux.has_frames());
}

#[test]
fn at_no_time_do_more_handlers_run_than_announced() {
    let limits = Limits { calls: 80, ..Limits::default() };
    let mut pair = Pair::with(Limits::default(), limits);
    for n in 0..10_000u64 {
        let id = id(n + 1, u32::try_from(n % 80).unwrap());
        pair.b.take(&request(id));
        pair.b.take(&made(|out| frame::encode_cancel(out, id)));
        assert!(pair.b.accepted.len() <= 80);
        if n % 80 == 79 {
            assert_eq!(pair.b.stopped.len(), 80);
            pair.b.end_stopped();
            pair.b.draw();
        }
    }
    assert_eq!(*pair.b.mux.phase(), Phase::Open);
}

#[test]
fn a_hello_cannot_take_back_what_every_peer_accepts() {
    let mut pair = Pair::strangers(Limits::default(), Limits::default());
    let mut hello = hello(&Limits::default(), 0);
    (hello.frame_bytes, hello.calls, hello.message_bytes, hello.metadata_bytes) = (0, 0, 0, 0);
    pair.a.take(&made(|out| frame::encode_hello(out, &hello)));
    assert_eq!(pair.a.mux.peer_limits.calls, 1);
    assert_eq!(pair.a.mux.peer_limits.frame_bytes, PeerLimits::BASE.frame_bytes);
    pair.a.call("");
    (hello.frame_bytes, hello.calls, hello.message_bytes) = (u32::MAX, u32::MAX, u32::MAX);
    let mut other = Pair::strangers(Limits::default(), Limits::default());
    other.a.take(&made(|out| frame::encode_hello(out, &hello)));
    assert_eq!(other.a.mux.peer_limits.calls, CallId::SLOTS_MAX);
    assert!(other.a.mux.peer_limits.frame_bytes < 1 << 31);
}

/// Any frames at all: no panic, and the books stay right (`take` checks them).
#[test]
fn arbitrary_frames_do_no_harm() {
    for seed in 0..200 {
        let mut random = link::Chance::seed(seed);
        let mut pair = Pair::new();
        let own = pair.b.call("");
        pair.b.draw();
        for _ in 0..100 {
            let lane = match random.below(6) {
                0 => Lane::CONTROL,
                1 => own.lane(),
                2 => Lane::new(random.next()),
                _ => id(random.below(5), random.below32(3)).lane(),
            };
            let kind = [2, 3, 4, 5, 7, 10, random.byte()][random.size(7)];
            let rest = match kind {
                2 => [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 7].to_vec(),
                4 => vec![1, 0, random.byte() % 3, 0],
                7 => id(random.below(5), random.below32(3)).lane().number().to_le_bytes().into(),
                _ => random.next().to_le_bytes().into(),
            };
            let lane = if matches!(kind, 7 | 10) { Lane::CONTROL } else { lane };
            pair.b.take(&raw(lane, kind, random.byte() & 3, &rest));
            match random.below(4) {
                0 => pair.b.echo_all(),
                1 => pair.b.end_stopped(),
                2 => drop(pair.b.draw_batch()),
                _ => {}
            }
        }
    }
}
