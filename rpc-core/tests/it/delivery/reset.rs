//! Row 45: a transport whose peer doesn't know the connection any more, and that knows from where on
//! nothing of it can have arrived.

use std::{
    io,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Buf;
use rpc_core::{
    Channel, Counters, Delivery, ErrorKind,
    transport::{Address, Batch, Connector, Inbox, Peer, Received, Transport, TransportError},
};

use super::{LabClient, Running, failure, runs_of, settle};
use crate::raw::hex;

/// What is sent into a connection that nobody is at the other end of.
#[derive(Default)]
struct Void {
    /// The bytes, without a preface, so that each has the position that batches say.
    bytes: Vec<u8>,
    /// How many it takes in all.
    room: usize,
    reset: Option<Option<u64>>,
    waker: Option<Waker>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Void>>);

impl Shared {
    fn with<R>(&self, change: impl FnOnce(&mut Void) -> R) -> R {
        let mut void = self.0.lock().unwrap();
        let result = change(&mut void);
        let waker = void.waker.take();
        drop(void);
        waker.into_iter().for_each(Waker::wake);
        result
    }

    fn sent(&self) -> usize {
        self.0.lock().unwrap().bytes.len()
    }

    /// What the peer would have run of the bytes before `position`.
    async fn runs_before(&self, position: usize) -> Vec<usize> {
        let preface = hex("8952 5043 0d0a 1a01");
        let bytes = self.0.lock().unwrap().bytes[..position].to_vec();
        runs_of(&[preface, bytes].concat()).await
    }
}

impl Transport for Shared {
    fn peer(&self) -> Peer {
        Peer::new(Address::Unnamed)
    }

    fn frame_bytes(&self) -> usize {
        64 * 1024
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        let mut void = self.0.lock().unwrap();
        while !batch.is_empty() && void.bytes.len() < void.room {
            let piece = batch.chunk();
            let count = piece.len().min(void.room - void.bytes.len());
            void.bytes.extend_from_slice(&piece[..count]);
            batch.advance(count);
            assert_eq!(batch.position(), void.bytes.len() as u64);
        }
        void.waker = Some(cx.waker().clone());
        if batch.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        _: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        let mut void = self.0.lock().unwrap();
        void.waker = Some(cx.waker().clone());
        let Some(never_ran_from) = void.reset else { return Poll::Pending };
        let reason = "it has started anew".into();
        Poll::Ready(Err(TransportError::Reset { reason, never_ran_from }))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Connector for Shared {
    type Transport = Self;

    fn target(&self) -> Address {
        Address::Name("the void".into())
    }

    async fn connect(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
}

/// Four calls: three that were sent, and where each ends, and one that has not left as a whole.
struct Scene {
    void: Shared,
    channel: Channel,
    calls: Vec<Running>,
    ends: Vec<usize>,
}

impl Scene {
    /// The second call is large.
    async fn set() -> Self {
        let void = Shared::default();
        void.with(|void| void.room = usize::MAX);
        let channel = Channel::builder().no_timeout().connect(void.clone()).await.unwrap();
        let lab = LabClient::new(channel.clone());
        let (mut calls, mut ends) = (Vec::new(), Vec::new());
        for (number, bytes) in [1, 100_000, 3, 100_004].into_iter().enumerate() {
            if number == 3 {
                void.with(|void| void.room = void.bytes.len() + 70_000);
            }
            calls.push(tokio::spawn(lab.echo(vec![7; bytes])));
            settle().await;
            ends.push(void.sent());
        }
        Self { void, channel, calls, ends }
    }

    /// What the calls end with when the transport says this.
    async fn reset(&mut self, never_ran_from: Option<usize>) -> Vec<Delivery> {
        let position = never_ran_from.map(|position| position as u64);
        self.void.with(|void| void.reset = Some(position));
        let mut deliveries = Vec::new();
        for call in &mut self.calls {
            let (kind, delivery) = failure(call).await;
            assert_eq!(kind, ErrorKind::ConnectionLost);
            deliveries.push(delivery);
        }
        deliveries
    }
}

// r[verify delivery.table] r[verify delivery.reset]
#[tokio::test(start_paused = true)]
async fn row_45_a_request_that_ends_behind_where_the_peer_can_have_heard_of_it_never_ran() {
    use Delivery::{NotSent, Rejected, Unknown};
    // Each call: whether it ends behind the position, counted from the end of the call before.
    for (behind, more, expected) in [
        (0, 0, [Unknown, Rejected, Rejected, NotSent]),
        (1, 0, [Unknown, Unknown, Rejected, NotSent]),
        (2, 0, [Unknown, Unknown, Unknown, NotSent]),
        (0, 1, [Unknown, Rejected, Rejected, NotSent]),
        (1, -1, [Unknown, Rejected, Rejected, NotSent]),
        (3, 1 << 40, [Unknown, Unknown, Unknown, NotSent]),
    ] {
        let mut scene = Scene::set().await;
        let position = scene.ends[behind].checked_add_signed(more).unwrap();
        let deliveries = scene.reset(Some(position)).await;
        assert_eq!(deliveries, expected, "{position} of {:?}", scene.ends);
        let unknown = deliveries.iter().filter(|delivery| **delivery == Unknown).count();
        let runs = scene.void.runs_before(position.min(scene.void.sent())).await;
        assert_eq!(runs.len(), unknown, "those before it may have run");
        let Counters { calls_refused, calls_unknown, .. } = scene.channel.counters();
        assert_eq!((calls_refused, calls_unknown), (3 - unknown as u64, unknown as u64));
    }
}

/// From the first byte on, or not at all.
#[tokio::test(start_paused = true)]
async fn a_reset_may_know_of_everything_or_of_nothing() {
    use Delivery::{NotSent, Rejected, Unknown};
    let deliveries = Scene::set().await.reset(Some(0)).await;
    assert_eq!(deliveries, [Rejected, Rejected, Rejected, NotSent]);
    let deliveries = Scene::set().await.reset(None).await;
    assert_eq!(deliveries, [Unknown, Unknown, Unknown, NotSent]);
}

#[tokio::test(start_paused = true)]
async fn an_error_says_that_the_peer_does_not_know_the_connection() {
    let mut scene = Scene::set().await;
    scene.void.with(|void| void.reset = Some(None));
    let error = scene.calls.remove(0).await.unwrap().unwrap_err();
    let text = "the peer does not know this connection: it has started anew";
    assert!(error.to_string().contains(text), "{error}");
}
