//! A transport that hands out its input in parts: what a part leads to is sent before the next one is
//! received, and one that has parts for ever doesn't keep its thread.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use rpc_core::{
    Channel, Server,
    transport::{
        Address, Batch, Connector, InFrame, Inbox, Lane, Listener, Payload, Peer, Received,
        Transport, TransportError,
        memory::{self, MemoryTransport},
    },
};

/// What the transport was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Part,
    Rest,
    Sent,
}

#[derive(Default)]
struct Shared {
    steps: Mutex<Vec<Step>>,
    /// Whether it says for ever that there is more.
    is_endless: AtomicBool,
    /// How often it has said so since somebody else ran.
    said: AtomicUsize,
}

/// A frame that was received: its lane, whether it ends it, what it carries.
type Frame = (Lane, bool, Bytes);

/// Hands out one frame at a time.
struct Parts {
    inner: MemoryTransport,
    rest: VecDeque<Frame>,
    shared: Arc<Shared>,
}

struct Collect<'a>(&'a mut VecDeque<Frame>, usize);

impl Inbox for Collect<'_> {
    fn push(&mut self, InFrame { lane, end, payload }: InFrame<'_>) {
        let payload = Bytes::copy_from_slice(payload.as_slice());
        self.0.push_back((lane, end, payload));
    }

    fn frame_bytes_max(&self) -> usize {
        self.1
    }
}

impl Transport for Parts {
    fn peer(&self) -> Peer {
        self.inner.peer()
    }

    fn frame_bytes(&self) -> usize {
        self.inner.frame_bytes()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        self.shared.steps.lock().unwrap().push(Step::Sent);
        self.inner.poll_send(cx, batch)
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        if self.shared.is_endless.load(Ordering::Relaxed) {
            let said = self.shared.said.fetch_add(1, Ordering::Relaxed);
            assert!(said < 1000, "it is asked again and again, and nobody else runs");
            return Poll::Ready(Ok(Received::Part));
        }
        if self.rest.is_empty() {
            let mut collect = Collect(&mut self.rest, inbox.frame_bytes_max());
            let received = self.inner.poll_recv(cx, &mut collect);
            if self.rest.is_empty() {
                return received;
            }
        }
        if let Some((lane, end, payload)) = self.rest.pop_front() {
            inbox.push(InFrame { lane, end, payload: Payload::Owned(payload) });
        }
        let (step, received) = if self.rest.is_empty() {
            (Step::Rest, Received::Some)
        } else {
            (Step::Part, Received::Part)
        };
        self.shared.steps.lock().unwrap().push(step);
        Poll::Ready(Ok(received))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_close(cx)
    }
}

/// Where a transport waits for whoever accepts or connects.
struct One<T>(Mutex<Option<T>>);

impl<T: Transport> Listener for One<T> {
    type Transport = T;

    fn local_addr(&self) -> Address {
        Address::Unnamed
    }

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.0.lock().unwrap().take().map_or(Poll::Pending, |end| Poll::Ready(Ok(end)))
    }
}

impl<T: Transport> Connector for One<T> {
    type Transport = T;

    fn target(&self) -> Address {
        Address::Unnamed
    }

    async fn connect(&self) -> io::Result<T> {
        self.0.lock().unwrap().take().ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }
}

#[rpc_core::service]
trait Counter {
    async fn next(&self, number: u64) -> u64;
}

struct AddsOne;

impl Counter for AddsOne {
    async fn next(&self, number: u64) -> u64 {
        number + 1
    }
}

/// A client that receives in parts, and what it is asked for from here on.
async fn client() -> (CounterClient, Arc<Shared>, Server) {
    let (ours, theirs) = memory::pair();
    let shared = Arc::<Shared>::default();
    let ours = Parts { inner: ours, rest: VecDeque::new(), shared: Arc::clone(&shared) };
    let server = Server::builder()
        .service(CounterServer::new(AddsOne))
        .listen(One(Mutex::new(Some(theirs))))
        .start()
        .unwrap();
    let channel = Channel::connect(One(Mutex::new(Some(ours)))).await.unwrap();
    let client = CounterClient::new(channel);
    assert_eq!(client.next(0).await, Ok(1));
    shared.steps.lock().unwrap().clear();
    (client, shared, server)
}

#[tokio::test]
async fn what_a_part_leads_to_is_sent_before_the_next_is_received() {
    let (client, shared, _server) = client().await;
    // Each reply leads to the next call at once.
    let callers = (0..4).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            for number in 0..50 {
                assert_eq!(client.next(number).await, Ok(number + 1));
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let steps = std::mem::take(&mut *shared.steps.lock().unwrap());
    // The last call of each caller leads to no other.
    let steps = &steps[..steps.len() - 20];
    let parts = steps.iter().filter(|step| **step == Step::Part).count();
    assert!(parts > 20, "only {parts} parts: {steps:?}");
    for pair in steps.windows(2) {
        assert!(pair[0] != Step::Part || pair[1] == Step::Sent, "{steps:?}");
    }
}

#[tokio::test]
async fn parts_for_ever_do_not_keep_the_thread() {
    let (client, shared, _server) = client().await;
    shared.is_endless.store(true, Ordering::Relaxed);
    let call = tokio::spawn(async move { client.next(1).await });
    let mut rounds = 0;
    for _ in 0..100 {
        tokio::task::yield_now().await;
        rounds += usize::from(shared.said.swap(0, Ordering::Relaxed) > 0);
    }
    assert!(rounds > 50, "it was asked in {rounds} rounds only");
    shared.is_endless.store(false, Ordering::Relaxed);
    assert_eq!(call.await.unwrap(), Ok(2));
}
