//! What models are made of: two connections and the tasks that drive them, a service, calls; checks
//! nothing but what is left in the end.

use std::{
    future::{Future, pending, poll_fn},
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_core::Stream;
use shuttle::future::{JoinHandle, block_on};

use super::{runtime, schedule};
use crate::{
    client::Channel,
    codec::{Bincode, Codec},
    connection::{
        CallOptions, Capacity, Connection, Driver, DriverConfig, Origin, Router, TimeLimit,
    },
    error::{Delivery, RpcError},
    frame::{CallId, Metadata, Role},
    limits::Limits,
    mux::{Ending, Opened, Settings, Ticket},
    service::{Handler, Method, Plain, Reply, Request, Service, Streamed},
    streaming::Streaming,
    sync::spawn,
    transport::{
        Address, Connector, Transport,
        memory::{MemoryTransport, pair},
    },
};

const CONFIG: DriverConfig =
    DriverConfig { hello_timeout: Duration::from_secs(5), idle_timeout: None };

/// Runs a model as often as is asked for.
pub(super) fn check(model: impl Fn() + Send + Sync + 'static) {
    schedule::check(move || {
        runtime::begin();
        model();
        runtime::settle();
    });
}

/// Answers with the number that it is asked with.
pub(super) static ECHO: Method = Method::new("Model", "echo");
/// Lets others run before it does.
pub(super) static LATE: Method = Method::new("Model", "late");

/// Streams so many items, of which two fill what a peer may send at first.
pub(super) static ITEMS: Method = Method::new("Model", "items");

/// Never answers.
pub(super) static NEVER: Method = Method::new("Model", "never");

static METHODS: [Method; 4] = [
    Method::new("Model", "echo"),
    Method::new("Model", "late"),
    Method::new("Model", "items"),
    Method::new("Model", "never"),
];

const ITEM_BYTES: usize = 40_000;

/// An item: which it is, and what makes it large.
pub(super) type Item = (u32, Vec<u8>);

/// Items that are there at once.
struct Given<I>(I);

impl<I: Iterator + Unpin> Stream for Given<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

/// The service of all models, which counts.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Handlers that have begun, and those that are there at present.
    begun: AtomicU32,
    running: AtomicU32,
    /// Who waits for a change of that. Not shuttle's lock, since nobody waits for it.
    waiting: Mutex<Option<Waker>>,
}

impl Model {
    pub(super) fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(super) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// Waits until so many handlers are there.
    pub(super) fn wait_for(&self, running: u32) {
        block_on(poll_fn(|cx| {
            *self.waiting.lock().expect("nobody panics with it") = Some(cx.waker().clone());
            if self.running() == running { Poll::Ready(()) } else { Poll::Pending }
        }));
    }

    fn changed(&self) {
        let waiting = self.waiting.lock().expect("nobody panics with it").take();
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Counts a handler while it is there.
struct Running(Arc<Model>);

impl Running {
    fn begin(model: &Arc<Model>) -> Self {
        model.begun.fetch_add(1, Ordering::Relaxed);
        model.running.fetch_add(1, Ordering::Relaxed);
        model.changed();
        Self(Arc::clone(model))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.changed();
    }
}

/// The service.
pub(super) struct Served(pub(super) Arc<Model>);

impl Service for Served {
    fn name(&self) -> &'static str {
        "Model"
    }

    fn methods(&self) -> &'static [Method] {
        &METHODS
    }

    fn call(&self, request: Request) -> Handler {
        let model = Arc::clone(&self.0);
        Box::pin(async move {
            let _running = Running::begin(&model);
            if request.method() == LATE.id() {
                shuttle::future::yield_now().await;
            }
            if request.method() == NEVER.id() {
                pending::<()>().await;
            }
            let (number,): (u32,) = request.args()?;
            if request.method() == ITEMS.id() {
                let items = (0..number).map(|at| (at, vec![0; ITEM_BYTES]));
                return request.stream::<Streamed<Item>>(Streaming::new(Given(items)));
            }
            request.reply::<Plain<u32>>(&number)
        })
    }
}

/// Two connections that are driven.
pub(super) struct Pair {
    pub(super) client: Arc<Connection>,
    pub(super) server: Arc<Connection>,
    pub(super) model: Arc<Model>,
    /// What the server's handlers know of the connection.
    pub(super) origin: Arc<Origin>,
    /// The server's.
    pub(super) router: Arc<Router>,
    drivers: [JoinHandle<()>; 2],
}

impl Pair {
    /// `calls` is how many the server takes at a time.
    pub(super) fn new(calls: u32) -> Self {
        let model = Arc::<Model>::default();
        let (near, far) = pair();
        let limits = Limits { calls, ..Limits::default() };
        let router = router(&model);
        let server = connect(Role::Acceptor, &far, limits);
        let driver = Driver::new(Arc::clone(&server), far, Arc::clone(&router), CONFIG);
        let origin = Arc::clone(driver.origin());
        let serving = spawn(driver);
        let client = connect(Role::Connector, &near, Limits::default());
        let driver = Driver::new(Arc::clone(&client), near, Arc::default(), CONFIG);
        Self { client, server, model, origin, router, drivers: [spawn(driver), serving] }
    }

    /// A pair that has exchanged hellos, so that each knows the other's limits.
    pub(super) fn acquainted(calls: u32) -> Self {
        let pair = Self::new(calls);
        assert_eq!(block_on(ask(&pair.client, &ECHO, 0)), Told::Reply(0));
        pair
    }

    /// Waits until both have ended. Nothing of any call may be left.
    pub(super) fn end(self) {
        for driver in self.drivers {
            block_on(driver).expect("a driver isn't stopped");
        }
        for connection in [&self.client, &self.server] {
            assert!(connection.closed().is_some());
        }
        // A handler that was stopped goes when its task is run.
        runtime::settle();
        assert_eq!(self.model.running(), 0, "handlers outlive their connection");
    }
}

/// What a channel connects to: a connection of its own each time.
#[derive(Default)]
pub(super) struct Dial {
    pub(super) model: Arc<Model>,
    /// The servers' ends. Not shuttle's lock, since nobody waits for it.
    pub(super) servers: Arc<Mutex<Vec<Arc<Connection>>>>,
}

impl Dial {
    /// A channel without pauses between attempts: time doesn't pass by itself.
    pub(super) fn channel() -> (Channel, Self) {
        let dial = Self::default();
        let again = Self { model: Arc::clone(&dial.model), servers: Arc::clone(&dial.servers) };
        let builder = Channel::builder().no_timeout().no_keepalive();
        (builder.backoff(Duration::ZERO, Duration::ZERO).lazy(again), dial)
    }
}

impl Connector for Dial {
    type Transport = MemoryTransport;

    fn target(&self) -> Address {
        Address::Unnamed
    }

    async fn connect(&self) -> io::Result<MemoryTransport> {
        let (near, far) = pair();
        let server = connect(Role::Acceptor, &far, Limits::default());
        spawn(Driver::new(Arc::clone(&server), far, router(&self.model), CONFIG));
        self.servers.lock().expect("nobody panics with it").push(server);
        Ok(near)
    }
}

/// How a call of a channel ended.
pub(super) fn told(result: Result<u32, RpcError>) -> Told {
    result.map_or_else(|error| Told::Failed(error.delivery()), Told::Reply)
}

fn router(model: &Arc<Model>) -> Arc<Router> {
    let capacity = Capacity { calls: 100, side: "the model", setting: "Pair" };
    let service = Arc::new(Served(Arc::clone(model)));
    Arc::new(Router::new(vec![service], capacity).expect("one service"))
}

fn connect(role: Role, transport: &impl Transport, limits: Limits) -> Arc<Connection> {
    let frame_bytes = transport.frame_bytes();
    let settings = Settings { limits, keepalive: None, frame_bytes, instance: 1, cautious: false };
    Connection::new(role, settings)
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Reply(u32),
    Failed(Delivery),
    /// It found no connection that takes calls, so it was never sent.
    Gone,
}

/// A call on one connection, as `client::Call` makes it.
pub(super) struct Asking {
    connection: Arc<Connection>,
    method: &'static Method,
    number: u32,
    timeout: Option<Duration>,
    state: State,
}

enum State {
    New,
    Queued(Ticket),
    Open(CallId),
    Over,
}

pub(super) fn ask(connection: &Arc<Connection>, method: &'static Method, number: u32) -> Asking {
    let connection = Arc::clone(connection);
    Asking { connection, method, number, timeout: None, state: State::New }
}

impl Asking {
    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    fn open(&mut self, cx: &Context<'_>, ticket: Option<Ticket>) -> Option<Told> {
        let mut body = Vec::new();
        Bincode::encode(&(self.number,), &mut body).expect("a number");
        let mut options = CallOptions {
            method: self.method.id(),
            idempotent: self.method.is_idempotent(),
            oneway: false,
            metadata: &Metadata::new(),
            stream: false,
            tail: None,
            limit: TimeLimit::new(self.timeout, None),
        };
        self.state = State::Over;
        match self.connection.open_call(&mut options, ticket, &mut body, cx.waker()) {
            Opened::Call(id) => self.state = State::Open(id),
            Opened::Wait(ticket) => self.state = State::Queued(ticket),
            Opened::Gone => return Some(Told::Gone),
            Opened::Refused { .. } => return Some(Told::Failed(Delivery::NotSent)),
        }
        None
    }
}

impl Future for Asking {
    type Output = Told;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Told> {
        let this = &mut *self;
        let told = match this.state {
            State::New => this.open(cx, None),
            State::Queued(ticket) => this.open(cx, Some(ticket)),
            State::Open(_) | State::Over => None,
        };
        if let Some(told) = told {
            return Poll::Ready(told);
        }
        let State::Open(id) = this.state else { return Poll::Pending };
        let Some(ending) = this.connection.poll_call(id, cx.waker()) else { return Poll::Pending };
        this.state = State::Over;
        Poll::Ready(match ending {
            Ending::Reply { body, app_error: false } => {
                let decoded = Plain::<u32>::decode(body.as_slice(), false).expect("a number");
                Told::Reply(decoded.expect("no error of the handler's"))
            }
            Ending::Failed { delivery, .. } | Ending::Lost(delivery) => Told::Failed(delivery),
            other => panic!("{other:?}"),
        })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        match self.state {
            State::Open(id) => self.connection.drop_call(id),
            State::Queued(ticket) => self.connection.leave_queue(ticket),
            State::New | State::Over => {}
        }
    }
}
