//! Streams whose sides change their minds, panic, or are given up at any poll: whatever happens, the
//! other side learns it, and nothing stays behind.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use rpc_core::{
    Channel, Context as CallContext, Delivery, ErrorKind, Limits, Server, Streaming,
    testing::adversary::Adversary, transport::stream::StreamTransport,
};
use tokio::{
    io::duplex,
    task,
    time::{Instant, sleep},
};

use crate::{
    raw::{Pipes, transport},
    rig::{alive_tasks, check, rig, until},
};

#[rpc_core::service]
trait Echo {
    async fn echo(&self, items: Streaming<u32>) -> Streaming<u32>;
    async fn count(&self, items: Streaming<Bytes>) -> u32;
    async fn first(&self, items: Streaming<u32>) -> u32;
    async fn sum(&self, items: Streaming<u32>) -> u32;
    async fn keep(&self, items: Streaming<u32>);
    async fn numbers(&self, to: u32) -> Streaming<u32>;
    async fn panics(&self, after: u32) -> Streaming<u32>;
    async fn too_large(&self) -> Streaming<Bytes>;
    async fn left(&self, #[ctx] cx: &CallContext, items: Streaming<u32>) -> Vec<u64>;
}

/// Counts what is alive: streams made and not dropped.
#[derive(Clone, Default)]
struct Echoes {
    alive: Arc<AtomicUsize>,
    kept: Arc<std::sync::Mutex<Option<Streaming<u32>>>>,
}

/// A stream of numbers that ends, or panics, at one of them.
struct Numbers {
    next: u32,
    to: u32,
    panics: bool,
    alive: Arc<AtomicUsize>,
}

impl Numbers {
    fn stream(to: u32, panics: bool, alive: &Arc<AtomicUsize>) -> Streaming<u32> {
        alive.fetch_add(1, Ordering::SeqCst);
        Streaming::new(Self { next: 0, to, panics, alive: Arc::clone(alive) })
    }
}

impl Stream for Numbers {
    type Item = u32;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
        if self.next == self.to {
            assert!(!self.panics, "a stream of the user's panics");
            return Poll::Ready(None);
        }
        self.next += 1;
        Poll::Ready(Some(self.next - 1))
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Echo for Echoes {
    async fn echo(&self, mut items: Streaming<u32>) -> Streaming<u32> {
        let (sender, echoed) = Streaming::channel(2);
        tokio::spawn(async move {
            while let Some(Ok(item)) = items.next().await {
                if sender.send(item).await.is_err() {
                    return;
                }
            }
        });
        echoed
    }
    async fn count(&self, mut items: Streaming<Bytes>) -> u32 {
        let mut count = 0;
        while let Some(Ok(_)) = items.next().await {
            count += 1;
        }
        count
    }
    async fn first(&self, mut items: Streaming<u32>) -> u32 {
        let first = items.next().await.unwrap().unwrap();
        drop(items);
        task::yield_now().await;
        first
    }
    async fn sum(&self, mut items: Streaming<u32>) -> u32 {
        let mut sum = 0;
        while let Some(Ok(item)) = items.next().await {
            sum += item;
        }
        sum
    }
    async fn keep(&self, items: Streaming<u32>) {
        sleep(Duration::from_millis(10)).await;
        *self.kept.lock().unwrap() = Some(items);
    }
    async fn numbers(&self, to: u32) -> Streaming<u32> {
        Numbers::stream(to, false, &self.alive)
    }
    async fn panics(&self, after: u32) -> Streaming<u32> {
        Numbers::stream(after, true, &self.alive)
    }
    async fn too_large(&self) -> Streaming<Bytes> {
        let sizes = [10, 3_000_000];
        sizes.into_iter().map(|size| Bytes::from(vec![7; size])).collect()
    }
    async fn left(&self, cx: &CallContext, mut items: Streaming<u32>) -> Vec<u64> {
        let began = Instant::now();
        let mut left = Vec::new();
        while let Some(Ok(_)) = items.next().await {
            let deadline = cx.deadline().unwrap();
            let from_begin = deadline.saturating_duration_since(began.into_std());
            left.push(u64::try_from(from_begin.as_millis()).unwrap());
        }
        left
    }
}

/// A server and its client; `alive` counts the streams of both.
async fn echo() -> (crate::rig::Rig, EchoClient, Echoes) {
    let service = Echoes::default();
    let rig = rig(EchoServer::new(service.clone()), 16).await;
    let client = EchoClient::new(rig.channel.clone());
    (rig, client, service)
}

/// Polls a future so many times, with everything else running in between.
async fn poll_times<F: Future + Unpin>(future: &mut F, times: usize) -> Option<F::Output> {
    for _ in 0..times {
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn dropped_at_any_poll_nothing_is_left_and_the_next_call_works() {
    let (rig, client, service) = echo().await;
    client.sum(vec![1].into()).await.unwrap();
    let tasks = alive_tasks();
    for polls in 0..40 {
        // The arguments' stream and the reply's, each with its call, at every stage.
        let mut call = client.echo(Numbers::stream(1000, false, &service.alive));
        if let Some(echoed) = poll_times(&mut call, polls).await {
            let mut echoed = echoed.unwrap();
            for _ in 0..polls {
                echoed.next().await;
            }
        }
        drop(call);
        let mut call = client.numbers(100_000);
        if let Some(numbers) = poll_times(&mut call, polls).await {
            drop(numbers.unwrap().next().await);
        }
    }
    until("every stream is dropped", || service.alive.load(Ordering::SeqCst) == 0).await;
    until("every task has ended", || alive_tasks() == tasks).await;
    assert_eq!(client.sum(vec![1, 2, 3].into()).await.unwrap(), 6);
    drop((client, rig.channel));
    assert!(rig.server.shutdown(Duration::from_secs(5)).await, "nothing is left");
}

#[tokio::test]
async fn a_handler_that_wants_no_more_stops_a_source_that_pauses() {
    let (_rig, client, _) = echo().await;
    let (sender, items) = Streaming::channel(1);
    let call = tokio::spawn(client.first(items).into_future());
    sender.send(7).await.unwrap();
    // It has no further item, and learns all the same that nobody wants one.
    sender.closed().await;
    assert_eq!(call.await.unwrap().unwrap(), 7);
}

#[tokio::test]
async fn a_stream_of_arguments_that_panics_fails_its_call() {
    let (_rig, client, service) = echo().await;
    let tasks = alive_tasks();
    for after in [0, 5, 10_000] {
        let error = client.sum(Numbers::stream(after, true, &service.alive)).await.unwrap_err();
        // A request that hasn't left when its items break off is taken back.
        let delivery = if after < 100 { Delivery::NotSent } else { Delivery::Unknown };
        check(&error, ErrorKind::MalformedRequest, delivery);
        assert!(error.to_string().contains("panicked"), "{error}");
        // With a reply that has begun, it is that which ends.
        let echoed = client.echo(Numbers::stream(after, true, &service.alive)).await;
        let Ok(mut echoed) = echoed else { continue };
        let end = loop {
            match echoed.next().await.expect("an error before the end") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        check(&end, ErrorKind::MalformedRequest, Delivery::Unknown);
        assert_eq!(echoed.next().await, None);
    }
    until("every stream is dropped", || service.alive.load(Ordering::SeqCst) == 0).await;
    until("every task has ended", || alive_tasks() == tasks).await;
}

#[tokio::test]
async fn a_reply_that_panics_ends_after_what_came_before() {
    let (_rig, client, service) = echo().await;
    let mut items = client.panics(3).await.unwrap();
    for expected in 0..3 {
        assert_eq!(items.next().await, Some(Ok(expected)));
    }
    let error = items.next().await.unwrap().unwrap_err();
    check(&error, ErrorKind::HandlerPanicked, Delivery::Replied);
    assert_eq!(items.next().await, None);
    until("the stream is dropped", || service.alive.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn an_item_above_the_peers_limit_names_both() {
    let mut limits = Limits::default();
    limits.message_bytes = 2_000_000;
    let (pipes, accepted) = tokio::sync::mpsc::unbounded_channel();
    let service = EchoServer::new(Echoes::default());
    let _server =
        Server::builder().service(service).limits(limits).listen(Pipes(accepted)).start().unwrap();
    let client = EchoClient::new(through(pipes, 65_536).await);
    let items = vec![Bytes::from(vec![7; 3_000_000])];
    let error = client.count(items.into()).await.unwrap_err();
    check(&error, ErrorKind::TooLarge, Delivery::NotSent);
    let text = error.to_string();
    assert!(text.contains("3000008 bytes") && text.contains("the peer accepts 2000000"), "{text}");
    let mut items = client.too_large().await.unwrap();
    assert_eq!(items.next().await.unwrap().unwrap().len(), 10);
    let error = items.next().await.unwrap().unwrap_err();
    check(&error, ErrorKind::TooLarge, Delivery::Replied);
    assert!(error.to_string().contains("2000000"), "{error}");
}

#[tokio::test]
async fn a_stream_can_be_forwarded_into_another_call() {
    let (_rig, client, service) = echo().await;
    let numbers = client.numbers(1000).await.unwrap();
    assert_eq!(client.sum(numbers).await.unwrap(), (0..1000).sum());
    // One that breaks off fails the call that it is forwarded into.
    let error = client.sum(client.panics(10).await.unwrap()).await.unwrap_err();
    check(&error, ErrorKind::Cancelled, Delivery::NotSent);
    assert!(error.to_string().contains("forwards broke off"), "{error}");
    until("every stream is dropped", || service.alive.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_stream_that_is_kept_beyond_its_call_gives_what_had_come() {
    let (_rig, client, service) = echo().await;
    let (sender, items) = Streaming::channel(2);
    for item in [1, 2] {
        sender.send(item).await.unwrap();
    }
    client.keep(items).await.unwrap();
    let mut kept = service.kept.lock().unwrap().take().unwrap();
    assert_eq!([kept.next().await, kept.next().await], [Some(Ok(1)), Some(Ok(2))]);
    let error = kept.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(error.to_string().contains("its call has ended"), "{error}");
    assert_eq!(kept.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn each_item_moves_the_deadline_that_its_handler_sees() {
    let (_rig, client, _) = echo().await;
    let (sender, items) = Streaming::channel(1);
    let call = client.left(items).timeout(Duration::from_millis(100));
    let call = tokio::spawn(call.into_future());
    for _ in 0..5 {
        sender.send(1).await.unwrap();
        sleep(Duration::from_millis(60)).await;
    }
    drop(sender);
    let left = call.await.unwrap().unwrap();
    assert!(left.is_sorted() && left[4] >= 300, "{left:?}");
}

/// A channel through pipes that hold so much.
async fn through(
    pipes: tokio::sync::mpsc::UnboundedSender<tokio::io::DuplexStream>,
    bytes: usize,
) -> Channel {
    Channel::connect(Narrow { pipes, bytes }).await.unwrap()
}

pub(super) struct Narrow {
    pub(super) pipes: tokio::sync::mpsc::UnboundedSender<tokio::io::DuplexStream>,
    pub(super) bytes: usize,
}

impl rpc_core::transport::Connector for Narrow {
    type Transport = StreamTransport<tokio::io::DuplexStream>;

    fn target(&self) -> rpc_core::transport::Address {
        rpc_core::transport::Address::Name("narrow pipes".into())
    }

    async fn connect(&self) -> std::io::Result<Self::Transport> {
        let (ours, theirs) = duplex(self.bytes);
        self.pipes.send(theirs).map_err(|_| std::io::ErrorKind::ConnectionRefused)?;
        Ok(transport(ours))
    }
}

#[tokio::test]
async fn a_thousand_streams_get_through_a_pipe_of_16_bytes() {
    let (pipes, accepted) = tokio::sync::mpsc::unbounded_channel();
    let service = EchoServer::new(Echoes::default());
    let server = Server::builder().service(service).listen(Pipes(accepted)).start().unwrap();
    let client = EchoClient::new(through(pipes, 16).await);
    let mut calls = task::JoinSet::new();
    for number in 0..1000_u32 {
        let client = client.clone();
        calls.spawn(async move {
            let mut echoed = client.echo((number..number + 3).collect()).await.unwrap();
            for expected in number..number + 3 {
                assert_eq!(echoed.next().await, Some(Ok(expected)));
            }
            assert_eq!(echoed.next().await, None);
        });
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
    drop(client);
    assert!(server.shutdown(Duration::from_secs(20)).await);
}

#[tokio::test(start_paused = true)]
async fn streams_keep_their_order_over_an_adversary() {
    for seed in 0..10 {
        eprintln!("seed {seed}");
        let adversary = Adversary::new(seed);
        let service = EchoServer::new(Echoes::default());
        let _server =
            Server::builder().service(service).listen(adversary.listen()).start().unwrap();
        let client = EchoClient::new(Channel::connect(adversary.connector()).await.unwrap());
        let mut calls = task::JoinSet::new();
        for number in 0..20_u32 {
            let client = client.clone();
            calls.spawn(async move {
                let mut echoed = client.echo((0..50 * number).collect()).await.unwrap();
                for expected in 0..50 * number {
                    assert_eq!(echoed.next().await, Some(Ok(expected)));
                }
                assert_eq!(echoed.next().await, None);
            });
        }
        while let Some(ended) = calls.join_next().await {
            ended.unwrap();
        }
    }
}
