//! What the simulated hosts run: a server that starts again when it has drained, and clients that
//! make their calls; both see that nothing is left of them.

use std::{sync::Arc, time::Duration};

use rpc_core::{Call, Channel, Limits, Server, Streaming};
use tokio::{
    runtime::Handle,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    books::{Books, End, reply_text, text},
    network,
    plan::{CallPlan, Patience, Plan, Shape, TIMEOUT},
};

/// How long a peer may say nothing before it is pinged, and after that before it is given up.
const SILENCE: Duration = Duration::from_millis(200);

/// How long a hello may take.
const HELLO: Duration = Duration::from_millis(500);

/// How long the last server may take to end what is under way.
const GRACE: Duration = Duration::from_secs(1);

/// How long what is left may take to go away: a connection lingers for a second.
const PATIENCE: Duration = Duration::from_secs(3);

#[rpc_core::service]
pub(crate) trait Book {
    async fn plain(&self, number: u32, text: String) -> String;
    #[rpc(idempotent)]
    async fn again(&self, number: u32, text: String) -> String;
    #[rpc(oneway)]
    async fn note(&self, number: u32, text: String);
    async fn items(&self, number: u32, text: String) -> Streaming<String>;
}

/// What all hosts of a run share.
pub(crate) struct Stage {
    pub(crate) plan: Plan,
    pub(crate) books: Arc<Books>,
    pub(crate) orders: watch::Sender<Orders>,
}

/// What the server is told.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// How often it was to drain, and how long it may take now.
    pub(crate) drains: u32,
    pub(crate) grace: Duration,
    /// It is to end, and to start no more.
    pub(crate) end: bool,
}

struct Shelf(Arc<Books>);

impl Shelf {
    async fn run(&self, number: u32, text: &str) -> CallPlan {
        let Some((call, run)) = self.0.begin(number, text) else {
            return std::future::pending().await;
        };
        match call.shape {
            Shape::Wait(time) => sleep(time).await,
            Shape::Forever => std::future::pending().await,
            Shape::Answer | Shape::Oneway | Shape::Items(..) => {}
        }
        run.finish();
        call
    }
}

impl Book for Shelf {
    async fn plain(&self, number: u32, text: String) -> String {
        let call = self.run(number, &text).await;
        reply_text(number, 0, call.bytes[1])
    }

    async fn again(&self, number: u32, text: String) -> String {
        self.plain(number, text).await
    }

    async fn note(&self, number: u32, text: String) {
        self.run(number, &text).await;
    }

    async fn items(&self, number: u32, text: String) -> Streaming<String> {
        let call = self.run(number, &text).await;
        let Shape::Items(items, pause) = call.shape else { return Vec::new().into() };
        let (sender, stream) = Streaming::channel(1);
        tokio::spawn(async move {
            for at in 0..items {
                sleep(pause).await;
                if sender.send(reply_text(number, at, call.bytes[1])).await.is_err() {
                    return;
                }
            }
        });
        stream
    }
}

/// The server's host: one server after the other.
pub(crate) async fn serve(stage: Arc<Stage>) -> turmoil::Result {
    let mut orders = stage.orders.subscribe();
    let mut drains = orders.borrow().drains;
    loop {
        let mut limits = Limits::default();
        limits.calls = stage.plan.places;
        let server = Server::builder()
            .limits(limits)
            .hello_timeout(HELLO)
            .service(BookServer::new(Shelf(Arc::clone(&stage.books))))
            .listen(network::listen().await?)
            .start()?;
        let ordered = |orders: &Orders| orders.end || orders.drains != drains;
        let (grace, end) = {
            let orders = orders.wait_for(ordered).await?;
            drains = orders.drains;
            (if orders.end { GRACE } else { orders.grace }, orders.end)
        };
        let drained = server.shutdown(grace).await;
        if end {
            if stage.plan.peaceful && !drained {
                stage.books.complain("the server has not drained".to_owned());
            }
            return rest("the server", &stage.books).await;
        }
    }
}

/// A client's host.
pub(crate) async fn call(stage: Arc<Stage>, client: usize) -> turmoil::Result {
    let mut channel = channel();
    let mut calls = JoinSet::new();
    for call in &stage.plan.calls[client] {
        sleep(call.pause).await;
        if call.reopens {
            channel = self::channel();
        }
        let number = stage.books.open(call);
        let books = Arc::clone(&stage.books);
        calls.spawn(carry_out(channel.clone(), call.clone(), number, books));
    }
    while let Some(ended) = calls.join_next().await {
        ended?;
    }
    drop(channel);
    rest("a client", &stage.books).await
}

fn channel() -> Channel {
    Channel::builder()
        .timeout(TIMEOUT)
        .hello_timeout(HELLO)
        .keepalive(SILENCE, SILENCE)
        .backoff(Duration::from_millis(5), Duration::from_millis(50))
        .lazy(network::connector())
}

/// Sees that the host comes to rest: nothing runs there but whoever asks.
async fn rest(who: &str, books: &Books) -> turmoil::Result {
    let until = Instant::now() + PATIENCE;
    loop {
        let left = Handle::current().metrics().num_alive_tasks();
        if left == 0 {
            return Ok(());
        }
        if Instant::now() > until {
            books.complain(format!("{who} has {left} tasks {PATIENCE:?} after its end"));
            return Ok(());
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Makes a call as planned, to its end or until its caller leaves, and closes its entry.
async fn carry_out(channel: Channel, plan: CallPlan, number: u32, books: Arc<Books>) {
    let began = Instant::now();
    let answered = answer(channel, &plan, number);
    let ended = match plan.leave {
        Some(time) => timeout(time, answered).await.ok(),
        None => Some(answered.await),
    };
    let (end, waited) = match ended {
        Some(ended) => ended,
        // The time that a call has counts for each item, and this is that of all.
        None if matches!(plan.shape, Shape::Items(..)) => (End::Dropped, Duration::ZERO),
        None => (End::Dropped, began.elapsed()),
    };
    books.close(number, end, waited);
}

/// How the call ended, and how long its caller had waited for that.
async fn answer(channel: Channel, plan: &CallPlan, number: u32) -> (End, Duration) {
    let began = Instant::now();
    let text = text(number, plan.bytes[0]);
    let client = BookClient::new(channel);
    let end = match plan.shape {
        Shape::Oneway => match with_patience(client.note(number, text), plan).await {
            Ok(()) => End::Left,
            Err(error) => End::Failed(error),
        },
        Shape::Items(items, _) => match with_patience(client.items(number, text), plan).await {
            Ok(stream) => return read(stream, plan, number, items).await,
            Err(error) => End::Failed(error),
        },
        _ => {
            let call = match plan.idempotent {
                true => client.again(number, text),
                false => client.plain(number, text),
            };
            match with_patience(call, plan).await {
                Ok(came) if came == reply_text(number, 0, plan.bytes[1]) => End::Value,
                Ok(_) => End::Wrong,
                Err(error) => End::Failed(error),
            }
        }
    };
    (end, began.elapsed())
}

/// Reads a stream, to its end if it is to be read so far. The time is that of the last wait.
async fn read(
    mut stream: Streaming<String>,
    plan: &CallPlan,
    number: u32,
    items: usize,
) -> (End, Duration) {
    for at in 0..=items {
        if let Some((_, time)) = plan.reading.pause.filter(|(before, _)| *before == at) {
            sleep(time).await;
        }
        let began = Instant::now();
        if plan.reading.leave == Some(at) {
            return (End::Dropped, Duration::ZERO);
        }
        let end = match stream.next().await {
            Some(Ok(came)) if at < items && came == reply_text(number, at, plan.bytes[1]) => {
                continue;
            }
            None if at == items => End::Value,
            Some(Err(error)) => End::Broke(error),
            Some(Ok(_)) | None => End::Wrong,
        };
        return (end, began.elapsed());
    }
    (End::Wrong, Duration::ZERO)
}

fn with_patience<T>(call: Call<T>, plan: &CallPlan) -> Call<T> {
    match plan.patience {
        Patience::Usual => call,
        Patience::Timeout(timeout) => call.timeout(timeout),
        Patience::Endless => call.no_deadline(),
    }
}
