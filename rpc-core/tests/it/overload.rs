//! More load than a server takes: it goes on doing what it can, and says at once what it can't.
//!
//! In paused time, in which a handler takes exactly as long as it sleeps: what is done in a second follows from
//! the limits alone, and not from the machine.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rpc_core::{Channel, ErrorKind, Limits, RpcError, Server, transport::memory};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep},
};

use crate::rig::to;

/// How many calls the server runs at a time, and how long each takes: 1,600 a second.
const PLACES: u32 = 16;
const WORK: Duration = Duration::from_millis(10);

/// How long the load goes on.
const TIME: Duration = Duration::from_secs(1);

/// What callers wait for: five times what a call takes.
const PATIENCE: Duration = Duration::from_millis(50);

/// In which a call that isn't run has to be told so, 99 times in 100.
const REFUSED_WITHIN: Duration = Duration::from_millis(10);

/// Each has its share of the places.
const CHANNELS: u32 = 4;

#[rpc_core::service]
trait Mill {
    async fn grind(&self);
}

struct Wheel;

impl Mill for Wheel {
    async fn grind(&self) {
        sleep(WORK).await;
    }
}

/// Where calls are held up that the server can't take.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// At the server, which refuses them.
    Server,
    /// In front of the places of a connection, where they wait until their time is over.
    Connection,
}

/// A server, and the channels to it.
async fn mill(bound: Bound) -> (Server, Vec<Channel>) {
    let name = format!("mill {bound:?}");
    let mut limits = Limits::default();
    let mut server = Server::builder().service(MillServer::new(Wheel));
    match bound {
        Bound::Server => server = server.calls(PLACES as usize),
        Bound::Connection => {
            limits.calls = PLACES / CHANNELS;
        }
    }
    let listener = memory::listen(name).await.unwrap();
    let server = server.limits(limits).listen(listener).start().unwrap();
    let mut channels = Vec::new();
    for _ in 0..CHANNELS {
        channels.push(Channel::connect(to(&server)).await.unwrap());
    }
    (server, channels)
}

/// What became of the calls of a load.
#[derive(Debug, Default)]
struct Outcome {
    /// Answered.
    good: usize,
    /// How long those waited that were refused.
    refused: Vec<Duration>,
    /// Whose time was over.
    late: usize,
}

impl Outcome {
    fn add(&mut self, took: Duration, result: Result<(), RpcError>) {
        match result {
            Ok(()) => self.good += 1,
            Err(error) if error.kind() == ErrorKind::Overloaded => {
                assert!(error.delivery().never_ran(), "{error}");
                self.refused.push(took);
            }
            Err(error) if error.kind() == ErrorKind::DeadlineExceeded => self.late += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

/// As many callers as there are places, each with one call after the other: what can be done.
async fn peak(channels: &[Channel]) -> usize {
    let until = Instant::now() + TIME;
    let mut callers = JoinSet::new();
    for caller in 0..PLACES as usize {
        let mill = MillClient::new(channels[caller % channels.len()].clone());
        callers.spawn(async move {
            let mut done = 0;
            while Instant::now() < until {
                mill.grind().await.unwrap();
                done += 1;
            }
            done
        });
    }
    callers.join_all().await.into_iter().sum()
}

/// `times` as many calls as can be done, which begin evenly.
async fn offer(channels: &[Channel], times: u32) -> Outcome {
    let outcome = Arc::<Mutex<Outcome>>::default();
    let mut calls = JoinSet::new();
    let mut ticks = interval(WORK / (PLACES * times));
    let until = Instant::now() + TIME;
    for channel in channels.iter().cycle() {
        ticks.tick().await;
        if Instant::now() >= until {
            break;
        }
        let call = MillClient::new(channel.clone()).grind().timeout(PATIENCE);
        let outcome = Arc::clone(&outcome);
        calls.spawn(async move {
            let began = Instant::now();
            let result = call.await;
            outcome.lock().unwrap().add(began.elapsed(), result);
        });
    }
    calls.join_all().await;
    Arc::into_inner(outcome).unwrap().into_inner().unwrap()
}

/// Offers twice and ten times what can be done. Returns what was done, in percent of that, at least, and
/// how long those waited that were refused, nearly all of them.
async fn overload(bound: Bound) -> (usize, Duration) {
    let (_server, channels) = mill(bound).await;
    let peak = peak(&channels).await;
    let mut worst = (usize::MAX, Duration::ZERO);
    for times in [2, 10] {
        let mut outcome = offer(&channels, times).await;
        outcome.refused.sort();
        let Outcome { good, refused, late } = &outcome;
        let p99 = refused.get(refused.len() * 99 / 100).copied().unwrap_or_default();
        eprintln!(
            "{bound:?}: {peak} at the peak; of {times} times as many {good} were answered, {} \
             refused, 99 % of them within {p99:?}, and {late} too late",
            refused.len()
        );
        worst = (worst.0.min(100 * good / peak), worst.1.max(p99));
    }
    worst
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_asked_for_too_much_does_what_it_can_and_refuses_the_rest_at_once() {
    let (goodput, refused) = overload(Bound::Server).await;
    assert!(goodput >= 90, "{goodput} % of what it can");
    assert!(refused <= REFUSED_WITHIN, "{refused:?}");
    eprintln!("FIGURE overload.refused_ms={}", refused.as_millis());
    eprintln!("FIGURE overload.goodput={goodput}");
}

/// Who waits for a place until it has no time left takes it for nothing.
#[tokio::test(start_paused = true)]
async fn callers_with_little_time_that_wait_for_places_get_what_can_be_done() {
    let (goodput, _) = overload(Bound::Connection).await;
    assert!(goodput >= 90, "{goodput} % of what it can");
    eprintln!("FIGURE overload.queue_goodput={goodput}");
}
