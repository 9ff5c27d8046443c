//! Handlers that block their thread: how soon a method that did so once is kept away from the task
//! that serves the connection. How long others wait is measured by `benches`, not asserted here.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use tokio::task;

use crate::rig::{Rig, rig};

/// Longer than any poll that is taken for fast.
const BLOCK: Duration = Duration::from_millis(2);

#[rpc_core::service]
trait Lab {
    async fn work(&self, blocks: bool) -> String;
    async fn other(&self) -> String;
}

/// Both methods return the task that they ran in.
struct Bench;

impl Lab for Bench {
    async fn work(&self, blocks: bool) -> String {
        if blocks {
            thread::sleep(BLOCK);
        }
        task::id().to_string()
    }
    async fn other(&self) -> String {
        task::id().to_string()
    }
}

struct Setup {
    _rig: Rig,
    lab: LabClient,
    /// The task that serves the connection.
    driver: String,
}

/// Makes `work` and `other` run inline: where their requests are decoded, in one task.
async fn promoted() -> Setup {
    let rig = rig(LabServer::new(Bench), 1024).await;
    let lab = LabClient::new(rig.channel.clone());
    let began = Instant::now();
    loop {
        let (first, second) = (lab.work(false).await.unwrap(), lab.work(false).await.unwrap());
        if first == second && first == lab.other().await.unwrap() {
            return Setup { _rig: rig, lab, driver: first };
        }
        assert!(began.elapsed() < Duration::from_secs(20), "they never came inline");
    }
}

/// The same, and `work` has blocked once where its request was decoded: nobody could know. On a machine so
/// busy that a call which does nothing seemed to block it went to a task, and this begins again.
async fn blocked_once() -> Setup {
    let began = Instant::now();
    loop {
        let setup = promoted().await;
        if setup.lab.work(true).await.unwrap() == setup.driver {
            return setup;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it never ran inline");
    }
}

#[tokio::test]
async fn a_method_that_has_blocked_once_runs_in_tasks() {
    let Setup { lab, driver, _rig } = blocked_once().await;
    for _ in 0..3 {
        assert_ne!(lab.work(true).await.unwrap(), driver);
        // Calls between them, which are fast, excuse nothing.
        lab.other().await.unwrap();
    }
}

#[tokio::test]
async fn a_method_that_blocks_between_fast_calls_is_found_all_the_same() {
    let Setup { lab, driver, _rig } = blocked_once().await;
    for _ in 0..7 {
        lab.other().await.unwrap();
        lab.other().await.unwrap();
        assert_ne!(lab.work(true).await.unwrap(), driver);
    }
}

#[tokio::test]
async fn at_most_seven_calls_of_a_batch_block_one_after_the_other() {
    let Setup { lab, driver, _rig } = promoted().await;
    // They leave in one write, and are one batch.
    let calls: Vec<_> = (0..32).map(|_| tokio::spawn(lab.work(true))).collect();
    let mut tasks = HashMap::<String, usize>::new();
    for call in calls {
        *tasks.entry(call.await.unwrap().unwrap()).or_default() += 1;
    }
    let inline = tasks.remove(&driver).unwrap_or_default();
    assert!((1..8).contains(&inline), "{inline} ran inline");
    assert_eq!(tasks.len(), 32 - inline, "the others have a task each");
}
