//! Books that don't balance, and the promise that each of them breaks.

use super::{super::plan::Reading, *};
use crate::error::{Delivery::*, ErrorKind as Kind};

/// Runs that began, finished, panicked and were stopped.
type Runs = [u32; 4];

const NONE: Runs = [0; 4];
const FINISHED: Runs = [1, 1, 0, 0];
const PANICKED: Runs = [1, 0, 1, 0];
const STOPPED: Runs = [1, 0, 0, 1];
const RUNNING: Runs = [1, 0, 0, 0];
const TWICE: Runs = [2, 2, 0, 0];

/// Bytes of the reply of each call here.
const BYTES: usize = 20;

/// The entry of a call that may take 10 ms, and waited for longer.
fn entry(shape: Shape, [began, finished, panicked, stopped]: Runs, end: End) -> Entry {
    let call = CallPlan {
        channel: 0,
        service: 0,
        shape,
        bytes: [10, BYTES],
        idempotent: false,
        metadata: false,
        patience: Patience::Timeout(Duration::from_millis(10)),
        leave: Leave::Never,
        reading: Reading::default(),
    };
    let told = Told { end, text: reply_text(0, BYTES), waited: Duration::from_millis(11) };
    let told = Some(told);
    Entry {
        call,
        peaceful: false,
        late: LATE,
        began,
        finished,
        panicked,
        stopped,
        mangled: None,
        told,
    }
}

fn verdict(entry: &Entry) -> Option<Promise> {
    entry.judge(0).err().map(|broken| broken.promise)
}

#[test]
fn books_that_balance_are_accepted() {
    for (shape, runs, end) in [
        (Shape::Echo, FINISHED, End::Value),
        (Shape::Fail, FINISHED, End::AppError),
        (Shape::Oneway(Duration::ZERO), STOPPED, End::Left),
        (Shape::Oneway(Duration::ZERO), NONE, End::Left),
        (Shape::Stream(Flow::Both, 3), FINISHED, End::Value),
        (Shape::Stream(Flow::Endless, 3), FINISHED, End::Failed(Kind::DeadlineExceeded, Unknown)),
        (Shape::Echo, NONE, End::Dropped),
        (Shape::Echo, STOPPED, End::Dropped),
        (Shape::Panic, PANICKED, End::Failed(Kind::HandlerPanicked, Replied)),
        (Shape::LargeReply, FINISHED, End::Failed(Kind::TooLarge, Replied)),
        (Shape::LargeRequest, NONE, End::Failed(Kind::TooLarge, NotSent)),
        (Shape::UnknownMethod, NONE, End::Failed(Kind::UnknownMethod, Rejected)),
        (Shape::Malformed, NONE, End::Failed(Kind::MalformedRequest, Rejected)),
        (Shape::Forever, STOPPED, End::Failed(Kind::DeadlineExceeded, Unknown)),
        (Shape::Echo, NONE, End::Failed(Kind::DeadlineExceeded, NotSent)),
        (Shape::Echo, FINISHED, End::Failed(Kind::ConnectionLost, Unknown)),
        (Shape::Echo, NONE, End::Failed(Kind::ConnectionLost, NotSent)),
        (Shape::Echo, NONE, End::Failed(Kind::ShuttingDown, Rejected)),
    ] {
        assert_eq!(verdict(&entry(shape, runs, end)), None, "{shape:?}, {runs:?}, {end}");
    }
}

#[test]
fn each_lie_is_found_and_named() {
    let failed = End::Failed;
    for (shape, runs, end, promise) in [
        (Shape::Echo, TWICE, End::Value, Promise::Once),
        (Shape::Echo, TWICE, End::Dropped, Promise::Once),
        (Shape::Echo, NONE, End::Value, Promise::Answered),
        (Shape::Echo, STOPPED, End::Value, Promise::Answered),
        (Shape::Echo, RUNNING, End::Value, Promise::Answered),
        (Shape::Echo, FINISHED, End::AppError, Promise::Answered),
        (Shape::Fail, FINISHED, End::Value, Promise::Answered),
        (Shape::Echo, FINISHED, End::Left, Promise::Answered),
        (Shape::Oneway(Duration::ZERO), TWICE, End::Left, Promise::Once),
        (Shape::Panic, PANICKED, End::Value, Promise::Answered),
        (Shape::Stream(Flow::Down, 3), NONE, End::Value, Promise::Answered),
        (Shape::Stream(Flow::Endless, 3), FINISHED, End::Value, Promise::Answered),
        (Shape::Echo, FINISHED, failed(Kind::ConnectionLost, NotSent), Promise::NotSent),
        (Shape::Echo, STOPPED, failed(Kind::DeadlineExceeded, NotSent), Promise::NotSent),
        (Shape::Echo, RUNNING, failed(Kind::ShuttingDown, Rejected), Promise::Rejected),
        (Shape::Panic, NONE, failed(Kind::HandlerPanicked, Replied), Promise::Replied),
        (Shape::LargeReply, STOPPED, failed(Kind::TooLarge, Replied), Promise::Replied),
        (Shape::Echo, FINISHED, failed(Kind::HandlerPanicked, Replied), Promise::Cause),
        (Shape::Echo, NONE, failed(Kind::TooLarge, NotSent), Promise::Cause),
        (Shape::Echo, NONE, failed(Kind::UnknownMethod, Rejected), Promise::Cause),
        (Shape::Echo, NONE, failed(Kind::Overloaded, NotSent), Promise::Cause),
        (Shape::Echo, NONE, failed(Kind::Cancelled, Rejected), Promise::Cause),
        (Shape::Echo, FINISHED, failed(Kind::MalformedReply, Replied), Promise::Cause),
    ] {
        let found = verdict(&entry(shape, runs, end));
        assert_eq!(found, Some(promise), "{shape:?}, {runs:?}, {end}");
    }
}

#[test]
fn another_calls_reply_is_found() {
    let mut swapped = entry(Shape::Echo, FINISHED, End::Value);
    swapped.told.as_mut().unwrap().text = reply_text(1, BYTES);
    assert_eq!(verdict(&swapped), Some(Promise::Answered));
}

#[test]
fn a_deadline_that_was_early_is_found() {
    let late = entry(Shape::Echo, NONE, End::Failed(Kind::DeadlineExceeded, NotSent));
    let mut early = late.clone();
    early.told.as_mut().unwrap().waited = Duration::from_millis(9);
    let mut endless = late.clone();
    endless.call.patience = Patience::Endless;
    assert_eq!(
        [&late, &early, &endless].map(verdict),
        [None, Some(Promise::Cause), Some(Promise::Cause)]
    );
}

#[test]
fn a_call_that_nothing_holds_up_and_that_takes_too_long_is_found() {
    let mut lost = entry(Shape::Echo, FINISHED, End::Failed(Kind::DeadlineExceeded, Unknown));
    lost.call.patience = Patience::Usual;
    lost.told.as_mut().unwrap().waited = Duration::from_secs(21);
    assert_eq!(verdict(&lost), None);
    lost.peaceful = true;
    assert_eq!(verdict(&lost), Some(Promise::Ends));
}

#[test]
fn a_call_that_ends_long_after_its_deadline_is_found() {
    for end in [End::Value, End::Failed(Kind::DeadlineExceeded, Unknown)] {
        let mut late = entry(Shape::Echo, FINISHED, end);
        late.told.as_mut().unwrap().waited = Duration::from_secs(5);
        assert_eq!(verdict(&late), None, "{end}");
        late.told.as_mut().unwrap().waited = Duration::from_secs(6);
        assert_eq!(verdict(&late), Some(Promise::Ends), "{end}");
    }
}

#[test]
fn the_time_of_a_call_begins_anew_with_each_item_that_is_sent() {
    let late = |flow, end, millis| {
        let mut late = entry(Shape::Stream(flow, 3), FINISHED, end);
        late.late = Duration::ZERO;
        late.told.as_mut().unwrap().waited = Duration::from_millis(millis);
        verdict(&late)
    };
    for end in [End::Value, End::Failed(Kind::DeadlineExceeded, Unknown)] {
        assert_eq!([late(Flow::Up, end, 40), late(Flow::Down, end, 10)], [None, None]);
        let found = [late(Flow::Up, end, 41), late(Flow::Down, end, 11)];
        assert_eq!(found, [Some(Promise::Ends); 2], "{end}");
    }
}

#[test]
fn a_call_that_ran_and_was_never_polled_is_found() {
    let mut unpolled = entry(Shape::Echo, NONE, End::Dropped);
    unpolled.call.leave = Leave::AfterPolls(0);
    assert_eq!(verdict(&unpolled), None);
    unpolled.began = 1;
    assert_eq!(verdict(&unpolled), Some(Promise::NotSent));
}

#[test]
fn a_call_that_a_drain_lost_is_found() {
    for delivery in [NotSent, Unknown] {
        let mut lost = entry(Shape::Echo, NONE, End::Failed(Kind::ConnectionLost, delivery));
        lost.peaceful = true;
        assert_eq!(verdict(&lost), Some(Promise::Drain));
    }
}

#[test]
fn a_one_way_call_that_a_drain_lost_is_found() {
    let mut left = entry(Shape::Oneway(Duration::ZERO), NONE, End::Left);
    let found = |left: &Entry| {
        let ledger = Ledger { entries: Mutex::new(vec![left.clone()]), late: LATE };
        ledger.judge_left().err().map(|broken| broken.promise)
    };
    assert_eq!(found(&left), None);
    left.peaceful = true;
    assert_eq!(found(&left), None, "its deadline may have passed");
    left.call.patience = Patience::Usual;
    assert_eq!(found(&left), Some(Promise::Drain));
    left.began = 1;
    assert_eq!(found(&left), None);
}

#[test]
fn idempotent_calls_may_run_twice_but_not_after_they_said_that_they_never_did() {
    let mut twice = entry(Shape::Echo, TWICE, End::Value);
    twice.call.idempotent = true;
    assert_eq!(verdict(&twice), None);
    twice.told.as_mut().unwrap().end = End::Failed(Kind::ConnectionLost, NotSent);
    assert_eq!(verdict(&twice), Some(Promise::NotSent));
}
