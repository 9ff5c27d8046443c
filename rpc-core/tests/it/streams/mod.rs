//! Streams: items in both directions, their ends, and what a slow reader holds up. What happens when
//! a side changes its mind is in `minds`, when it does so at any poll in `dropped`, and when a sender breaks
//! off in `breached`.

mod breached;
mod dropped;
mod minds;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rpc_core::{
    Channel, Delivery, ErrorKind, Server, Streaming,
    service::{FallibleStreamed, Handler, Method, Plain, Request, Service, Streamed},
    transport::memory,
};

const COUNT: Method = Method::new("Numbers", "count");
const FAIL: Method = Method::new("Numbers", "fail");
const SUM: Method = Method::new("Numbers", "sum");
const DOUBLE: Method = Method::new("Numbers", "double");
const BLOCKS: Method = Method::new("Numbers", "blocks");
const FOREVER: Method = Method::new("Numbers", "forever");

#[derive(Clone, Default)]
struct Numbers {
    dropped: Arc<AtomicUsize>,
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Service for Numbers {
    fn name(&self) -> &'static str {
        "Numbers"
    }

    fn methods(&self) -> &'static [Method] {
        const { &[COUNT, FAIL, SUM, DOUBLE, BLOCKS, FOREVER] }
    }

    fn call(&self, mut request: Request) -> Handler {
        let dropped = CountDrop(Arc::clone(&self.dropped));
        Box::pin(async move {
            let method = request.method();
            if method == COUNT.id() {
                let (to,): (u32,) = request.args()?;
                request.stream::<Streamed<u32>>((0..to).collect())
            } else if method == FAIL.id() {
                request.stream::<FallibleStreamed<Result<Streaming<u32>, String>>>(Err("no".into()))
            } else if method == SUM.id() {
                let mut items = request.items::<u32>()?;
                let mut sum = 0_u64;
                while let Some(Ok(item)) = items.next().await {
                    sum += u64::from(item);
                }
                request.reply::<Plain<u64>>(&sum)
            } else if method == DOUBLE.id() {
                let mut items = request.items::<u32>()?;
                let (sender, doubled) = Streaming::channel(1);
                tokio::spawn(async move {
                    while let Some(Ok(item)) = items.next().await {
                        if sender.send(2 * item).await.is_err() {
                            return;
                        }
                    }
                });
                request.stream::<Streamed<u32>>(doubled)
            } else if method == BLOCKS.id() {
                let (count, bytes): (u32, u32) = request.args()?;
                let blocks = (0..count).map(move |n| vec![n.to_le_bytes()[0]; bytes as usize]);
                request.stream::<Streamed<Vec<u8>>>(blocks.collect())
            } else {
                let (sender, items) = Streaming::channel(1);
                tokio::spawn(async move {
                    let _dropped = dropped;
                    let _sent = sender.send(1_u32).await;
                    sender.closed().await;
                });
                request.stream::<Streamed<u32>>(items)
            }
        })
    }
}

async fn serve(name: &str) -> (Server, Channel, Numbers) {
    let numbers = Numbers::default();
    let listener = memory::listen(name).await.unwrap();
    let server = Server::builder().service(numbers.clone()).listen(listener).start().unwrap();
    let channel = Channel::connect(memory::connector(name)).await.unwrap();
    (server, channel, numbers)
}

#[tokio::test]
async fn items_arrive_in_order_and_then_the_end() {
    let (_server, channel, _) = serve("count").await;
    for to in [0, 1, 10, 100_000] {
        let mut items = channel.call_stream::<Streamed<u32>>(&COUNT, &(to,)).await.unwrap();
        for expected in 0..to {
            assert_eq!(items.next().await, Some(Ok(expected)));
        }
        assert_eq!(items.next().await, None);
        assert_eq!(items.next().await, None);
    }
}

#[tokio::test]
async fn large_items_arrive_whole() {
    let (_server, channel, _) = serve("blocks").await;
    for bytes in [1_000, 16_384, 65_536, 300_000, 5_000_000_u32] {
        let args = (5_u32, bytes);
        let mut items = channel.call_stream::<Streamed<Vec<u8>>>(&BLOCKS, &args).await.unwrap();
        for n in 0..5 {
            let block = items.next().await.unwrap().unwrap();
            assert!(
                block.len() == bytes as usize && block.iter().all(|byte| *byte == n),
                "{bytes}"
            );
        }
        assert_eq!(items.next().await, None);
    }
}

#[tokio::test]
async fn an_error_in_place_of_a_stream_is_the_handlers_own() {
    let (_server, channel, _) = serve("fail").await;
    type Reply = FallibleStreamed<Result<Streaming<u32>, String>>;
    let error = channel.call_stream::<Reply>(&FAIL, &()).await.unwrap_err();
    assert_eq!(error.app(), Some(&"no".to_owned()));
}

#[tokio::test]
async fn arguments_can_be_a_stream() {
    let (_server, channel, _) = serve("sum").await;
    for count in [0, 1, 1000, 100_000_u32] {
        let call = channel.call::<Plain<u64>>(&SUM, &());
        let sum = call.with_items::<u32>((0..count).collect()).await.unwrap();
        assert_eq!(sum, (0..u64::from(count)).sum());
    }
}

#[tokio::test]
async fn streams_go_both_ways_at_once() {
    let (_server, channel, _) = serve("double").await;
    let (sender, numbers) = Streaming::channel(1);
    let call = channel.call_stream::<Streamed<u32>>(&DOUBLE, &());
    let mut doubled = call.with_items(numbers).await.unwrap();
    for n in 0..10_000 {
        sender.send(n).await.unwrap();
        assert_eq!(doubled.next().await, Some(Ok(2 * n)));
    }
    drop(sender);
    assert_eq!(doubled.next().await, None);
}

#[tokio::test]
async fn a_stream_that_is_dropped_stops_its_source() {
    let (server, channel, numbers) = serve("dropped").await;
    let mut items = channel.call_stream::<Streamed<u32>>(&FOREVER, &()).await.unwrap();
    assert_eq!(items.next().await, Some(Ok(1)));
    drop(items);
    while numbers.dropped.load(Ordering::SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    drop(channel);
    assert!(server.shutdown(Duration::from_secs(5)).await, "nothing is left");
}

#[tokio::test(start_paused = true)]
async fn the_timeout_counts_for_each_item() {
    let (_server, channel, _) = serve("patience").await;
    let call = channel.call_stream::<Streamed<u32>>(&FOREVER, &());
    let mut items = call.timeout(Duration::from_millis(100)).await.unwrap();
    assert_eq!(items.next().await, Some(Ok(1)));
    let error = items.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::Unknown));
    assert!(error.to_string().contains("no item within 100ms"), "{error}");
    assert_eq!(items.next().await, None);
}

#[tokio::test]
async fn a_server_that_goes_ends_its_streams_with_an_error() {
    let (server, channel, _) = serve("gone").await;
    let mut items = channel.call_stream::<Streamed<u32>>(&FOREVER, &()).await.unwrap();
    assert_eq!(items.next().await, Some(Ok(1)));
    drop(server);
    let error = items.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ShuttingDown, Delivery::Unknown));
    assert_eq!(items.next().await, None);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_its_own_stream_only() {
    let (_server, channel, _) = serve("slow").await;
    let args = (1000_u32, 60_000_u32);
    let mut slow = channel.call_stream::<Streamed<Vec<u8>>>(&BLOCKS, &args).await.unwrap();
    let mut quick = channel.call_stream::<Streamed<u32>>(&COUNT, &(100_000_u32,)).await.unwrap();
    for expected in 0..100_000 {
        assert_eq!(quick.next().await, Some(Ok(expected)));
    }
    for _ in 0..1000 {
        assert_eq!(slow.next().await.unwrap().unwrap().len(), 60_000);
    }
    assert_eq!(slow.next().await, None);
}
