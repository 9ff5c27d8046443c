//! Single calls: answers, ids and slots, dropped callers, the end of the connection.

use super::*;

// r[verify reply.terminal]
#[test]
fn a_call_and_its_reply() {
    let mut pair = Pair::new();
    let id = pair.a.call("question");
    assert_eq!(pair.a.end_of(id), None);
    pair.drive();
    assert_eq!(pair.b.bodies(), [b"question"]);
    assert_eq!(pair.b.accepted[0].method, METHOD);
    pair.b.reply(id, "answer");
    let woken = pair.a.wakes.count();
    pair.drive();
    assert_eq!(pair.a.wakes.count(), woken + 1);
    assert_eq!(pair.a.end_of(id), Some(End::Reply(b"answer".into())));
    assert!(!pair.a.mux.is_busy() && !pair.b.mux.is_busy());
}

#[test]
fn either_side_may_call() {
    let mut pair = Pair::new();
    let (to_b, to_a) = (pair.a.call("to b"), pair.b.call("to a"));
    pair.drive();
    pair.a.echo_all();
    pair.b.echo_all();
    pair.drive();
    assert_eq!(pair.a.end_of(to_b), Some(End::Reply(b"to b".into())));
    assert_eq!(pair.b.end_of(to_a), Some(End::Reply(b"to a".into())));
}

#[test]
fn replies_come_in_any_order() {
    let mut pair = Pair::new();
    let ids: Vec<_> = (0..5u8).map(|n| pair.a.call([n])).collect();
    pair.drive();
    pair.b.accepted.reverse();
    pair.b.echo_all();
    pair.drive();
    for (n, id) in (0..5u8).zip(ids) {
        assert_eq!(pair.a.end_of(id), Some(End::Reply([n].into())));
    }
}

// r[verify reply.app-error]
#[test]
fn what_the_handler_returned_as_an_error_is_not_a_failure() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    pair.drive();
    assert!(pair.b.mux.finish(id));
    pair.b.mux.queue_reply(id, true, b"no such user");
    pair.drive();
    assert_eq!(pair.a.end_of(id), Some(End::AppError(b"no such user".into())));
}

// r[verify error.ran]
#[test]
fn an_error_says_whether_the_handler_ran() {
    for (ran, delivery) in [
        (Ran::Never, Delivery::Rejected),
        (Ran::Maybe, Delivery::Unknown),
        (Ran::Ended, Delivery::Replied),
    ] {
        let mut pair = Pair::new();
        let id = pair.a.call("");
        pair.drive();
        assert!(pair.b.mux.finish(id));
        pair.b.mux.queue_error(id, ErrorKind::UnknownMethod, ran, "");
        pair.drive();
        assert_eq!(pair.a.end_of(id), Some(End::Failed(ErrorKind::UnknownMethod, delivery)));
    }
}

/// What a layer before the handler refuses. No layer can through the public API yet.
// r[verify delivery.table]
#[test]
fn a_refusal_of_any_kind_reaches_the_caller_as_one() {
    for kind in [ErrorKind::Unauthenticated, ErrorKind::PermissionDenied, ErrorKind::Overloaded] {
        let mut pair = Pair::new();
        let id = pair.a.call("");
        pair.drive();
        assert!(pair.b.mux.finish(id));
        pair.b.mux.queue_error(id, kind, Ran::Never, "");
        pair.drive();
        assert_eq!(pair.a.end_of(id), Some(End::Failed(kind, Delivery::Rejected)));
    }
}

/// A handler that is gone although nobody has stopped it: its runtime is on its way out.
// r[verify delivery.table]
#[test]
fn a_process_that_ends_leaves_its_calls_in_doubt() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    pair.drive();
    pair.b.mux.end_stopped(id, Ran::Maybe);
    pair.drive();
    let shutting_down = End::Failed(ErrorKind::ShuttingDown, Delivery::Unknown);
    assert_eq!(pair.a.end_of(id), Some(shutting_down));
}

// r[verify error.text]
#[test]
fn the_text_of_an_error_is_kept_short_and_printable() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    pair.drive();
    let text = "\x1b".repeat(5000);
    let frame = OutFrame {
        lane: id.lane(),
        end: true,
        payload: [&[4, 0, 0, 0, 3, 0, 0, 0], text.as_bytes()].concat().into(),
    };
    pair.a.take(&frame);
    let Some(Ending::Failed { detail, .. }) = pair.a.mux.take_ending(id) else {
        panic!("the call has failed")
    };
    assert_eq!(detail, "\\u{1b}".repeat(1024));
}

#[test]
fn metadata_goes_with_the_request() {
    let mut pair = Pair::new();
    let mut metadata = Metadata::new();
    metadata.insert("tenant", b"a").unwrap();
    pair.a.call_with(&Want { metadata: metadata.clone(), ..Want::default() });
    pair.drive();
    assert_eq!(pair.b.accepted[0].metadata, metadata);
}

/// Also over a transport of datagrams, before and after the hello, which doesn't cut it.
#[test]
fn metadata_may_be_larger_than_the_frames_that_a_transport_prefers() {
    const WANTED: usize = 1120;
    let mut metadata = Metadata::new();
    metadata.insert("k", &[7; Metadata::BYTES_MAX - 4]).unwrap();
    assert_eq!(metadata.encoded_bytes(), Metadata::BYTES_MAX);
    for bytes in [0, 1, 10, WANTED, BULK_BYTES, 100_000] {
        for met in [false, true] {
            let now = Instant::now();
            let side = |role| {
                let settings = Settings { frame_bytes: WANTED, ..settings(Limits::default()) };
                Side::of(Mux::new(role, settings), now)
            };
            let mut pair = Pair { a: side(Role::Connector), b: side(Role::Acceptor), now };
            if met {
                pair.drive();
            }
            let want = Want { body: vec![5; bytes], metadata: metadata.clone(), ..Want::default() };
            pair.a.call_with(&want);
            let frames = pair.a.draw();
            let large = frames.iter().filter(|frame| frame.payload.len() > WANTED);
            let large: Vec<_> = large.map(|frame| frame.payload.len()).collect();
            let head = frame::RequestHeader::BYTES + frame::EXTENSION_HEADER_BYTES;
            let head = head + Metadata::BYTES_MAX;
            assert_eq!(large, [head + bytes.min(1)], "its first frame only");
            frames.iter().for_each(|frame| pair.b.take(frame));
            pair.drive();
            assert_eq!(pair.b.accepted[0].metadata, metadata);
            assert_eq!(pair.b.bodies(), [&want.body[..]]);
        }
    }
}

// r[verify request.check]
#[test]
fn metadata_above_the_peers_limit_fails_its_call_alone() {
    let limits = Limits { metadata_bytes: 16, ..Limits::default() };
    let mut metadata = Metadata::new();
    metadata.insert("key", &[0; 100]).unwrap();
    let want = Want { metadata, ..Want::default() };

    // Before the hello nobody knows of the limit, and the peer refuses.
    let mut pair = Pair::strangers(Limits::default(), limits);
    let id = pair.a.call_with(&want);
    pair.drive();
    assert_eq!(pair.a.end_of(id), Some(End::Failed(ErrorKind::TooLarge, Delivery::Rejected)));
    // Afterwards it isn't even sent.
    let opened = pair.a.open(&want, None);
    assert!(matches!(opened, Opened::Refused { kind: ErrorKind::TooLarge, .. }));
    assert!(!pair.a.mux.has_frames());
    pair.a.call("");
    pair.drive();
    assert_eq!(pair.b.accepted.len(), 1);
}

#[test]
fn malformed_metadata_is_the_callers_mistake() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    pair.a.draw();
    let rest = [&[0; 12][..], &[1, 0, 2, 0, 9, 9]].concat();
    let mut request = raw(id.lane(), 2, 0, &rest);
    let mut payload = request.payload.to_vec();
    payload[2] = 6;
    payload[4..8].copy_from_slice(&1000u32.to_le_bytes());
    request.payload = payload.into();
    pair.b.take(&request);
    pair.drive();
    assert_eq!(
        pair.a.end_of(id),
        Some(End::Failed(ErrorKind::MalformedRequest, Delivery::Rejected))
    );
}

// r[verify call.new] r[verify reply.handler-gone]
#[test]
fn ids_increase_strictly_and_a_slot_is_free_only_after_the_terminal_frame() {
    let mut pair = Pair::new();
    let first = pair.a.call("1");
    let second = pair.a.call("2");
    assert!(first < second && first.slot() != second.slot());
    pair.drive();
    pair.a.drop_call(first);
    pair.drive();
    let third = pair.a.call("3");
    assert!(third > second && third.slot() != first.slot(), "the handler of 1 still runs");
    pair.b.end_stopped();
    pair.drive();
    let fourth = pair.a.call("4");
    assert!(fourth > third);
    assert_eq!(fourth.slot(), first.slot());
    pair.drive();
    assert_eq!(pair.b.bodies(), [b"2", b"3", b"4"]);
}

#[test]
fn a_call_that_ended_keeps_its_slot_until_somebody_looks() {
    let mut pair = Pair::new();
    let first = pair.a.call("1");
    pair.drive();
    pair.b.echo_all();
    pair.drive();
    let second = pair.a.call("2");
    assert_ne!(second.slot(), first.slot());
    assert_eq!(pair.a.end_of(first), Some(End::Reply(b"1".into())));
    assert_eq!(pair.a.call("3").slot(), first.slot());
}

#[test]
fn no_call_is_opened_after_the_last_sequence_number() {
    let mut pair = Pair::new();
    pair.a.mux.calls.skip_to(CallId::SEQUENCE_MAX);
    let last = pair.a.call("last");
    assert!(matches!(pair.a.open(&Want::default(), None), Opened::Gone));
    assert!(!pair.a.mux.accepts_calls());
    pair.drive();
    pair.b.echo_all();
    pair.drive();
    assert_eq!(pair.a.end_of(last), Some(End::Reply(b"last".into())));
}

// ---- dropped callers

// r[verify cancel.effect]
#[test]
fn a_dropped_call_sends_cancel_once() {
    let mut pair = Pair::new();
    let id = pair.a.call("long");
    pair.drive();
    pair.a.drop_call(id);
    let frames = pair.a.draw();
    assert_eq!(kinds(&frames), "cancel");
    pair.b.take_all(&frames);
    assert_eq!(pair.b.stopped, [(id, ErrorKind::Cancelled)]);
    pair.b.end_stopped();
    pair.drive();
    assert!(!pair.a.mux.is_busy() && !pair.b.mux.is_busy());
}

#[test]
fn a_call_dropped_before_it_is_drawn_never_runs() {
    let mut pair = Pair::new();
    let before = pair.a.call("before");
    let id = pair.a.call("dropped");
    let after = pair.a.call("after");
    pair.a.drop_call(id);
    assert_eq!(pair.a.call("next").slot(), id.slot(), "the peer will never hear of it");
    let frames = pair.a.draw();
    assert_eq!(kinds(&frames), "request void request request");
    pair.b.take_all(&frames);
    assert_eq!(pair.b.bodies(), [&b"before"[..], b"after", b"next"]);
    assert!(pair.a.end_of(before).is_none() && pair.a.end_of(after).is_none());
}

#[test]
fn a_call_dropped_after_its_reply_sends_nothing() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    pair.drive();
    pair.b.echo_all();
    pair.drive();
    pair.a.drop_call(id);
    assert_eq!(kinds(&pair.a.draw()), "");
    assert!(!pair.a.mux.is_busy());
}

// r[verify cancel.late]
#[test]
fn a_reply_that_crosses_the_cancel_is_dropped() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    pair.drive();
    pair.b.echo_all();
    pair.a.drop_call(id);
    pair.drive();
    assert!(pair.b.stopped.is_empty(), "it had ended when the cancel came");
    assert!(!pair.a.mux.is_busy() && !pair.b.mux.is_busy());
    assert_eq!(pair.a.mux.strays, 0, "the peer did nothing wrong");
}

// r[verify cancel.early]
#[test]
fn a_cancel_that_overtakes_its_request_stops_it_from_running() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    let mut frames = pair.a.draw();
    pair.a.drop_call(id);
    frames.extend(pair.a.draw());
    frames.reverse();
    assert_eq!(kinds(&frames), "cancel request");
    pair.b.take_all(&frames);
    assert!(pair.b.accepted.is_empty());
    assert_eq!(kinds(&pair.b.draw_batch()), "error");
    assert!(!pair.b.mux.is_busy());
}

/// As after a pause of the whole process, when everything that came meanwhile is read at once.
#[test]
fn a_request_that_is_read_together_with_its_cancel_does_not_run() {
    let mut pair = Pair::new();
    let ids: Vec<_> = (0..3).map(|_| pair.a.call("")).collect();
    let mut frames = pair.a.draw();
    pair.a.drop_call(ids[1]);
    frames.extend(pair.a.draw());
    assert_eq!(kinds(&frames), "request request request cancel");
    for frame in &frames {
        let payload = Payload::Borrowed(&frame.payload);
        let frame = InFrame { lane: frame.lane, end: frame.end, payload };
        pair.b.mux.handle_frame(pair.now, frame);
    }
    pair.b.settle();
    let accepted: Vec<_> = pair.b.accepted.iter().map(|accepted| accepted.id).collect();
    assert_eq!(accepted, [ids[0], ids[2]]);
    assert!(pair.b.stopped.is_empty());
    let error = pair.b.draw_batch();
    assert!(matches!(decode(&error[0]), Frame::Error { ran: Ran::Never, .. }), "{}", kinds(&error));
}

// r[verify cancel.late]
#[test]
fn a_cancel_that_comes_too_late_does_not_hit_the_next_call_of_its_slot() {
    let mut pair = Pair::new();
    let old = pair.a.call("old");
    pair.drive();
    pair.a.drop_call(old);
    let cancel = pair.a.draw();
    pair.b.echo_all();
    pair.drive();
    let new = pair.a.call("new");
    assert_eq!(new.slot(), old.slot());
    let request = pair.a.draw();
    pair.b.take_all(&request);
    pair.b.take_all(&cancel);
    assert!(pair.b.stopped.is_empty());
    assert_eq!(pair.b.bodies(), [b"new"]);
}

/// P11: three calls, each dropped at any point of its life, replies crossing cancels in any order.
#[test]
fn every_interleaving_of_three_cancelled_calls_frees_everything() {
    for case in 0..4u32.pow(3) {
        let mut pair = Pair::new();
        let plan: Vec<_> = (0..3).map(|n| case / 4u32.pow(n) % 4).collect();
        let ids: Vec<_> = plan.iter().map(|_| pair.a.call("")).collect();
        for (id, _) in ids.iter().zip(&plan).filter(|(_, at)| **at == 0) {
            pair.a.drop_call(*id);
        }
        let requests = pair.a.draw();
        for (id, _) in ids.iter().zip(&plan).filter(|(_, at)| **at == 1) {
            pair.a.drop_call(*id);
        }
        let cancels = pair.a.draw();
        pair.b.take_all(&cancels);
        pair.b.take_all(&requests);
        pair.b.echo_all();
        let replies = pair.b.draw();
        for (id, _) in ids.iter().zip(&plan).filter(|(_, at)| **at == 2) {
            pair.a.drop_call(*id);
        }
        pair.a.take_all(&replies);
        for (id, at) in ids.iter().zip(&plan) {
            let ended = pair.a.end_of(*id);
            assert_eq!(ended.is_some(), *at == 3, "case {case}");
        }
        pair.drive();
        assert!(!pair.a.mux.is_busy() && !pair.b.mux.is_busy(), "case {case}");
        assert!(pair.b.mux.requests.at_rest() && pair.a.mux.strays == 0, "case {case}");
    }
}

// ---- the end of the connection

// r[verify delivery.table]
#[test]
fn when_the_connection_breaks_position_tells_what_may_have_run() {
    let mut pair = Pair::new();
    let sent = pair.a.call("sent");
    let held = pair.a.call("held");
    pair.a.mux.draw(&mut pair.a.batch);
    pair.a.batch.next_frame().unwrap();
    let queued = pair.a.call("queued");
    let large = pair.a.call(vec![0; BULK_BYTES]);
    pair.a.lose();
    assert_eq!(pair.a.end_of(sent), Some(End::Lost(Delivery::Unknown)));
    assert_eq!(pair.a.end_of(held), Some(End::Lost(Delivery::NotSent)));
    assert_eq!(pair.a.end_of(queued), Some(End::Lost(Delivery::NotSent)));
    assert_eq!(pair.a.end_of(large), Some(End::Lost(Delivery::NotSent)));
    assert!(matches!(pair.a.open(&Want::default(), None), Opened::Gone));
}

// r[verify delivery.table]
#[test]
fn a_request_that_left_but_for_its_last_byte_was_not_sent() {
    use bytes::Buf;
    for missing in [0, 1] {
        let mut pair = Pair::new();
        let id = pair.a.call("all of it, or nothing");
        pair.a.mux.draw(&mut pair.a.batch);
        pair.a.batch.advance(pair.a.batch.remaining() - missing);
        pair.a.lose();
        let delivery = [Delivery::Unknown, Delivery::NotSent][missing];
        assert_eq!(pair.a.end_of(id), Some(End::Lost(delivery)));
    }
}

#[test]
fn a_large_request_of_which_frames_are_missing_was_not_sent() {
    let mut pair = Pair::new();
    let id = pair.a.call(vec![0; 600_000]);
    assert_eq!(kinds(&pair.a.draw_batch()), "request… data… data… data…");
    pair.a.lose();
    assert_eq!(pair.a.end_of(id), Some(End::Lost(Delivery::NotSent)));

    let mut pair = Pair::new();
    let id = pair.a.call(vec![0; 600_000]);
    pair.a.draw();
    pair.a.lose();
    assert_eq!(pair.a.end_of(id), Some(End::Lost(Delivery::Unknown)));
}

#[test]
fn a_connection_that_is_lost_wakes_every_caller_once() {
    let mut pair = Pair::new();
    let ids: Vec<_> = (0..3u8).map(|n| pair.a.call([n])).collect();
    pair.a.drop_call(ids[0]);
    let woken = pair.a.wakes.count();
    pair.a.lose();
    pair.a.lose();
    assert_eq!(pair.a.wakes.count(), woken + 2);
}

#[test]
fn closing_takes_back_what_has_not_left() {
    let mut pair = Pair::new();
    let sent = pair.a.call("sent");
    pair.drive();
    let queued = pair.a.call("queued");
    let large = pair.a.call(vec![0; BULK_BYTES]);
    pair.a.mux.close(CloseReason::Done, "");
    pair.a.mux.handle_closing();
    pair.a.settle();
    assert_eq!(pair.a.end_of(sent), Some(End::Lost(Delivery::Unknown)));
    assert_eq!(pair.a.end_of(queued), Some(End::Lost(Delivery::NotSent)));
    assert_eq!(pair.a.end_of(large), Some(End::Lost(Delivery::NotSent)));
    let frames = pair.a.draw();
    assert_eq!(kinds(&frames), "void close");
    pair.b.take_all(&frames);
    assert_eq!(pair.b.bodies(), [b"sent"]);
    assert!(matches!(pair.b.mux.phase(), Phase::Closed(_)));
}

// r[verify delivery.table]
#[test]
fn a_close_takes_back_what_has_not_left_although_answers_may_still_come() {
    let mut pair = Pair::new();
    let sent = pair.a.call("sent");
    pair.drive();
    let half = pair.a.call(vec![0; 1024 * 1024]);
    pair.a.draw_batch();
    let queued = pair.a.call("queued");
    let large = pair.a.call(vec![0; BULK_BYTES]);
    pair.b.mux.close(CloseReason::Done, "");
    let close = pair.b.draw();
    pair.a.take_all(&close);
    let lost = End::Failed(ErrorKind::ConnectionLost, Delivery::NotSent);
    for id in [half, queued, large] {
        assert_eq!(pair.a.end_of(id), Some(lost.clone()));
    }
    assert_eq!(kinds(&pair.a.draw()), "void");
    assert_eq!(pair.a.end_of(sent), None, "its reply may be on the way");
    pair.a.take(&made(|out| {
        frame::framed(out, sent.lane(), true, |out| frame::encode_reply_header(out, false, false));
    }));
    assert_eq!(pair.a.end_of(sent), Some(End::Reply(Vec::new())));
}

// r[verify close.last]
#[test]
fn nothing_follows_the_close() {
    let mut pair = Pair::new();
    let ids: Vec<_> = (0..3u8).map(|n| pair.a.call([n])).collect();
    pair.drive();
    pair.b.mux.close(CloseReason::ShuttingDown, "");
    pair.b.reply(ids[0], "too late");
    pair.b.reply(ids[1], vec![0; BULK_BYTES]);
    pair.b.mux.note_stop(ids[2], ErrorKind::ShuttingDown);
    pair.b.mux.end_stopped(ids[2], Ran::Maybe);
    assert_eq!(kinds(&pair.b.draw()), "close");
    assert!(!pair.b.mux.is_busy());
}

// r[verify close.codes]
#[test]
fn the_reason_of_a_close_becomes_the_callers_error() {
    for (reason, kind) in [
        (CloseReason::ShuttingDown, ErrorKind::ShuttingDown),
        (CloseReason::TooManyConnections, ErrorKind::Overloaded),
        (CloseReason::Version, ErrorKind::IncompatiblePeer),
        (CloseReason::Flood, ErrorKind::ConnectionLost),
    ] {
        let mut pair = Pair::new();
        pair.b.mux.close(reason, "");
        pair.drive();
        let Phase::Closed(closed) = pair.a.mux.phase() else { panic!("it is closed") };
        assert_eq!(closed.kind, kind);
        assert!(closed.text.contains(reason.text()), "{}", closed.text);
    }
}
