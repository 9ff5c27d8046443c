//! Clients at full speed: callers that repeat what certainly did not run, and write down the rest.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rpc_core::{Channel, Delivery, RpcError};
use rpc_transport_tcp::connector;
use tokio::task::JoinHandle;

use crate::{
    lab::LabClient,
    process::{orders, parameter, tell, until},
};

/// A channel that looks for a new server often.
pub(crate) fn channel(address: &str) -> LabClient {
    let backoff = (Duration::from_millis(5), Duration::from_millis(50));
    LabClient::new(Channel::builder().backoff(backoff.0, backoff.1).lazy(connector(address)))
}

/// Numbers for calls, from 1 on.
#[derive(Clone, Default)]
pub(crate) struct Numbers(Arc<AtomicU64>);

impl Numbers {
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// One failure of a call.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) call: u64,
    pub(crate) error: RpcError,
    pub(crate) at: Instant,
}

/// What a load came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Calls that were answered at last.
    pub(crate) ok: Vec<u64>,
    /// Failures after which the call was repeated: it certainly had not run.
    pub(crate) repeated: Vec<Failure>,
    /// Failures after which it was not: it may have run.
    pub(crate) lost: Vec<Failure>,
    /// From the start of the load to the end of its last call.
    pub(crate) took: Duration,
}

/// Callers that call [`Lab::run`](crate::lab::Lab::run) one call after the other, each of them.
pub(crate) struct Load {
    callers: Vec<JoinHandle<()>>,
    /// How many calls of each caller were answered.
    answered: Arc<Vec<AtomicUsize>>,
    outcome: Arc<Mutex<Outcome>>,
    over: Arc<AtomicBool>,
    began: Instant,
}

impl Load {
    /// Starts `callers` callers. Each takes a client for each call from `client`, which is given
    /// the caller's number.
    pub(crate) fn start(
        callers: usize,
        numbers: &Numbers,
        client: impl Fn(usize) -> LabClient + Send + Sync + 'static,
    ) -> Self {
        let client = Arc::new(client);
        let counters = (0..callers).map(|_| AtomicUsize::new(0)).collect();
        let mut load = Self {
            callers: Vec::new(),
            answered: Arc::new(counters),
            outcome: Arc::default(),
            over: Arc::default(),
            began: Instant::now(),
        };
        for at in 0..callers {
            let client = Arc::clone(&client);
            let (outcome, over) = (Arc::clone(&load.outcome), Arc::clone(&load.over));
            let (answered, numbers) = (Arc::clone(&load.answered), numbers.clone());
            load.callers.push(tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    call(&client(at), numbers.next(), &outcome).await;
                    answered[at].fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        load
    }

    /// Waits until every caller has gone on, by `each` calls, and all together by `all`.
    pub(crate) async fn progress(&self, each: usize, all: usize) {
        let counts = || self.answered.iter().map(|count| count.load(Ordering::Relaxed));
        let before: Vec<_> = counts().collect();
        let grown = || counts().zip(&before).map(|(now, before)| now - before);
        until("progress of all callers", || {
            grown().all(|calls| calls >= each) && grown().sum::<usize>() >= all
        })
        .await;
    }

    /// Lets every caller finish its call.
    pub(crate) async fn stop(self) -> Outcome {
        self.over.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        let outcome = std::mem::take(&mut *self.outcome.lock().unwrap());
        Outcome { took: self.began.elapsed(), ..outcome }
    }
}

/// Makes one call, and repeats it as long as it certainly did not run.
async fn call(lab: &LabClient, call: u64, outcome: &Mutex<Outcome>) {
    loop {
        let result = lab.run(call).await;
        let at = Instant::now();
        let mut outcome = outcome.lock().unwrap();
        match result {
            Ok(answer) => {
                assert_eq!(answer, call, "somebody else's answer");
                outcome.ok.push(call);
                return;
            }
            Err(error) if matches!(error.delivery(), Delivery::NotSent | Delivery::Rejected) => {
                outcome.repeated.push(Failure { call, error, at });
            }
            Err(error) => {
                outcome.lost.push(Failure { call, error, at });
                return;
            }
        }
    }
}

/// How many calls the role `client` holds.
pub(crate) const HELD: u64 = 8;

/// The role `client`: holds some calls, and makes others at full speed, until it is killed.
pub(crate) fn hold_calls() {
    let lab = channel(&parameter("ADDRESS").unwrap());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    for call in 0..HELD {
        tokio::spawn(lab.hold(call).no_deadline());
    }
    let _load = Load::start(4, &Numbers::default(), move |_| lab.clone());
    tell("calling");
    orders().for_each(drop);
}
