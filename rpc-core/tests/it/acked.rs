//! A transport that waits for acknowledgements, as those of datagrams do: it sends nothing while four
//! frames are under way, and hears of what has arrived only where it receives.

use std::{
    collections::VecDeque,
    future::Future,
    io, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

use rpc_core::{
    Channel, Server,
    testing::conformance,
    transport::{
        Address, Batch, Connector, InFrame, Inbox, Listener, OutFrame, Payload, Peer, Received,
        Transport, TransportError,
    },
};
use tokio::time::Instant;

use crate::rig::until;

/// Frames that may be under way.
const WINDOW: usize = 4;

/// One direction.
#[derive(Default)]
struct Way {
    frames: VecDeque<OutFrame>,
    /// How many have arrived.
    arrived: usize,
    finished: bool,
    /// Whether the end has arrived.
    finish_arrived: bool,
    gone: bool,
    /// The task that sends, to hear of arrivals, and the one that receives.
    sender: Option<Waker>,
    receiver: Option<Waker>,
}

#[derive(Default, Clone)]
struct Shared(Arc<Mutex<Way>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Way> {
        self.0.lock().unwrap()
    }

    /// Changes it, then wakes both sides.
    fn change<R>(&self, change: impl FnOnce(&mut Way) -> R) -> R {
        let mut way = self.lock();
        let result = change(&mut way);
        let wakers = [way.sender.take(), way.receiver.take()];
        drop(way);
        wakers.into_iter().flatten().for_each(Waker::wake);
        result
    }
}

/// One end.
struct Acked {
    outgoing: Shared,
    incoming: Shared,
    sent: usize,
    /// What it has heard of: how many frames have arrived, whether the end has.
    heard: (usize, bool),
    waiting: Option<Waker>,
    /// Where it notes whether it was dropped with everything arrived.
    in_order: Arc<Mutex<Vec<bool>>>,
}

fn pair(in_order: &Arc<Mutex<Vec<bool>>>) -> (Acked, Acked) {
    let (a, b) = (Shared::default(), Shared::default());
    let end = |outgoing: &Shared, incoming: &Shared| Acked {
        outgoing: outgoing.clone(),
        incoming: incoming.clone(),
        sent: 0,
        heard: (0, false),
        waiting: None,
        in_order: Arc::clone(in_order),
    };
    (end(&a, &b), end(&b, &a))
}

impl Acked {
    fn is_lost(&self) -> bool {
        let way = self.outgoing.lock();
        way.gone && !way.finish_arrived
    }

    /// Takes acknowledgements, and whoever waits for them is woken.
    fn listen(&mut self, cx: &mut Context<'_>) {
        let mut way = self.outgoing.lock();
        let now = (way.arrived, way.finish_arrived);
        way.sender = Some(cx.waker().clone());
        let gone = way.gone;
        drop(way);
        if mem::replace(&mut self.heard, now) != now || gone {
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Transport for Acked {
    fn peer(&self) -> Peer {
        Peer::new(Address::Unnamed)
    }

    fn frame_bytes(&self) -> usize {
        1120
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        if self.is_lost() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        while self.sent < self.heard.0 + WINDOW {
            let Some(frame) = batch.next_frame() else { return Poll::Ready(Ok(())) };
            self.sent += 1;
            self.outgoing.change(|way| way.frames.push_back(frame));
        }
        if batch.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        self.listen(cx);
        let frames = mem::take(&mut self.incoming.lock().frames);
        if !frames.is_empty() {
            self.incoming.change(|way| way.arrived += frames.len());
            for OutFrame { lane, end, payload, .. } in frames {
                let (bytes, limit) = (payload.len(), inbox.frame_bytes_max());
                if bytes > limit {
                    return Poll::Ready(Err(TransportError::FrameTooLarge { bytes, limit }));
                }
                inbox.push(InFrame { lane, end, payload: Payload::Owned(payload) });
            }
            return Poll::Ready(Ok(Received::Some));
        }
        let mut way = self.incoming.lock();
        if way.finished {
            drop(way);
            self.incoming.change(|way| way.finish_arrived = true);
            return Poll::Ready(Ok(Received::End));
        }
        if way.gone {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionReset).into()));
        }
        way.receiver = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.outgoing.lock().finished {
            self.outgoing.change(|way| way.finished = true);
        }
        if self.heard == (self.sent, true) {
            return Poll::Ready(Ok(()));
        }
        if self.is_lost() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.waiting = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Acked {
    fn drop(&mut self) {
        self.in_order.lock().unwrap().push(self.heard == (self.sent, true));
        self.outgoing.change(|way| way.gone = true);
        self.incoming.change(|way| way.gone = true);
    }
}

/// The kit polls an end as a connection does, so that it takes acknowledgements while it sends.
#[tokio::test(start_paused = true)]
async fn the_kit_lets_a_transport_hear_from_the_other_end() {
    conformance::run(|| async { pair(&Arc::default()) }).await;
}

/// Both ends of one connection, to be accepted and to be connected to.
struct One(Mutex<Option<Acked>>);

impl Listener for One {
    type Transport = Acked;

    fn local_addr(&self) -> Address {
        Address::Unnamed
    }

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Acked>> {
        self.0.lock().unwrap().take().map_or(Poll::Pending, |end| Poll::Ready(Ok(end)))
    }
}

impl Connector for One {
    type Transport = Acked;

    fn target(&self) -> Address {
        Address::Unnamed
    }

    async fn connect(&self) -> io::Result<Acked> {
        self.0.lock().unwrap().take().ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }
}

#[rpc_core::service]
trait Lab {
    async fn large(&self, bytes: u32) -> Vec<u8>;
}

struct Bench;

impl Lab for Bench {
    async fn large(&self, bytes: u32) -> Vec<u8> {
        vec![7; bytes as usize]
    }
}

/// The last frames, and the end, need acknowledgements like all others.
#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_still_hears_what_it_waits_for() {
    let in_order = Arc::default();
    let (client, server) = pair(&in_order);
    let end = |end| One(Mutex::new(Some(end)));
    let server =
        Server::builder().service(LabServer::new(Bench)).listen(end(server)).start().unwrap();
    let began = Instant::now();
    let channel = Channel::connect(end(client)).await.unwrap();
    let lab = LabClient::new(channel);
    assert_eq!(lab.large(100_000).await.unwrap().len(), 100_000);
    // More frames than may be under way at a time are left to be sent when it is closed.
    let mut calls: Vec<_> = (0..20).map(|_| lab.large(1)).collect();
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(calls.iter_mut().all(|call| Pin::new(call).poll(cx).is_pending()));
    drop((calls, lab));
    until("both ends are gone", || in_order.lock().unwrap().len() == 2).await;
    assert_eq!(*in_order.lock().unwrap(), [true, true]);
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody had to give up");
    drop(server);
}
