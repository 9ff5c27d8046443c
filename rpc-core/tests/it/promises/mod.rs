//! What a call promises, whatever happens: seeded runs over memory and over the adversary, and one
//! session cut at every byte.

mod cut;
mod lies;
mod same;

use rpc_core::testing::{
    adversary::{Adversary, Death, Direction},
    promises::{Kit, Memory, Tally},
};

/// Large messages for transports with frames of a datagram.
const LARGE_BYTES: usize = 8000;

/// The ends that every network has to see in a full run: what never happened proves nothing.
const ENDS: &[&str] = &[
    "value",
    "error of the handler",
    "dropped",
    "left",
    "handler panicked, Replied",
    "too large, NotSent",
    "too large, Replied",
    "unknown method, Rejected",
    "unknown service, Rejected",
    "malformed request, Rejected",
    "deadline exceeded, NotSent",
    "deadline exceeded, Unknown",
    "connection lost, NotSent",
    "shutting down, Unknown",
];

/// Prints what happened, and checks that all of it did that has to.
fn report(what: &str, seeds: u64, tally: &Tally, ends: &[&str]) {
    eprintln!("{what}: {tally}");
    for end in ENDS.iter().chain(ends) {
        let missed = tally.seeds() >= seeds && tally.ended(end) == 0;
        assert!(!missed, "{what}: no call ended with {end}, so nothing was tested");
    }
    eprintln!("FIGURE simulated.calls={}", tally.calls());
}

// r[verify request.once]
// r[verify delivery.table]
// r[verify error.ran]
// r[verify drain.finish]
#[tokio::test(start_paused = true)]
async fn calls_over_memory_keep_their_promises() {
    let tally = Kit::new().seeds(2000).prompt().run(|_| Memory::new()).await;
    report("memory", 2000, &tally, &["deadline exceeded, Rejected", "shutting down, NotSent"]);
}

/// Real time and real races, so fewer seeds.
#[tokio::test(flavor = "multi_thread")]
async fn calls_among_threads_keep_their_promises() {
    let tally = Kit::new().seeds(100).run(|_| Memory::new()).await;
    report("memory, among threads", 100, &tally, &[]);
}

#[tokio::test(start_paused = true)]
async fn calls_over_the_adversary_keep_their_promises() {
    let kit = Kit::new().seeds(3000).large_bytes(LARGE_BYTES).prompt();
    let tally = kit.run(|seed| Adversary::new(seed).frame_bytes(1100)).await;
    let ends = [
        "connection lost, Unknown",
        "deadline exceeded, Rejected",
        "shutting down, NotSent",
        "too large, Rejected",
    ];
    report("adversary", 3000, &tally, &ends);
}

/// Sixty frames of either direction are more than the session has.
#[tokio::test(start_paused = true)]
async fn a_session_keeps_its_promises_whichever_frame_is_its_last() {
    let mut deaths = Vec::new();
    for frames in 0..60 {
        for direction in [Direction::ToAcceptor, Direction::ToConnector] {
            let sent = Death::when_sent(direction, frames);
            let received = Death::when_received(direction, frames);
            deaths.extend([sent, received, sent.with_end(), received.with_end()]);
            deaths.extend([sent.with_reset(), received.with_reset()]);
        }
    }
    let kit = Kit::new().session().large_bytes(LARGE_BYTES).seeds(4 * deaths.len() as u64);
    let tally = kit
        .run(|seed| {
            let adversary = Adversary::new(seed).frame_bytes(1100);
            let planned = usize::try_from(seed / 4).ok().and_then(|at| deaths.get(at));
            planned.map_or(adversary.clone(), |death| adversary.death(*death))
        })
        .await;
    eprintln!("{} deaths: {tally}", 4 * deaths.len());
    let lost = ["NotSent", "Unknown", "Rejected"].map(|what| format!("connection lost, {what}"));
    for end in &lost {
        assert!(tally.ended(end) > 0, "no call ended with {end}: {tally}");
    }
    eprintln!("FIGURE cut.frames={}", 4 * deaths.len());
}
