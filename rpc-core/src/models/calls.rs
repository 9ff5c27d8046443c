//! Calls on one connection, their callers, and the two tasks between them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use shuttle::{
    future::block_on,
    rand::{Rng, thread_rng},
    thread,
};

use super::{
    rig::{Asking, ECHO, LATE, NEVER, Pair, Told, ask, check},
    runtime::pass,
};
use crate::{
    error::{CloseReason, Delivery},
    sync::Mutex,
};

/// Polls a call once, for nobody.
fn poll_once(call: &mut Asking) -> Poll<Told> {
    Future::poll(Pin::new(call), &mut Context::from_waker(Waker::noop()))
}

/// Whether what a caller was told fits how often the handler ran.
fn check_delivery(told: Told, number: u32, begun: u32) {
    match told {
        Told::Reply(reply) => assert_eq!((reply, begun), (number, 1)),
        Told::Gone | Told::Failed(Delivery::NotSent | Delivery::Rejected) => assert_eq!(begun, 0),
        Told::Failed(_) => assert!(begun <= 1),
    }
}

#[test]
fn every_caller_is_woken_by_its_own_reply() {
    check(|| {
        let pair = Pair::new(100);
        let client = Arc::clone(&pair.client);
        let caller = thread::spawn(move || block_on(ask(&client, &ECHO, 1)));
        assert_eq!(block_on(ask(&pair.client, &LATE, 2)), Told::Reply(2));
        assert_eq!(caller.join().unwrap(), Told::Reply(1));
        pair.client.retire();
        pair.end();
    });
}

#[test]
fn a_call_goes_from_task_to_task_while_its_reply_comes() {
    check(|| {
        let pair = Pair::acquainted(100);
        let mut call = ask(&pair.client, &ECHO, 1);
        let polled = poll_once(&mut call);
        // From here on with the waker of somebody else, at any step on the way of the reply.
        for _ in 0..thread_rng().gen_range(0..100) {
            thread::yield_now();
        }
        let told = if let Poll::Ready(told) = polled { told } else { block_on(call) };
        assert_eq!(told, Told::Reply(1));
        pair.client.retire();
        pair.end();
    });
}

#[test]
fn a_handler_is_stopped_when_its_caller_goes() {
    check(|| {
        let pair = Pair::new(100);
        let mut call = ask(&pair.client, &NEVER, 1);
        assert!(poll_once(&mut call).is_pending());
        pair.model.wait_for(1);
        drop(call);
        // Nothing else happens that could wake the two tasks between.
        pair.model.wait_for(0);
        pair.client.retire();
        pair.end();
    });
}

#[test]
fn a_call_that_waits_for_a_place_ends_at_its_deadline() {
    check(|| {
        let pair = Pair::acquainted(1);
        let mut never = ask(&pair.client, &NEVER, 1);
        assert!(poll_once(&mut never).is_pending());
        pair.model.wait_for(1);
        let mut call = ask(&pair.client, &ECHO, 2).timeout(Duration::from_secs(1));
        assert!(poll_once(&mut call).is_pending());
        let clock = thread::spawn(|| pass(Duration::from_secs(2)));
        assert_eq!(block_on(call), Told::Failed(Delivery::NotSent));
        clock.join().unwrap();
        drop(never);
        pair.client.retire();
        pair.end();
    });
}

#[test]
fn three_callers_and_the_last_place() {
    check(|| {
        let pair = Pair::acquainted(1);
        let callers = [1, 2].map(|number| {
            let client = Arc::clone(&pair.client);
            thread::spawn(move || block_on(ask(&client, &ECHO, number)))
        });
        assert_eq!(block_on(ask(&pair.client, &ECHO, 3)), Told::Reply(3));
        let told = callers.map(|caller| caller.join().unwrap());
        assert_eq!(told, [Told::Reply(1), Told::Reply(2)]);
        pair.client.retire();
        pair.end();
    });
}

#[test]
fn a_caller_that_goes_while_its_reply_comes_leaves_its_place() {
    check(|| {
        let pair = Pair::acquainted(1);
        let mut gone = ask(&pair.client, &LATE, 1);
        let _whatever = poll_once(&mut gone);
        let caller = thread::spawn(move || drop(gone));
        assert_eq!(block_on(ask(&pair.client, &ECHO, 2)), Told::Reply(2));
        caller.join().unwrap();
        assert_eq!(pair.client.leftovers(), []);
        pair.client.retire();
        pair.end();
    });
}

#[test]
fn a_caller_that_leaves_the_queue_passes_its_place_on() {
    check(|| {
        let pair = Pair::acquainted(1);
        let mut first = ask(&pair.client, &ECHO, 1);
        let mut second = ask(&pair.client, &ECHO, 2);
        let polled = poll_once(&mut first);
        let _whatever = poll_once(&mut second);
        let client = Arc::clone(&pair.client);
        let third = thread::spawn(move || block_on(ask(&client, &ECHO, 3)));
        let leaving = thread::spawn(move || drop(second));
        let told = if let Poll::Ready(told) = polled { told } else { block_on(first) };
        assert_eq!(told, Told::Reply(1));
        assert_eq!(third.join().unwrap(), Told::Reply(3));
        leaving.join().unwrap();
        assert_eq!(pair.client.leftovers(), []);
        pair.client.retire();
        pair.end();
    });
}

#[test]
fn a_close_of_either_side_meets_a_call() {
    for by_client in [true, false] {
        check(move || {
            let pair = Pair::new(100);
            let closing = Arc::clone(if by_client { &pair.client } else { &pair.server });
            let closer = thread::spawn(move || closing.close(CloseReason::ShuttingDown));
            let told = block_on(ask(&pair.client, &LATE, 1));
            closer.join().unwrap();
            let model = Arc::clone(&pair.model);
            pair.end();
            check_delivery(told, 1, model.begun());
        });
    }
}

#[test]
fn a_drain_meets_a_call() {
    check(|| {
        let pair = Pair::new(100);
        let server = Arc::clone(&pair.server);
        let drainer = thread::spawn(move || server.go_away());
        let told = block_on(ask(&pair.client, &LATE, 1));
        drainer.join().unwrap();
        let known = matches!(told, Told::Failed(Delivery::NotSent | Delivery::Rejected));
        assert!(known || matches!(told, Told::Reply(_) | Told::Gone), "lost: {told:?}");
        pair.client.retire();
        let model = Arc::clone(&pair.model);
        pair.end();
        check_delivery(told, 1, model.begun());
    });
}

#[test]
fn a_deadline_meets_a_reply() {
    check(|| {
        let pair = Pair::acquainted(1);
        let clock = thread::spawn(|| pass(Duration::from_secs(2)));
        let told = block_on(ask(&pair.client, &LATE, 1).timeout(Duration::from_secs(1)));
        assert!(matches!(told, Told::Reply(1) | Told::Failed(_)), "{told:?}");
        clock.join().unwrap();
        assert_eq!(block_on(ask(&pair.client, &ECHO, 2)), Told::Reply(2));
        pair.client.retire();
        pair.end();
    });
}

#[test]
fn a_handler_that_began_inline_moves_to_a_task_while_its_caller_goes() {
    check(|| {
        let pair = Pair::acquainted(2);
        pair.router.promote_all();
        let mut gone = ask(&pair.client, &LATE, 1);
        let _whatever = poll_once(&mut gone);
        let leaving = thread::spawn(move || drop(gone));
        assert_eq!(block_on(ask(&pair.client, &LATE, 2)), Told::Reply(2));
        assert_eq!(block_on(ask(&pair.client, &ECHO, 3)), Told::Reply(3));
        leaving.join().unwrap();
        pair.client.retire();
        pair.end();
    });
}

#[test]
fn whoever_waits_for_the_end_of_a_connection_hears_of_it() {
    check(|| {
        let pair = Pair::new(100);
        let heard = Arc::new(Mutex::new(false));
        let (origin, noted) = (Arc::clone(&pair.origin), Arc::clone(&heard));
        let waiting = thread::spawn(move || {
            block_on(origin.over());
            *noted.lock().unwrap() = true;
        });
        pair.client.retire();
        pair.end();
        waiting.join().unwrap();
        assert!(*heard.lock().unwrap());
    });
}
