//! Calls over the adversarial transport: every one ends, runs at most once, and says whether it ran.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use rpc_core::{
    Call, Channel, Delivery, RpcError, Server,
    service::{Handler, Method, Plain, Request, Service},
    testing::adversary::{Adversary, Death, Direction},
};

const ECHO: Method = Method::new("Counter", "echo");

/// Echoes text, and counts how often each call was run.
#[derive(Clone, Default)]
struct Counter {
    runs: Arc<Mutex<BTreeMap<u32, u32>>>,
}

impl Counter {
    fn runs(&self, call: u32) -> u32 {
        self.runs.lock().unwrap().get(&call).copied().unwrap_or_default()
    }
}

impl Service for Counter {
    fn name(&self) -> &'static str {
        "Counter"
    }

    fn methods(&self) -> &'static [Method] {
        &[ECHO]
    }

    fn call(&self, request: Request) -> Handler {
        let runs = Arc::clone(&self.runs);
        Box::pin(async move {
            let (call, text): (u32, String) = request.args()?;
            *runs.lock().unwrap().entry(call).or_default() += 1;
            // Some handlers wait, and so become tasks.
            if call.is_multiple_of(3) {
                tokio::task::yield_now().await;
            }
            request.reply::<Plain<String>>(&text)
        })
    }
}

/// Text of some bytes, or of many frames.
fn text(call: u32) -> String {
    let bytes = if call.is_multiple_of(5) { 100_000 } else { 10 };
    format!("{call}:").repeat(bytes / 3)
}

fn echo(channel: &Channel, call: u32) -> Call<String, RpcError> {
    channel.call::<Plain<String>>(&ECHO, (call, text(call)))
}

/// Makes `count` calls at the same time, then ends everything. Returns their results.
async fn call_at_once(
    adversary: &Adversary,
    counter: &Counter,
    count: u32,
) -> Vec<Result<String, RpcError>> {
    let builder = Server::builder().service(counter.clone()).listen(adversary.listen());
    let server = builder.start().unwrap();
    let channel = Channel::builder().lazy(adversary.connector());
    let calls: Vec<_> = (0..count).map(|call| tokio::spawn(echo(&channel, call))).collect();
    let mut results = Vec::new();
    for call in calls {
        results.push(call.await.unwrap());
    }
    drop(channel);
    assert!(server.shutdown(Duration::from_secs(60)).await, "the server has not drained");
    results
}

#[tokio::test(start_paused = true)]
async fn calls_survive_everything_but_a_death() {
    for seed in 0..50 {
        let adversary = Adversary::new(seed).frame_bytes(1100);
        let counter = Counter::default();
        let results = call_at_once(&adversary, &counter, 100).await;
        for (call, result) in (0..).zip(results) {
            let echoed = result.unwrap_or_else(|e| panic!("seed {seed}, call {call}: {e}"));
            assert_eq!(echoed, text(call), "seed {seed}");
            assert_eq!(counter.runs(call), 1, "seed {seed}, call {call}");
        }
    }
}

/// Checks that what each call says of itself is true, if the first connection dies so. Adds to
/// `seen` what they say.
async fn check_delivery(death: Death, seed: u64, seen: &mut HashSet<Option<Delivery>>) {
    let adversary = Adversary::new(seed).frame_bytes(1100).death(death);
    let counter = Counter::default();
    let results = call_at_once(&adversary, &counter, 12).await;
    for (call, result) in (0..).zip(results) {
        let at = format!("{death:?}, seed {seed}, call {call}");
        let runs = counter.runs(call);
        seen.insert(result.as_ref().err().map(RpcError::delivery));
        match result.map_err(|error| (error.delivery(), error)) {
            Ok(echoed) => {
                assert_eq!(echoed, text(call), "{at}");
                assert_eq!(runs, 1, "{at}: answered");
            }
            Err((Delivery::NotSent | Delivery::Rejected, error)) => {
                assert_eq!(runs, 0, "{at}: {error}");
            }
            Err((_, error)) => assert!(runs <= 1, "{at}: {error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn delivery_tells_the_truth_whichever_frame_is_the_last() {
    let mut seen = HashSet::new();
    for frames in 0..60 {
        for direction in [Direction::ToAcceptor, Direction::ToConnector] {
            let sent = Death::when_sent(direction, frames);
            let received = Death::when_received(direction, frames);
            for death in [sent, received, sent.with_end(), received.with_end()] {
                for seed in 0..4 {
                    check_delivery(death, seed, &mut seen).await;
                }
            }
        }
    }
    for answer in [None, Some(Delivery::NotSent), Some(Delivery::Unknown)] {
        assert!(seen.contains(&answer), "no call ended with {answer:?}, so nothing was tested");
    }
}
