//! Calls back: what a server can call at the clients that call it, and the other way round again.

mod books;
mod ends;
mod handlers;
mod nesting;

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use rpc_core::{
    Call, Channel, ChannelBuilder, Context, Delivery, ErrorKind, Limits, RpcError, Server,
    transport::memory::{self, MemoryConnector},
};
use tokio::{
    sync::{Mutex, Notify, mpsc},
    time::timeout,
};

/// What both sides offer.
#[rpc_core::service]
trait Node {
    async fn add(&self, a: u64, b: u64) -> u64;
    /// Leaves a channel back to the caller with the test.
    async fn meet(&self, #[ctx] cx: &Context);
    /// Goes back and forth between the two sides so many times, and says how often it has.
    async fn bounce(&self, #[ctx] cx: &Context, times: u32) -> Result<u32, String>;
    /// Calls `forever` at whoever calls this.
    async fn wait_for_caller(&self, #[ctx] cx: &Context) -> Result<(), String>;
    async fn forever(&self);
    async fn panic(&self);
    /// How much time it has, and who its peer is.
    async fn situation(&self, #[ctx] cx: &Context) -> (Option<Duration>, String);
}

/// One side. The test looks at it from outside.
#[derive(Default)]
struct Side {
    /// Handlers of `forever`: begun, and gone.
    begun: AtomicUsize,
    gone: AtomicUsize,
    changed: Notify,
    met: Option<mpsc::UnboundedSender<Channel>>,
}

struct Forever<'a>(&'a Side);

impl Drop for Forever<'_> {
    fn drop(&mut self) {
        self.0.gone.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_one();
    }
}

impl Side {
    /// Waits until so many handlers of `forever` have begun, and so many are gone.
    async fn has(&self, begun: usize, gone: usize) {
        let so_many = |count: &AtomicUsize, wanted| count.load(Ordering::SeqCst) >= wanted;
        in_time(async {
            while !so_many(&self.begun, begun) || !so_many(&self.gone, gone) {
                self.changed.notified().await;
            }
        })
        .await;
    }
}

impl Node for Side {
    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
    async fn meet(&self, cx: &Context) {
        if let Some(met) = &self.met {
            met.send(cx.channel()).unwrap();
        }
    }
    async fn bounce(&self, cx: &Context, times: u32) -> Result<u32, String> {
        if times == 0 {
            return Ok(0);
        }
        let back = NodeClient::new(cx.channel());
        back.bounce(times - 1).await.map(|so_far| so_far + 1).map_err(|error| error.to_string())
    }
    async fn wait_for_caller(&self, cx: &Context) -> Result<(), String> {
        NodeClient::new(cx.channel()).forever().await.map_err(|error| error.to_string())
    }
    async fn forever(&self) {
        let _gone = Forever(self);
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_one();
        pending::<()>().await;
    }
    async fn panic(&self) {
        panic!("a test's own panic");
    }
    async fn situation(&self, cx: &Context) -> (Option<Duration>, String) {
        let current = Context::current().unwrap();
        assert_eq!(current.deadline(), cx.deadline());
        (cx.remaining(), current.peer().address().to_string())
    }
}

/// A server and a client that offer the same to each other.
struct Pair {
    server: Server,
    server_side: Arc<Side>,
    channel: Channel,
    client_side: Arc<Side>,
    met: Mutex<mpsc::UnboundedReceiver<Channel>>,
}

impl Pair {
    async fn new() -> Self {
        Self::with(Limits::default(), Channel::builder()).await
    }

    /// `limits` are both sides', unless `client` says otherwise later.
    async fn with(limits: Limits, client: ChannelBuilder) -> Self {
        let (meet, met) = mpsc::unbounded_channel();
        let server_side = Arc::new(Side { met: Some(meet), ..Side::default() });
        let client_side = Arc::new(Side::default());
        let server = Server::builder()
            .service(NodeServer::from_arc(Arc::clone(&server_side)))
            .limits(limits.clone())
            .listen(memory::listen("callbacks:0").await.unwrap())
            .start()
            .unwrap();
        let channel = client
            .service(NodeServer::from_arc(Arc::clone(&client_side)))
            .limits(limits)
            .connect(to(&server))
            .await
            .unwrap();
        Self { server, server_side, channel, client_side, met: Mutex::new(met) }
    }

    /// The server, as the client calls it.
    fn node(&self) -> NodeClient {
        NodeClient::new(self.channel.clone())
    }

    /// The client, as the server calls it back.
    async fn back(&self) -> Channel {
        self.node().meet().await.unwrap();
        self.met.lock().await.recv().await.unwrap()
    }
}

fn to(server: &Server) -> MemoryConnector {
    memory::connector(server.local_addr().unwrap())
}

fn at_a_time(calls: u32) -> Limits {
    let mut limits = Limits::default();
    limits.calls = calls;
    limits
}

/// What a future gives, which takes an hour at most.
async fn in_time<R>(future: impl Future<Output = R>) -> R {
    timeout(Duration::from_secs(3600), future).await.expect("it waits for ever")
}

#[track_caller]
fn check(error: &RpcError, kind: ErrorKind, delivery: Delivery, text: &str) {
    assert_eq!((error.kind(), error.delivery()), (kind, delivery), "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

/// Polls a call once, so that it is on its way.
async fn poll_once<T>(call: &mut Call<T>) {
    std::future::poll_fn(|cx| {
        assert!(pin!(&mut *call).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}
