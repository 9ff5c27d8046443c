//! The load of a soak: callers of every sort, and servers that restart below them.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use rpc_core::{Call, Channel, ErrorKind, RpcError, Server, Streaming, transport::Address};
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};

use crate::service::{PLACES, Place, SoakClient, Transport, channel, serve};

/// Callers of `echo` over each transport.
const ECHOES: u64 = 16;

/// Calls that each of them has under way at a time. Some have to wait for a place then.
const BATCH: u64 = 16;

/// How often each of them begins a batch: 32,000 calls a second over each transport, which is 2.3 × 10^8
/// in an hour, and leaves something of a small machine to what runs beside. Who is late catches up.
const BATCH_EVERY: Duration = Duration::from_millis(8);

/// Between two restarts of a server.
const RESTART_EVERY: Duration = Duration::from_secs(20);

/// What a server that goes may take to finish its calls.
const GRACE: Duration = Duration::from_secs(10);

/// Bytes of a large message: many frames of either transport.
const LARGE_BYTES: usize = 300_000;

/// How long the last meeting may take, when nothing else is under way.
const MEETING: Duration = Duration::from_secs(20);

/// What has happened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: AtomicU64,
    pub(crate) cancels: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) restarts: AtomicU64,
    /// Failures that nothing explains, by their text.
    failures: Mutex<BTreeMap<String, u64>>,
    is_over: AtomicBool,
}

impl Tally {
    fn fail(&self, what: impl Into<String>) {
        let what = what.into();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        // A text has numbers in it: not every one is a kind of its own.
        let is_known = failures.contains_key(&what);
        if failures.len() >= 20 && !is_known {
            *failures.entry("more of them".to_owned()).or_default() += 1;
            return;
        }
        if !is_known {
            println!("failed: {what}");
        }
        *failures.entry(what).or_default() += 1;
    }

    fn check<T>(&self, what: &str, result: Result<T, RpcError>) -> Option<T> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        result.map_err(|error| self.fail(format!("{what}: {error}"))).ok()
    }

    pub(crate) fn failures(&self) -> BTreeMap<String, u64> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// Calls of `echo` that were answered, and those that failed and may have run.
#[derive(Debug, Default)]
struct Echoes {
    answered: AtomicU64,
    unknown: AtomicU64,
}

/// A server, its clients and their callers, over one transport.
pub(crate) struct Load {
    transport: Transport,
    place: Arc<Place>,
    tally: Arc<Tally>,
    echoes: Arc<Echoes>,
    channel: Channel,
    callers: JoinSet<()>,
    /// Ends with the last server.
    restarts: JoinSet<Option<Server>>,
}

impl Load {
    pub(crate) async fn start(
        transport: Transport,
        tally: &Arc<Tally>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let place = Arc::<Place>::default();
        let server = serve(transport, None, &place).await?;
        let address = server.local_addr()?.clone();
        let channel = channel(transport, &address);
        let mut load = Self {
            transport,
            place: Arc::clone(&place),
            tally: Arc::clone(tally),
            echoes: Arc::default(),
            channel,
            callers: JoinSet::new(),
            restarts: JoinSet::new(),
        };
        let client = SoakClient::new(load.channel.clone());
        for caller in 0..ECHOES {
            let echoes = Arc::clone(&load.echoes);
            load.callers.spawn(echo(client.clone(), Arc::clone(tally), echoes, caller));
        }
        load.callers.spawn(streams(client.clone(), Arc::clone(tally)));
        load.callers.spawn(large(client.clone(), Arc::clone(tally)));
        load.callers.spawn(cancel(client.clone(), Arc::clone(tally)));
        load.callers.spawn(notes(client, Arc::clone(tally)));
        load.callers.spawn(reconnect(transport, address.clone(), Arc::clone(tally)));
        load.restarts.spawn(restart(transport, address, server, place, Arc::clone(tally)));
        Ok(load)
    }

    /// Lets every caller come to its end, sees that every place is free, and ends the rest.
    pub(crate) async fn finish(mut self) {
        self.tally.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            if let Err(error) = ended {
                self.tally.fail(format!("a caller panicked: {error}"));
            }
        }
        let server = self.restarts.join_next().await.and_then(Result::ok).flatten();
        self.meet().await;
        self.check_echoes();
        drop(self.channel);
        let Some(server) = server else {
            return self.tally.fail(format!("{:?}: there is no server left", self.transport));
        };
        if !server.shutdown(GRACE).await {
            self.tally.fail(format!("{:?}: a server doesn't end", self.transport));
        }
    }

    /// As many calls as the connection has places meet in their handlers: if one place is lost, one
    /// call doesn't get in, and the others wait for it.
    async fn meet(&self) {
        let client = SoakClient::new(self.channel.clone());
        let mut calls = JoinSet::new();
        for _ in 0..PLACES {
            let call = client.meet().timeout(MEETING);
            calls.spawn(call.into_future());
        }
        while let Some(met) = calls.join_next().await {
            if !matches!(met, Ok(Ok(()))) {
                return self.tally.fail(format!("{:?}: not all places are free", self.transport));
            }
        }
    }

    /// Every answered call ran, and none ran twice.
    fn check_echoes(&self) {
        let ran = self.place.echoes.load(Ordering::Relaxed);
        let [answered, unknown] =
            [&self.echoes.answered, &self.echoes.unknown].map(|n| n.load(Ordering::Relaxed));
        if !(answered..=answered + unknown).contains(&ran) {
            self.tally.fail(format!(
                "{:?}: {ran} calls ran, {answered} were answered, {unknown} may have been run",
                self.transport
            ));
        }
    }
}

async fn echo(client: SoakClient, tally: Arc<Tally>, echoes: Arc<Echoes>, caller: u64) {
    let mut batches = interval(BATCH_EVERY);
    for batch in 0_u64.. {
        if tally.is_over() {
            return;
        }
        batches.tick().await;
        let first = (batch * ECHOES + caller) * BATCH;
        let calls = (first..first + BATCH).map(|call| (call, client.echo(call)));
        all(calls, |call, result| echoed(&tally, &echoes, call, result)).await;
    }
}

fn echoed(tally: &Tally, echoes: &Echoes, call: u64, result: Result<u64, RpcError>) {
    match &result {
        Ok(_) => _ = echoes.answered.fetch_add(1, Ordering::Relaxed),
        Err(error) if error.delivery().never_ran() => {}
        Err(_) => _ = echoes.unknown.fetch_add(1, Ordering::Relaxed),
    }
    if tally.check("echo", result).is_some_and(|reply| reply != call) {
        tally.fail("echo: the reply of another call");
    }
}

/// Has all of these calls under way at the same time, and takes their results as they come.
async fn all<T>(
    calls: impl Iterator<Item = (u64, Call<T>)>,
    mut take: impl FnMut(u64, Result<T, RpcError>),
) {
    let mut calls: Vec<_> = calls.map(|(number, call)| (number, Box::pin(call))).collect();
    poll_fn(|cx| {
        calls.retain_mut(|(number, call)| match call.as_mut().poll(cx) {
            Poll::Ready(result) => {
                take(*number, result);
                false
            }
            Poll::Pending => true,
        });
        if calls.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Streams both ways, some of which are dropped half-way.
async fn streams(client: SoakClient, tally: Arc<Tally>) {
    for round in 0_u64.. {
        if tally.is_over() {
            return;
        }
        let last = 1 + round % 200;
        if tally
            .check("sum", client.sum((1..=last).collect::<Streaming<u64>>()).await)
            .is_some_and(|sum| sum != last * (last + 1) / 2)
        {
            tally.fail("sum: it isn't the sum of its items");
        }
        let Some(mut items) = tally.check("count", client.count(last).await) else { continue };
        let enough = if round % 3 == 0 { last / 2 } else { last };
        for expected in 1..=enough {
            match items.next().await {
                Some(Ok(item)) if item == expected => {}
                Some(Ok(_)) => tally.fail("count: another item than the next"),
                Some(Err(error)) => {
                    tally.fail(format!("count: {error}"));
                    break;
                }
                None => tally.fail("count: it ends early"),
            }
        }
    }
}

async fn large(client: SoakClient, tally: Arc<Tally>) {
    let bytes: Bytes =
        (0..LARGE_BYTES).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    while !tally.is_over() {
        if tally.check("large", client.large(bytes.clone()).await).is_some_and(|came| came != bytes)
        {
            tally.fail("large: other bytes came back");
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Calls whose callers go, and calls that take too long.
async fn cancel(client: SoakClient, tally: Arc<Tally>) {
    for round in 0_u64.. {
        if tally.is_over() {
            return;
        }
        let call = client.slow(Duration::from_secs(60));
        tally.calls.fetch_add(1, Ordering::Relaxed);
        tally.cancels.fetch_add(1, Ordering::Relaxed);
        let patience = Duration::from_micros(round * 37 % 3000);
        if round % 2 == 0 {
            let in_time = tokio::time::timeout(patience, call.into_future()).await.is_ok();
            if in_time {
                tally.fail("slow: it ended before its time");
            }
        } else if let Err(error) = call.timeout(patience).await
            && error.kind() != ErrorKind::DeadlineExceeded
        {
            tally.fail(format!("slow: {error}"));
        }
    }
}

async fn notes(client: SoakClient, tally: Arc<Tally>) {
    for call in 0.. {
        if tally.is_over() {
            return;
        }
        tally.check("note", client.note(call).await);
        sleep(Duration::from_millis(1)).await;
    }
}

/// Channels that make a connection for a call or two, and go.
async fn reconnect(transport: Transport, address: Address, tally: Arc<Tally>) {
    for round in 0_u64.. {
        if tally.is_over() {
            return;
        }
        let client = SoakClient::new(channel(transport, &address));
        tally.reconnects.fetch_add(1, Ordering::Relaxed);
        for _ in 0..round % 3 {
            tally.check("meeting a server", client.large(Bytes::from_static(b"hello")).await);
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Restarts the server now and then: the old one finishes what it has begun. Returns the last.
async fn restart(
    transport: Transport,
    address: Address,
    mut server: Server,
    place: Arc<Place>,
    tally: Arc<Tally>,
) -> Option<Server> {
    loop {
        for _ in 0..RESTART_EVERY.as_millis() / 100 {
            if tally.is_over() {
                return Some(server);
            }
            sleep(Duration::from_millis(100)).await;
        }
        if !server.shutdown(GRACE).await {
            tally.fail(format!("{transport:?}: a server doesn't drain"));
        }
        tally.restarts.fetch_add(1, Ordering::Relaxed);
        server = match serve(transport, Some(&address), &place).await {
            Ok(server) => server,
            Err(error) => {
                tally.fail(format!("{transport:?}: no new server: {error}"));
                return None;
            }
        };
    }
}
