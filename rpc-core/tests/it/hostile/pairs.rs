//! Calls that are cancelled in the same breath, without end, within every limit: no more handlers run than
//! were announced, and others get their turns.
//!
//! How long others wait is counted in calls of the attackers', not in time: with them on one thread the
//! clock would say how fast the attackers are.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
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
async fn attack(mut raw: Raw, rounds: u64, pairs: Arc<AtomicUsize>) {
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
            pairs.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn cancelled_calls_without_end_take_no_more_than_their_turns() {
    let mut limits = Limits::default();
    limits.calls = u32::try_from(PLACES).unwrap();
    let target = Target::limited(limits).await;
    let times = std::env::var("RPC_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let (pairs, is_over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        let raw = target.attacker().await;
        attackers.spawn(attack(raw, times * ROUNDS, Arc::clone(&pairs)));
    }
    let attackers = tokio::spawn({
        let is_over = Arc::clone(&is_over);
        async move {
            attackers.join_all().await;
            is_over.store(true, Ordering::Relaxed);
        }
    });
    // The calls that were answered to the attackers while each call of the honest waited.
    let mut waited = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let before = pairs.load(Ordering::Relaxed);
        target.old_goes_on().await;
        waited.push(pairs.load(Ordering::Relaxed) - before);
    }
    attackers.await.unwrap();
    target.gauge.nothing_runs().await;
    waited.sort_unstable();
    let p99 = waited[waited.len() * 99 / 100];
    let turn = usize::try_from(ATTACKERS * PLACES).unwrap();
    let most = target.gauge.most();
    assert!(most > 1, "no handler of theirs ever ran, so nothing was tested");
    assert!(most <= turn + 1, "{most} handlers, with the honest one's");
    assert!(p99 <= 2 * turn, "{p99} of their calls, while one of the honest client's waited");
    target.others_go_on().await;
    println!("FIGURE hostile.pairs={}", pairs.load(Ordering::Relaxed));
    println!("FIGURE hostile.handlers={most}");
    println!("FIGURE hostile.limit={}", turn + 1);
    println!("FIGURE hostile.calls={}", waited.len());
    println!("FIGURE hostile.turns={:.1}", p99 as f64 / turn as f64);
}
