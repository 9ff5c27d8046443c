//! Streams that are given up after any number of polls, on either side, through a pipe that holds
//! little: with one place on the connection, what leaves anything behind is the last.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use rpc_core::{Channel, Limits, Server, Streaming};
use tokio::{sync::mpsc, task};

use super::minds::Narrow;
use crate::{
    raw::Pipes,
    rig::{alive_tasks, until},
};

#[rpc_core::service]
trait Echo {
    /// Returns what comes, and after so many polls nothing any more.
    async fn echo(&self, polls: u32, items: Streaming<Bytes>) -> Streaming<Bytes>;
    /// Waits for what comes, and after so many polls for nothing any more.
    async fn count(&self, polls: u32, items: Streaming<Bytes>) -> u32;
}

/// A stream that gives up its source after so many polls; it is counted while it is there.
struct For {
    polls: u32,
    items: Option<Streaming<Bytes>>,
    alive: Arc<AtomicUsize>,
}

impl For {
    fn new(polls: u32, items: Streaming<Bytes>, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self { polls, items: Some(items), alive: Arc::clone(alive) }
    }
}

impl Stream for For {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(polls) = self.polls.checked_sub(1) else {
            self.items = None;
            return Poll::Ready(None);
        };
        self.polls = polls;
        let Some(items) = &mut self.items else { return Poll::Ready(None) };
        let next = std::task::ready!(Pin::new(items).poll_next(cx));
        Poll::Ready(next.and_then(Result::ok))
    }
}

impl Drop for For {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Clone, Default)]
struct Echoes(Arc<AtomicUsize>);

impl Echo for Echoes {
    async fn echo(&self, polls: u32, items: Streaming<Bytes>) -> Streaming<Bytes> {
        Streaming::new(For::new(polls, items, &self.0))
    }
    async fn count(&self, polls: u32, items: Streaming<Bytes>) -> u32 {
        let mut items = Streaming::new(For::new(polls, items, &self.0));
        let mut count = 0;
        while items.next().await.is_some() {
            count += 1;
        }
        count
    }
}

/// Staged, of one frame, of several.
fn items() -> Streaming<Bytes> {
    [3, 0, 20_000, 70_000, 7].into_iter().map(|size| Bytes::from(vec![7; size])).collect()
}

const ITEMS: u32 = 5;

/// For ever, as far as these tests go.
const ALWAYS: u32 = u32::MAX;

/// Lets each task that can run do so once.
async fn turn() {
    let mut woken = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut woken, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls a future at most `polls` times, and everything else in between. It is dropped then.
async fn poll_times<F: Future>(future: F, polls: u32) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        turn().await;
    }
    None
}

/// Everything that an echo returns. Whoever drops this has dropped the call, or the stream.
async fn all(client: EchoClient, polls: u32) -> u32 {
    let mut echoed = client.echo(polls, items()).await.unwrap();
    let mut count = 0;
    while let Some(item) = echoed.next().await {
        item.unwrap();
        count += 1;
    }
    count
}

async fn give_up_after_every_poll() {
    let (pipes, accepted) = mpsc::unbounded_channel();
    let mut limits = Limits::default();
    limits.calls = 1;
    let service = Echoes::default();
    let server = Server::builder().service(EchoServer::new(service.clone())).limits(limits);
    let server = server.listen(Pipes(accepted)).start().unwrap();
    let channel = Channel::connect(Narrow { pipes, bytes: 4096 }).await.unwrap();
    let client = EchoClient::new(channel);
    assert_eq!(all(client.clone(), ALWAYS).await, ITEMS);
    let tasks = alive_tasks();

    // The caller, at any of its polls: of the call, then of the stream.
    let mut seen = 0;
    while poll_times(all(client.clone(), ALWAYS), seen).await.is_none() {
        assert_eq!(client.count(ALWAYS, items()).await, Ok(ITEMS), "dropped after {seen} polls");
        seen += 1;
    }
    assert!(seen > 80, "it took {seen} polls: not every step was seen");

    // The other side, at any poll of its streams: both end there, and that is what the caller sees.
    for polls in 0..60 {
        let count = client.count(polls, items()).await.unwrap();
        let echoed = all(client.clone(), polls).await;
        assert!(count <= ITEMS && echoed <= ITEMS, "{count} and {echoed} after {polls} polls");
        let whole = all(client.clone(), ALWAYS).await;
        assert_eq!(whole, ITEMS, "given up after {polls} polls");
    }
    until("every stream is dropped", || service.0.load(Ordering::SeqCst) == 0).await;
    until("every task has ended", || alive_tasks() == tasks).await;
    assert_eq!(server.connections(), 1, "it was never closed");
}

#[tokio::test(start_paused = true)]
async fn given_up_after_any_number_of_polls_on_either_side_nothing_is_left() {
    // In a task, which takes turns with the others one by one.
    task::spawn(give_up_after_every_poll()).await.unwrap();
}
