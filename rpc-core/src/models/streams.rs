//! Streams: items against the credit of their reader, readers that go, senders that break off.

use shuttle::{future::block_on, thread};

use super::{
    rig::{Dial, ECHO, ITEMS, Item, check},
    runtime::settle,
};
use crate::{
    client::Channel,
    service::{Plain, Streamed},
    streaming::Streaming,
};

fn open(channel: &Channel, items: u32) -> Streaming<Item> {
    block_on(channel.call_stream::<Streamed<Item>>(&ITEMS, (items,))).expect("a stream")
}

#[test]
fn items_come_in_order_however_their_credit_does() {
    check(|| {
        let (channel, _dial) = Dial::channel();
        let mut items = open(&channel, 5);
        // In another thread than the one that has waited for the reply.
        let reader = thread::spawn(move || {
            let mut numbers = Vec::new();
            while let Some(item) = block_on(items.next()) {
                numbers.push(item.expect("an item").0);
            }
            numbers
        });
        assert_eq!(reader.join().unwrap(), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn a_stream_is_read_by_another_thread_while_items_come() {
    check(|| {
        let (channel, _dial) = Dial::channel();
        let mut items = open(&channel, 1);
        let first = {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let mut next = std::pin::pin!(items.next());
            next.as_mut().poll(&mut cx)
        };
        if first.is_pending() {
            let reader = thread::spawn(move || block_on(items.next()).map(|item| item.unwrap().0));
            assert_eq!(reader.join().unwrap(), Some(0));
        }
    });
}

#[test]
fn a_reader_goes_while_items_come() {
    check(|| {
        let (channel, dial) = Dial::channel();
        let mut items = open(&channel, 4);
        let reader = thread::spawn(move || {
            assert_eq!(block_on(items.next()).map(|item| item.unwrap().0), Some(0));
        });
        assert_eq!(block_on(channel.call::<Plain<u32>>(&ECHO, (7,))).unwrap(), 7);
        reader.join().unwrap();
        drop(channel);
        settle();
        assert_eq!(dial.model.running(), 0);
    });
}

#[test]
fn an_abort_meets_items() {
    check(|| {
        let (sender, mut items) = Streaming::channel(1);
        let other = sender.clone();
        let sending = thread::spawn(move || {
            let _or_aborted = block_on(other.send(1));
        });
        let aborting = thread::spawn(move || {
            block_on(sender.send(2)).expect("it was aborted by nobody else");
            sender.abort("enough");
        });
        let mut got = Vec::new();
        let end = loop {
            match block_on(items.next()) {
                Some(Ok(item)) => got.push(item),
                end => break end,
            }
        };
        assert!(matches!(end, Some(Err(_))), "an abort isn't a regular end: {got:?}");
        assert!(got.contains(&2), "what was sent before the abort comes first: {got:?}");
        sending.join().unwrap();
        aborting.join().unwrap();
    });
}
