//! How often the driver gets its turn, and that it looks at the time however much there is to do.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::atomic::{AtomicUsize, Ordering},
    task::Context,
};

use bytes::Buf;

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
