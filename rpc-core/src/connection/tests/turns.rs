//! How often the driver gets its turn, and that it looks at the time however much there is to do.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::{Context, Wake},
};

use bytes::Buf;
use tokio::runtime::Builder;

use super::*;
use crate::{
    outbox::Batch,
    transport::{Address, Inbox, Peer, Received, TransportError},
};

/// A peer of which parts of a frame come as fast as they are read, and that takes everything.
struct Flood;

impl Transport for Flood {
    fn peer(&self) -> Peer {
        Peer::new(Address::Memory("flood".into()))
    }

    fn frame_bytes(&self) -> usize {
        65_536
    }

    fn poll_send(&mut self, _: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        batch.advance(batch.remaining());
        Poll::Ready(Ok(()))
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        _: &mut Context<'_>,
        _: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        Poll::Ready(Ok(Received::Part))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_met_while_input_never_ends() {
    let (client, driving) = drive(Role::Connector, Flood);
    let mut calling = pin!(call(&client, 10));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(calling.as_mut().poll(&mut cx).is_pending());
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(calling.as_mut().poll(&mut cx).is_pending(), "there is time left");
    tokio::time::advance(Duration::from_secs(61)).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(calling.as_mut().poll(&mut cx).is_ready());
    driving.abort();
}

#[tokio::test(start_paused = true)]
async fn a_driver_is_not_woken_by_the_replies_that_it_makes_itself() {
    let (near, far) = pair();
    let (client, _driving) = drive(Role::Connector, near);
    let (_server, mut driver) = driver(Role::Acceptor, far);
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let _serving = tokio::spawn(poll_fn(move |cx| {
        counted.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut driver).poll(cx)
    }));
    call(&client, 10).await;
    for _ in 0..3 {
        // Whatever is still to be done is done.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let before = turns.load(Ordering::Relaxed);
        call(&client, 10).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(turns.load(Ordering::Relaxed) - before, 1);
    }
}

/// Counts how often a task wakes itself while it is polled.
struct SelfWakes {
    task: Waker,
    is_polled: AtomicBool,
    count: AtomicUsize,
}

impl Wake for SelfWakes {
    fn wake(self: Arc<Self>) {
        let itself = usize::from(self.is_polled.load(Ordering::Relaxed));
        self.count.fetch_add(itself, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

#[tokio::test(start_paused = true)]
async fn who_calls_alone_is_not_kept_waiting_for_others() {
    let (near, far) = pair();
    let (_server, _serving) = drive(Role::Acceptor, far);
    let (client, mut driver) = driver(Role::Connector, near);
    // As in a runtime of several threads.
    driver.steps_freely = false;
    let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let (is_polled, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let wakes = Arc::new(SelfWakes { task, is_polled, count });
    let waker = Waker::from(Arc::clone(&wakes));
    let count = || wakes.count.swap(0, Ordering::Relaxed);
    let mut driving = poll_fn(|_| {
        wakes.is_polled.store(true, Ordering::Relaxed);
        let polled = Pin::new(&mut driver).poll(&mut Context::from_waker(&waker));
        wakes.is_polled.store(false, Ordering::Relaxed);
        polled
    });
    let calls = async {
        // Until both sides know each other.
        call(&client, 10).await;
        count();
        for _ in 0..3 {
            call(&client, 10).await;
            assert_eq!(count(), 0);
        }
        // One of them before it sends, so that they go together, and one when both are answered.
        tokio::join!(call(&client, 10), call(&client, 10));
        assert_eq!(count(), 2);
    };
    tokio::select! {
        biased;
        _ = &mut driving => panic!("the connection ended"),
        () = calls => {}
    }
}

#[test]
fn a_driver_steps_freely_where_there_is_one_thread() {
    let steps_freely = || driver(Role::Connector, pair().0).1.steps_freely;
    let runtime =
        |builder: &mut Builder| builder.build().unwrap().block_on(async { steps_freely() });
    assert!(runtime(&mut Builder::new_current_thread()));
    assert!(runtime(Builder::new_multi_thread().worker_threads(1)));
    assert!(!runtime(Builder::new_multi_thread().worker_threads(2)));
    assert!(!steps_freely(), "nobody knows where it will run");
}
