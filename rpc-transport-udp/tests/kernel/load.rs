//! Clients: callers that repeat what certainly did not run, and write down the rest.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rpc_core::{Channel, ChannelBuilder, Delivery, RpcError};
use rpc_transport_udp::connector;
use tokio::task::JoinHandle;

use crate::{
    lab::Lab,
    process::{orders, tell},
    record::Books,
    service::BenchClient,
};

/// A channel that looks for a new server often.
pub(crate) fn builder() -> ChannelBuilder {
    Channel::builder().backoff(Duration::from_millis(5), Duration::from_millis(50))
}

/// A client of the test's server.
pub(crate) fn client() -> BenchClient {
    BenchClient::new(builder().lazy(connector(Lab::address())))
}

/// One failure of a call.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) call: u64,
    pub(crate) error: RpcError,
}

/// What a load came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Calls that were answered at last, when, and how long they took.
    pub(crate) ok: Vec<(u64, Instant, Duration)>,
    /// How often a call was repeated because it certainly had not run.
    pub(crate) repeats: usize,
    /// Failures of calls that may have run.
    pub(crate) lost: Vec<Failure>,
}

impl Outcome {
    /// How long the slowest call took that was answered.
    pub(crate) fn slowest(&self) -> Duration {
        self.ok.iter().map(|(_, _, took)| *took).max().unwrap_or_default()
    }

    /// How long after `from` the first call was answered.
    pub(crate) fn first_after(&self, from: Instant) -> Option<Duration> {
        self.ok.iter().filter_map(|(_, at, _)| at.checked_duration_since(from)).min()
    }

    /// Checks that calls ran as often as their callers were told.
    #[track_caller]
    pub(crate) fn check(&self, books: &mut Books) {
        books.read_on();
        let wrong: Vec<_> = self.ok.iter().filter(|(call, ..)| books.ran(*call) != 1).collect();
        assert!(wrong.is_empty(), "answered, and not run once: {wrong:?}");
        assert_eq!(books.repeated(), Vec::<u64>::new(), "ran twice");
        let lost = self.lost.iter().filter(|lost| books.ran(lost.call) > 0).count();
        assert_eq!(books.calls(), self.ok.len() + lost, "calls ran that are said not to have");
    }
}

/// Callers that call [`Bench::run`](crate::service::Bench::run), one call after the other.
pub(crate) struct Load {
    callers: Vec<JoinHandle<()>>,
    outcome: Arc<Mutex<Outcome>>,
    over: Arc<AtomicBool>,
}

impl Load {
    pub(crate) fn start(callers: usize, bench: &BenchClient) -> Self {
        let mut load = Self { callers: Vec::new(), outcome: Arc::default(), over: Arc::default() };
        let numbers = Arc::<AtomicU64>::default();
        for _ in 0..callers {
            let (bench, numbers) = (bench.clone(), Arc::clone(&numbers));
            let (outcome, over) = (Arc::clone(&load.outcome), Arc::clone(&load.over));
            load.callers.push(tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    call(&bench, numbers.fetch_add(1, Ordering::Relaxed) + 1, &outcome).await;
                }
            }));
        }
        load
    }

    /// Lets every caller finish its call.
    pub(crate) async fn stop(self) -> Outcome {
        self.over.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        std::mem::take(&mut self.outcome.lock().unwrap())
    }
}

/// Makes one call, and repeats it as long as it certainly did not run.
async fn call(bench: &BenchClient, call: u64, outcome: &Mutex<Outcome>) {
    let began = Instant::now();
    loop {
        let result = bench.run(call).await;
        let mut outcome = outcome.lock().unwrap();
        match result {
            Ok(answer) => {
                assert_eq!(answer, call, "somebody else's answer");
                outcome.ok.push((call, Instant::now(), began.elapsed()));
                return;
            }
            Err(error) if matches!(error.delivery(), Delivery::NotSent | Delivery::Rejected) => {
                outcome.repeats += 1;
            }
            Err(error) => {
                outcome.lost.push(Failure { call, error });
                return;
            }
        }
    }
}

/// How many calls the role `client` holds.
pub(crate) const HELD: u64 = 8;

/// The role `client`: holds some calls, and makes others at full speed, until it is killed.
pub(crate) fn hold_calls() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let bench = client();
    for call in 0..HELD {
        tokio::spawn(bench.hold(1_000_000 + call).no_deadline());
    }
    let _load = Load::start(4, &bench);
    tell("calling");
    orders().for_each(drop);
}
