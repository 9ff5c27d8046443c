//! Go-away: who counts what, what still runs, when it is over.

use super::*;

/// The count in the only frame, which is a go-away or the answer to one.
#[track_caller]
fn count_in(frames: &[OutFrame]) -> u64 {
    let [frame] = frames else { panic!("one frame, not {}", kinds(frames)) };
    match decode(frame) {
        Frame::GoAway { requests, .. } => requests,
        other => panic!("a go-away, not {other:?}"),
    }
}

/// What a driver does when a drain is over.
fn close_if_drained(side: &mut Side) -> bool {
    let drained = side.mux.is_drained();
    if drained {
        side.mux.close(CloseReason::Done, "");
        side.settle();
    }
    drained
}

// r[verify drain.count]
#[test]
fn each_side_tells_how_many_requests_it_has_sent() {
    let mut pair = Pair::new();
    for n in 0..3u8 {
        pair.a.call([n]);
    }
    pair.b.call("");
    pair.drive();
    pair.b.mux.go_away();
    let go_away = pair.b.draw();
    assert_eq!((kinds(&go_away).as_str(), count_in(&go_away)), ("go-away", 1));
    pair.a.take_all(&go_away);
    let answer = pair.a.draw();
    assert_eq!((kinds(&answer).as_str(), count_in(&answer)), ("go-away-answer", 3));
}

// r[verify drain.refrain]
#[test]
fn nothing_new_begins_on_either_side() {
    let mut pair = Pair::new();
    pair.b.mux.go_away();
    assert!(matches!(pair.b.open(&Want::default(), None), Opened::Gone));
    pair.drive();
    assert!(matches!(pair.a.open(&Want::default(), None), Opened::Gone));
    assert!(!pair.a.mux.accepts_calls() && !pair.b.mux.accepts_calls());
}

#[test]
fn requests_sent_before_the_go_away_is_known_still_run() {
    let mut pair = Pair::new();
    let early = pair.a.call("early");
    pair.drive();
    pair.b.mux.go_away();
    let go_away = pair.b.draw();
    let crossing = pair.a.call("crossing");
    let large = pair.a.call(vec![0; 500_000]);
    pair.a.take_all(&go_away);
    pair.b.echo_all();
    pair.drive();
    assert!(!pair.b.mux.is_drained(), "two requests aren't answered");
    pair.b.echo_all();
    assert!(pair.b.mux.is_drained());
    pair.drive();
    for id in [early, crossing, large] {
        assert!(matches!(pair.a.end_of(id), Some(End::Reply(_))));
    }
}

// r[verify drain.finish]
#[test]
fn it_is_drained_only_when_the_peer_has_answered_and_every_request_came_and_was_answered() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    let request = pair.a.draw();
    pair.b.mux.go_away();
    assert!(!pair.b.mux.is_drained(), "the peer hasn't said how many there are");
    let go_away = pair.b.draw();
    pair.a.take_all(&go_away);
    let answer = pair.a.draw();
    pair.b.take_all(&answer);
    assert!(!pair.b.mux.is_drained(), "a request was overtaken by the answer");
    pair.b.take_all(&request);
    assert!(!pair.b.mux.is_drained(), "it still runs");
    pair.b.reply(id, "");
    assert!(close_if_drained(&mut pair.b));
    assert!(!pair.a.mux.is_drained(), "the reply is on its way");
    pair.drive();
    assert!(matches!(pair.a.end_of(id), Some(End::Reply(_))));
}

#[test]
fn a_close_that_overtakes_replies_loses_none() {
    let mut pair = Pair::new();
    let ids = [pair.a.call("1"), pair.a.call("2"), pair.a.call("3")];
    pair.drive();
    pair.a.drop_call(ids[2]);
    pair.b.mux.go_away();
    pair.drive();
    pair.b.echo_all();
    assert!(close_if_drained(&mut pair.b));
    let mut frames = pair.b.draw();
    frames.reverse();
    assert_eq!(kinds(&frames), "close reply reply reply");
    pair.a.take_all(&frames[..2]);
    assert!(!matches!(pair.a.mux.phase(), Phase::Closed(_)));
    pair.a.take_all(&frames[2..]);
    assert!(matches!(pair.a.end_of(ids[0]), Some(End::Reply(_))));
    assert!(matches!(pair.a.end_of(ids[1]), Some(End::Reply(_))));
    assert!(close_if_drained(&mut pair.a));
    assert_eq!(kinds(&pair.a.draw()), "", "a close isn't answered");
}

// r[verify reply.late]
#[test]
fn a_close_that_overtakes_a_refusal_makes_no_stray_of_it() {
    let limits = Limits { held_bytes: 500_000, ..Limits::default() };
    let mut pair = Pair::with(Limits::default(), limits);
    for _ in 0..3 {
        pair.a.call(vec![0; 300_000]);
    }
    let refused = loop {
        let batch = pair.a.draw_batch();
        assert!(!batch.is_empty(), "one of three was refused before it had left as a whole");
        pair.b.take_all(&batch);
        if let Some(error) =
            pair.b.draw().into_iter().find(|it| matches!(decode(it), Frame::Error { .. }))
        {
            break error;
        }
    };
    pair.b.mux.close(CloseReason::Done, "bye");
    let close = pair.b.draw();
    pair.a.take_all(&close);
    pair.a.take(&refused);
    assert_eq!(pair.a.mux.strays, 0);
    // Each of those that were taken back has one answer at most.
    (0..3).for_each(|_| pair.a.take(&refused));
    assert_eq!(pair.a.mux.strays, 1);
}

#[test]
fn a_close_without_a_go_away_waits_for_the_replies_that_it_overtakes() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    pair.drive();
    pair.b.echo_all();
    let reply = pair.b.draw();
    pair.b.mux.close(CloseReason::Done, "");
    let close = pair.b.draw();
    pair.a.take_all(&close);
    assert!(!close_if_drained(&mut pair.a));
    pair.a.take_all(&reply);
    assert!(matches!(pair.a.end_of(id), Some(End::Reply(_))));
    assert!(close_if_drained(&mut pair.a), "that was all");
}

#[test]
fn a_close_with_calls_open_says_why_they_were_lost() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    pair.drive();
    pair.b.mux.close(CloseReason::Done, "bye");
    pair.drive();
    assert!(!pair.a.mux.accepts_calls());
    assert_eq!(pair.a.end_of(id), None);
    pair.a.lose();
    assert_eq!(pair.a.end_of(id), Some(End::Lost(Delivery::Unknown)));
    let Phase::Closed(closed) = pair.a.mux.phase() else { panic!("it is closed") };
    assert!(closed.text.ends_with("bye"), "{}", closed.text);
}

// r[verify drain.count]
#[test]
fn a_request_that_was_counted_is_given_up_and_not_taken_back() {
    let mut pair = Pair::new();
    for _ in 0..6 {
        pair.a.call(vec![0; 100_000]);
    }
    let id = pair.a.call(vec![0; 100_000]);
    pair.b.mux.go_away();
    let go_away = pair.b.draw();
    pair.a.take_all(&go_away);
    let first = pair.a.draw_batch();
    assert_eq!(count_in(&first[..1]), 7);
    pair.a.drop_call(id);
    let rest = pair.a.draw();
    assert!(kinds(&rest).starts_with("request… abort"));
    pair.b.take_all(&first);
    pair.b.take_all(&rest);
    assert_eq!(pair.b.accepted.len(), 6);
    pair.b.echo_all();
    assert!(pair.b.mux.is_drained());
    pair.drive();
    assert_eq!(pair.a.mux.calls.open(), 6, "the callers haven't looked yet");
}

#[test]
fn a_request_taken_back_before_the_answer_is_drawn_is_not_counted() {
    let mut pair = Pair::new();
    pair.a.call("stays");
    let id = pair.a.call("goes");
    pair.b.mux.go_away();
    let go_away = pair.b.draw();
    pair.a.take_all(&go_away);
    pair.a.drop_call(id);
    let frames = pair.a.draw();
    assert_eq!(kinds(&frames), "request void go-away-answer");
    assert_eq!(count_in(&frames[2..]), 1);
}

#[test]
fn a_go_away_waits_for_its_own_sides_hello() {
    let mut pair = Pair::strangers(Limits::default(), Limits::default());
    pair.b.mux.go_away();
    assert_eq!(kinds(&pair.b.draw()), "");
    let hello = pair.a.draw();
    pair.b.take_all(&hello);
    assert_eq!(kinds(&pair.b.draw()), "hello go-away");
}

#[test]
fn go_aways_that_cross_end_both_sides() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    pair.drive();
    pair.a.mux.go_away();
    pair.b.mux.go_away();
    pair.drive();
    assert!(!pair.a.mux.is_drained() && !pair.b.mux.is_drained());
    pair.b.echo_all();
    pair.drive();
    assert!(pair.a.end_of(id).is_some());
    assert!(pair.a.mux.is_drained() && pair.b.mux.is_drained());
}

#[test]
fn an_idle_connection_is_drained_as_soon_as_the_peer_answers() {
    let mut pair = Pair::new();
    pair.b.mux.go_away();
    pair.drive();
    assert!(pair.a.mux.is_drained() && pair.b.mux.is_drained());
    assert!(close_if_drained(&mut pair.a) && close_if_drained(&mut pair.b));
    pair.drive();
}

// r[verify drain.answer]
#[test]
fn saying_it_again_changes_nothing() {
    let mut pair = Pair::new();
    pair.b.mux.go_away();
    pair.b.mux.go_away();
    assert_eq!(kinds(&pair.b.draw()), "go-away");
    let go_away = made(|out| frame::encode_go_away(out, 0, false));
    for _ in 0..1000 {
        pair.a.take(&go_away);
    }
    assert_eq!(kinds(&pair.a.draw()), "go-away-answer", "a flood isn't amplified");
}

#[test]
fn a_request_beyond_the_count_is_refused() {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    let request = pair.a.draw();
    pair.b.take(&made(|out| frame::encode_go_away(out, 0, false)));
    pair.b.take_all(&request);
    assert!(pair.b.accepted.is_empty());
    let frames = pair.b.draw();
    pair.a.take_all(&frames);
    assert_eq!(pair.a.end_of(id), Some(End::Failed(ErrorKind::ShuttingDown, Delivery::Rejected)));
}
