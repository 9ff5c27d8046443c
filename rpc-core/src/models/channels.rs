//! Channels: who makes the connection, who waits for it, and what happens when it or the channel goes.

use shuttle::{future::block_on, thread};

use super::rig::{Dial, ECHO, LATE, Told, check, told};
use crate::{
    client::Channel,
    error::CloseReason,
    service::{Method, Plain},
};

fn call(channel: &Channel, method: &'static Method, number: u32) -> Told {
    told(block_on(channel.call::<Plain<u32>>(method, (number,))))
}

#[test]
fn callers_that_come_together_share_one_attempt() {
    check(|| {
        let (channel, dial) = Dial::channel();
        let callers = [1, 2].map(|number| {
            let channel = channel.clone();
            thread::spawn(move || call(&channel, &ECHO, number))
        });
        assert_eq!(call(&channel, &ECHO, 3), Told::Reply(3));
        assert_eq!(callers.map(|caller| caller.join().unwrap()), [Told::Reply(1), Told::Reply(2)]);
        assert_eq!(dial.servers.lock().unwrap().len(), 1);
    });
}

#[test]
fn a_caller_that_gives_up_leaves_the_attempt_to_others() {
    check(|| {
        let (channel, _dial) = Dial::channel();
        let (leaving, staying) = (channel.clone(), channel.clone());
        let leaving = thread::spawn(move || {
            let mut call = std::pin::pin!(leaving.call::<Plain<u32>>(&ECHO, (1,)));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let _whatever = call.as_mut().poll(&mut cx);
        });
        let staying = thread::spawn(move || call(&staying, &ECHO, 2));
        leaving.join().unwrap();
        assert_eq!(staying.join().unwrap(), Told::Reply(2));
        assert_eq!(channel.waiting(), 0);
    });
}

#[test]
fn a_connection_that_ends_is_replaced_while_calls_come() {
    check(|| {
        let (channel, dial) = Dial::channel();
        assert_eq!(call(&channel, &ECHO, 0), Told::Reply(0));
        let first = dial.servers.lock().unwrap().remove(0);
        let closing = thread::spawn(move || first.close(CloseReason::ShuttingDown));
        let other = channel.clone();
        let caller = thread::spawn(move || call(&other, &ECHO, 1));
        let told = [(2, call(&channel, &LATE, 2)), (1, caller.join().unwrap())];
        for (number, told) in told {
            assert!(matches!(told, Told::Failed(_)) || told == Told::Reply(number), "{told:?}");
        }
        closing.join().unwrap();
        // This side may not have heard of it yet. Whoever hears of it first leaves it behind.
        if !matches!(call(&channel, &ECHO, 3), Told::Reply(3)) {
            assert_eq!(call(&channel, &ECHO, 4), Told::Reply(4));
        }
    });
}

#[test]
fn a_drained_connection_is_replaced_and_no_call_is_lost() {
    check(|| {
        let (channel, dial) = Dial::channel();
        assert_eq!(call(&channel, &ECHO, 0), Told::Reply(0));
        let first = dial.servers.lock().unwrap().remove(0);
        let draining = thread::spawn(move || first.go_away());
        let other = channel.clone();
        let caller = thread::spawn(move || call(&other, &ECHO, 1));
        assert_eq!(call(&channel, &LATE, 2), Told::Reply(2));
        assert_eq!(caller.join().unwrap(), Told::Reply(1));
        draining.join().unwrap();
        assert_eq!(dial.model.begun(), 3);
    });
}

#[test]
fn the_last_handle_goes_while_a_call_is_under_way() {
    check(|| {
        let (channel, dial) = Dial::channel();
        let calling = channel.call::<Plain<u32>>(&LATE, (1,));
        let caller = thread::spawn(move || told(block_on(calling)));
        drop(channel);
        assert_eq!(caller.join().unwrap(), Told::Reply(1));
        assert_eq!(dial.servers.lock().unwrap().len(), 1);
    });
}
