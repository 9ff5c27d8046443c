//! Senders that give up, or whose tasks panic: half a stream never looks like all of it, in either
//! direction. One that is dropped has sent everything.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rpc_core::{Delivery, ErrorKind, RpcError, StreamSender, Streaming};
use tokio::{task::yield_now, time::timeout};

use crate::rig::{Rig, check, rig, until};

#[rpc_core::service]
trait Relay {
    async fn sum(&self, items: Streaming<u32>) -> u32;
    async fn echo(&self, items: Streaming<u32>) -> Streaming<u32>;
    async fn make(&self, count: u32, how: u8) -> Streaming<u32>;
}

/// What the reader of `echo`'s argument got.
type Seen = Arc<Mutex<Vec<Result<u32, ErrorKind>>>>;

#[derive(Clone, Default)]
struct Relays(Seen);

impl Relay for Relays {
    async fn sum(&self, mut items: Streaming<u32>) -> u32 {
        let mut sum = 0;
        while let Some(item) = items.next().await {
            sum += item.expect("a handler is stopped before it sees this");
        }
        sum
    }
    async fn echo(&self, mut items: Streaming<u32>) -> Streaming<u32> {
        let (sender, echoed) = Streaming::channel(1);
        let seen = Arc::clone(&self.0);
        tokio::spawn(async move {
            while let Some(item) = items.next().await {
                seen.lock().unwrap().push(item.as_ref().map(|n| *n).map_err(RpcError::kind));
                if let Ok(item) = item {
                    let _gone = sender.send(item).await;
                }
            }
        });
        echoed
    }
    async fn make(&self, count: u32, how: u8) -> Streaming<u32> {
        let (sender, items) = Streaming::channel(2);
        tokio::spawn(send(sender, count, End::ALL[usize::from(how)]));
        items
    }
}

/// What becomes of a sender.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Drop,
    Abort,
    Panic,
    ThreadPanics,
}

impl End {
    const ALL: [Self; 4] = [Self::Drop, Self::Abort, Self::Panic, Self::ThreadPanics];
    const BROKEN: [Self; 3] = [Self::Abort, Self::Panic, Self::ThreadPanics];

    /// The error of the stream, and what it says.
    fn error(self, panicked: ErrorKind) -> (ErrorKind, &'static str) {
        match self {
            Self::Abort => (ErrorKind::Cancelled, "aborted: the disk is gone"),
            _ => (panicked, "panicked"),
        }
    }
}

/// Sends numbers, and then ends.
async fn send(sender: StreamSender<u32>, count: u32, end: End) {
    for n in 0..count {
        if sender.send(n).await.is_err() {
            return;
        }
    }
    match end {
        End::Drop => {}
        End::Abort => sender.abort("the disk is gone"),
        End::Panic => panic!("the producer of a stream panics, as a test wants it"),
        End::ThreadPanics => {
            let thread = thread::spawn(move || {
                let _sender = sender;
                panic!("the thread of a producer panics, as a test wants it");
            });
            thread.join().unwrap_err();
        }
    }
}

async fn relay() -> (Rig, RelayClient, Seen) {
    let relays = Relays::default();
    let rig = rig(RelayServer::new(relays.clone()), 16).await;
    let client = RelayClient::new(rig.channel.clone());
    (rig, client, relays.0)
}

fn sending(count: u32, end: End) -> Streaming<u32> {
    let (sender, items) = Streaming::channel(1);
    tokio::spawn(send(sender, count, end));
    items
}

/// Reads numbers up to the end, and returns what that was.
async fn read(items: &mut Streaming<u32>, count: u32) -> Option<RpcError> {
    for n in 0..count {
        assert_eq!(items.next().await, Some(Ok(n)), "what was sent before arrives");
    }
    let end = items.next().await.map(|end| end.expect_err("an item that nobody sent"));
    assert_eq!(items.next().await, None, "nothing comes after the end");
    end
}

#[tokio::test]
async fn arguments_that_break_off_fail_their_call() {
    let (rig, client, _) = relay().await;
    for count in [0, 1, 1_000, 5_000] {
        let sum = client.sum(sending(count, End::Drop)).await.unwrap();
        assert_eq!(u64::from(sum), u64::from(count) * u64::from(count.saturating_sub(1)) / 2);
        for end in End::BROKEN {
            let error = client.sum(sending(count, end)).await.unwrap_err();
            let (kind, text) = end.error(ErrorKind::MalformedRequest);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }
    drop((client, rig.channel));
    assert!(rig.server.shutdown(Duration::from_secs(5)).await, "nothing is left");
}

#[tokio::test]
async fn arguments_that_break_off_under_a_reply_are_an_error_for_both_sides() {
    for end in End::BROKEN {
        let (_rig, client, seen) = relay().await;
        let (sender, items) = Streaming::channel(1);
        let mut echoed = client.echo(items).await.unwrap();
        for n in 0..10 {
            sender.send(n).await.unwrap();
            assert_eq!(echoed.next().await, Some(Ok(n)));
        }
        tokio::spawn(send(sender, 0, end));
        let (kind, text) = end.error(ErrorKind::MalformedRequest);
        let error = echoed.next().await.unwrap().unwrap_err();
        check(&error, kind, Delivery::Unknown);
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(echoed.next().await, None);
        until("the handler's reader has its end", || seen.lock().unwrap().len() == 11).await;
        let mut seen = seen.lock().unwrap();
        assert_eq!(seen.pop(), Some(Err(ErrorKind::Cancelled)), "half of it isn't all of it");
        assert!(seen.iter().all(Result::is_ok));
    }
}

#[tokio::test]
async fn replies_that_break_off_are_an_error_after_what_came_before() {
    let (_rig, client, _) = relay().await;
    for (how, end) in (0..).zip(End::ALL) {
        for count in [0, 1, 1_000, 5_000] {
            let mut items = client.make(count, how).await.unwrap();
            let error = read(&mut items, count).await;
            if end == End::Drop {
                assert_eq!(error, None);
                continue;
            }
            let error = error.expect("half of it isn't all of it");
            let (kind, text) = end.error(ErrorKind::HandlerPanicked);
            check(&error, kind, Delivery::Replied);
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}

#[tokio::test]
async fn within_a_process_a_sender_that_breaks_off_is_an_error_as_well() {
    for end in End::ALL {
        let error = read(&mut sending(100, end), 100).await;
        let kind = error.as_ref().map(RpcError::kind);
        let broken = (end != End::Drop).then(|| end.error(ErrorKind::HandlerPanicked).0);
        assert_eq!(kind, broken, "{end:?}");
    }
}

#[tokio::test]
async fn an_abort_needs_no_room_and_ends_the_stream_for_clones_too() {
    let (sender, mut items) = Streaming::channel(1);
    let clone = sender.clone();
    sender.send(0_u32).await.unwrap();
    let waiting = tokio::spawn({
        let clone = clone.clone();
        async move { clone.send(1).await }
    });
    yield_now().await;
    sender.abort("enough");
    let error = read(&mut items, 1).await.expect("the clones haven't sent everything");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(waiting.await.unwrap(), Err(1), "it comes back");
    assert_eq!(clone.send(2).await, Err(2));
    clone.closed().await;
    drop(clone);
    assert_eq!(items.next().await, None);
}

#[tokio::test]
async fn an_abort_wakes_a_reader_that_waits() {
    let (sender, mut items) = Streaming::<u32>::channel(1);
    let clone = sender.clone();
    let reader = tokio::spawn(async move { read(&mut items, 0).await });
    yield_now().await;
    sender.abort("enough");
    let error = timeout(Duration::from_secs(10), reader).await.expect("it is woken").unwrap();
    assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::Cancelled));
    drop(clone);
}

#[tokio::test]
async fn of_several_senders_the_last_drop_is_the_end() {
    let (_rig, client, _) = relay().await;
    let (sender, items) = Streaming::channel(1);
    for n in 1..=10 {
        let sender = sender.clone();
        tokio::spawn(async move { sender.send(n).await.unwrap() });
    }
    drop(sender);
    assert_eq!(client.sum(items).await.unwrap(), 55);
}
