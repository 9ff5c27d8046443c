//! Calls that are cancelled in the same breath, without end, within every limit: no more handlers run than
//! were announced, and others get their turns.
//!
//! How long others wait is counted in calls that were answered to anybody, not in time: with them on one
//! thread the clock would say how fast the attackers are.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use rpc_core::Limits;
use tokio::task::{JoinSet, yield_now};

use super::{ERROR, NO_TIMEOUT, Target, cancel, request};
use crate::raw::{Raw, call_id};

/// Calls that the server runs at a time for one connection.
const PLACES: u64 = 64;

const ATTACKERS: u64 = 4;

/// What each of them sends at once fills its places; `RPC_TIMES` makes it go on so many times as long.
const ROUNDS: u64 = 200;

/// Fills all places with calls that are cancelled at once, and waits for the answers. Returns when that
/// has been done so often.
async fn attack(mut raw: Raw, rounds: u64, counts: [Arc<AtomicU64>; 2]) {
    let begin = |id| request(id, "forever", NO_TIMEOUT, &[]);
    for round in 1..=rounds {
        let ids = (0..PLACES).map(|slot| call_id(round, slot));
        if round % 2 == 0 {
            // Read together with its cancel, no call gets as far as a handler.
            let pairs: Vec<u8> = ids.flat_map(|id| [begin(id), cancel(id)].concat()).collect();
            raw.put(&pairs).await;
        } else {
            let (begun, cancelled) = (ids.clone().flat_map(begin), ids.flat_map(cancel));
            raw.put(&begun.collect::<Vec<u8>>()).await;
            // The server's turn.
            yield_now().await;
            raw.put(&cancelled.collect::<Vec<u8>>()).await;
        }
        for _ in 0..PLACES {
            let (lane, frame) = raw.frame().await;
            assert_eq!((lane >> 24, frame[0]), (round, ERROR));
            for count in &counts {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Who calls beside the attackers.
#[derive(Debug, Clone, Copy)]
struct Honest {
    clients: u64,
    /// How many calls each has at a time.
    calls: u64,
}

/// What came of an attack.
struct Outcome {
    pairs: u64,
    handlers: usize,
    /// How many handlers there may be at a time: those of the attackers, and one honest one, for those end
    /// as soon as they have begun.
    limit: usize,
    /// Calls of the honest.
    calls: usize,
    /// All that can be under way at a time: when so much was answered, each has had its turn.
    turn: u64,
    /// What was answered to anybody, while one of the honest waited: of 99 in 100 at most.
    waited: u64,
}

impl Outcome {
    fn turns(&self) -> f64 {
        self.waited as f64 / self.turn as f64
    }
}

/// Attacks a server while others call, and sees what they notice.
async fn attacked(honest: Honest) -> Outcome {
    let mut limits = Limits::default();
    limits.calls = u32::try_from(PLACES).unwrap();
    let target = Target::limited(limits).await;
    let times = std::env::var("RPC_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let (pairs, answered) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let is_over = Arc::<AtomicBool>::default();
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        let raw = target.attacker().await;
        attackers.spawn(attack(raw, times * ROUNDS, [&pairs, &answered].map(Arc::clone)));
    }
    let mut callers = JoinSet::new();
    for _ in 0..honest.clients {
        let client = target.client();
        for _ in 0..honest.calls {
            let (client, answered, is_over) = (client.clone(), answered.clone(), is_over.clone());
            callers.spawn(async move {
                let mut waited = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let before = answered.load(Ordering::Relaxed);
                    assert_eq!(client.echo("old".into()).await.as_deref(), Ok("old"));
                    waited.push(answered.fetch_add(1, Ordering::Relaxed) - before);
                }
                waited
            });
        }
    }
    attackers.join_all().await;
    is_over.store(true, Ordering::Relaxed);
    let mut waited: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    target.gauge.nothing_runs().await;
    target.others_go_on().await;
    waited.sort_unstable();
    let turn = ATTACKERS * PLACES + honest.clients * honest.calls;
    Outcome {
        pairs: pairs.load(Ordering::Relaxed),
        handlers: target.gauge.most(),
        limit: usize::try_from(ATTACKERS * PLACES).unwrap() + 1,
        calls: waited.len(),
        turn,
        waited: waited[waited.len() * 99 / 100],
    }
}

/// What an attack may do to others, however many those are.
fn check(outcome: &Outcome) {
    let Outcome { handlers, limit, waited, turn, .. } = outcome;
    assert!(*handlers > 1, "no handler of theirs ever ran, so nothing was tested");
    assert!(handlers <= limit, "{handlers} handlers");
    assert!(*waited <= 2 * turn, "{waited} calls were answered while an honest one waited");
}

#[tokio::test]
async fn cancelled_calls_without_end_take_no_more_than_their_turns() {
    let outcome = attacked(Honest { clients: 1, calls: 1 }).await;
    check(&outcome);
    println!("FIGURE hostile.pairs={}", outcome.pairs);
    println!("FIGURE hostile.handlers={}", outcome.handlers);
    println!("FIGURE hostile.limit={}", outcome.limit);
    println!("FIGURE hostile.calls={}", outcome.calls);
    println!("FIGURE hostile.turns={:.1}", outcome.turns());
}

/// Four in five of the calls that a server may have at a time are honest, and of those that it has.
#[tokio::test]
async fn cancelled_calls_take_no_more_than_their_turns_at_80_percent_of_load_either() {
    let outcome = attacked(Honest { clients: 4 * ATTACKERS, calls: PLACES }).await;
    check(&outcome);
    let load = 100 * outcome.calls as u64 / (outcome.calls as u64 + outcome.pairs);
    assert!(load >= 80, "{load} % of the calls were honest");
    println!("FIGURE hostile.load={load}");
    println!("FIGURE hostile.loaded_pairs={}", outcome.pairs);
    println!("FIGURE hostile.loaded_calls={}", outcome.calls);
    println!("FIGURE hostile.loaded_turns={:.1}", outcome.turns());
}
