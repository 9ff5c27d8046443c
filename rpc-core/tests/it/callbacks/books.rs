//! Both sides call each other at full speed over the adversary, which kills some connections: every
//! call ends, nothing runs twice, and nothing runs of which the caller was told that it did not.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rpc_core::{
    Channel, Context, Delivery, Limits, Server,
    testing::{
        adversary::{Adversary, Death, Direction},
        checkout,
    },
};
use tokio::{
    sync::mpsc,
    task::{JoinSet, yield_now},
    time::timeout,
};

/// Callers on each side of a connection, and the calls of each.
const CALLERS: usize = 6;
const CALLS: usize = 25;

#[rpc_core::service]
trait Entry {
    /// Says which channel leads back from the connection, and keeps it open.
    async fn hold(&self, #[ctx] cx: &Context);
    /// Enters `number`, does something, and calls back if it says so.
    async fn enter(&self, #[ctx] cx: &Context, number: u64) -> u64;
}

/// What ran and what callers were told, of both sides.
#[derive(Default)]
struct Books {
    seed: u64,
    next: AtomicU64,
    ran: Mutex<BTreeMap<u64, u32>>,
    told: Mutex<BTreeMap<u64, &'static str>>,
}

impl Books {
    /// A number that follows from the seed and the call.
    fn whim(&self, number: u64, of: u64) -> u64 {
        let mixed = (self.seed << 32 ^ number << 8 ^ of).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 29
    }

    /// Makes a call, or gives it up half-way, and notes how it ended.
    async fn call(&self, channel: &Channel) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // Which it is when the handler that makes it is stopped.
        self.told.lock().unwrap().insert(number, "dropped");
        let call = EntryClient::new(channel.clone()).enter(number);
        let call = call.timeout(Duration::from_millis(1 + self.whim(number, 1) % 50));
        let polls = self.whim(number, 2) % 40;
        let ended = if polls < 8 {
            tokio::select! {
                biased;
                ended = call => Some(ended),
                () = yields(polls) => None,
            }
        } else {
            Some(call.await)
        };
        let told = match &ended {
            None => "dropped",
            Some(Ok(_)) => "ran",
            Some(Err(error)) if error.delivery() == Delivery::Unknown => "may have run",
            Some(Err(error)) if error.delivery().never_ran() => "never ran",
            Some(Err(error)) => panic!("seed {}: {error}", self.seed),
        };
        if let Some(Ok(reply)) = ended {
            assert_eq!(reply, !number, "seed {}: the reply of another call", self.seed);
        }
        self.told.lock().unwrap().insert(number, told);
    }

    /// Calls with many callers at a time, until every call has ended.
    async fn callers(self: Arc<Self>, channel: Channel) {
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (books, channel) = (Arc::clone(&self), channel.clone());
            callers.spawn(async move {
                for _ in 0..CALLS {
                    books.call(&channel).await;
                }
            });
        }
        while let Some(caller) = callers.join_next().await {
            caller.unwrap();
        }
    }

    /// Compares the two halves, and counts what callers were told.
    fn judge(&self, tally: &mut BTreeMap<&'static str, u32>) {
        let (ran, told) = (self.ran.lock().unwrap(), self.told.lock().unwrap());
        for (number, told) in told.iter() {
            let runs = ran.get(number).copied().unwrap_or(0);
            let right = match *told {
                "ran" => runs == 1,
                "never ran" => runs == 0,
                _ => runs <= 1,
            };
            assert!(right, "seed {}: call {number} {told}, and ran {runs} times", self.seed);
            *tally.entry(told).or_default() += 1;
        }
    }
}

async fn yields(times: u64) {
    for _ in 0..times {
        yield_now().await;
    }
}

/// One side.
struct Side {
    books: Arc<Books>,
    held: mpsc::UnboundedSender<Channel>,
}

impl Entry for Side {
    async fn hold(&self, cx: &Context) {
        self.held.send(cx.channel()).unwrap();
    }
    async fn enter(&self, cx: &Context, number: u64) -> u64 {
        *self.books.ran.lock().unwrap().entry(number).or_default() += 1;
        match self.books.whim(number, 3) % 8 {
            0 => Box::pin(self.books.call(&cx.channel())).await,
            1 => tokio::time::sleep(Duration::from_millis(number % 20)).await,
            some => yields(some % 4).await,
        }
        !number
    }
}

/// How the connections of a seed die: two of three seeds have one that does.
fn network(seed: u64) -> Adversary {
    let adversary = Adversary::new(seed).frame_bytes(1100);
    let frames = 5 + seed.wrapping_mul(0x9e37_79b9) % 400;
    match seed % 6 {
        0 => adversary.death(Death::when_sent(Direction::ToAcceptor, frames)),
        1 => adversary.death(Death::when_sent(Direction::ToConnector, frames)),
        2 => adversary.death(Death::when_received(Direction::ToAcceptor, frames).with_end()),
        3 => adversary.death(Death::when_received(Direction::ToConnector, frames).with_end()),
        _ => adversary,
    }
}

async fn run(seed: u64, tally: &mut BTreeMap<&'static str, u32>) {
    let books = Arc::new(Books { seed, ..Books::default() });
    let (held, mut channels) = mpsc::unbounded_channel();
    let side = || EntryServer::new(Side { books: Arc::clone(&books), held: held.clone() });
    let mut limits = Limits::default();
    limits.calls = u32::try_from(1 + seed % 7).unwrap();
    let network = network(seed);
    let server = Server::builder().service(side()).limits(limits.clone());
    let server = server.listen(network.listen()).start().unwrap();
    let builder = Channel::builder().service(side()).limits(limits);
    let channel = builder.lazy(network.connector());

    // The second time over another connection, if the first has died.
    for _ in 0..2 {
        while EntryClient::new(channel.clone()).hold().await.is_err() {}
        let back = channels.recv().await.unwrap();
        let there = tokio::spawn(Arc::clone(&books).callers(channel.clone()));
        Arc::clone(&books).callers(back).await;
        there.await.unwrap();
    }
    drop(channel);
    assert!(server.shutdown(Duration::from_secs(10)).await, "seed {seed}: it doesn't end");
    books.judge(tally);
}

/// Says how to replay a seed that fails, but for the pauses between connections, which are random.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, commit) = (self.0, checkout());
            eprintln!("replay: RPC_SEED={seed} cargo test -p rpc-core callbacks::books{commit}");
        }
    }
}

async fn run_all(seeds: std::ops::Range<u64>, ends: &[&str]) {
    let alone: Option<u64> = std::env::var("RPC_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut tally = BTreeMap::new();
    for seed in alone.map_or(seeds, |seed| seed..seed + 1) {
        let _replay = Replay(seed);
        let ended = timeout(Duration::from_secs(60), run(seed, &mut tally)).await;
        assert!(ended.is_ok(), "seed {seed}: after a minute there are calls that wait");
    }
    eprintln!("{tally:?}");
    for end in ends {
        let missed = alone.is_none() && !tally.contains_key(end);
        assert!(!missed, "no call {end}, so nothing was tested: {tally:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn both_sides_call_each_other_at_full_speed_and_the_books_balance() {
    run_all(0..80, &["ran", "never ran", "may have run", "dropped"]).await;
}

/// Real time and real races, so fewer seeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_call_each_other_among_threads_and_the_books_balance() {
    run_all(0..12, &["ran"]).await;
}
