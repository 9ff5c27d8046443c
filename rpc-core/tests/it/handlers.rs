//! Handlers that block, hold locks, call their own server, or leave tasks behind.

use std::{
    future::pending,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    time::Duration,
};

use rpc_core::{CallError, Channel, Delivery, ErrorKind};
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, task};

use crate::rig::{Rig, alive_tasks, check, rig, to, until};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Poisoned;

#[rpc_core::service]
trait Lab {
    async fn add(&self, a: u64, b: u64) -> u64;
    /// Blocks its thread until it is told to go on.
    async fn block(&self);
    /// Panics while it holds a lock.
    async fn poison(&self);
    async fn use_poisoned(&self) -> Result<u64, Poisoned>;
    /// Holds another lock for ever.
    async fn hold(&self);
    async fn use_held(&self) -> u64;
    async fn leave_a_task(&self);
    /// Calls its own server, over the connection that it was called on or over another.
    async fn call_again(&self, same_connection: bool) -> Result<u64, String>;
}

struct Bench {
    running: Arc<AtomicUsize>,
    started: Notify,
    go_on: Mutex<Receiver<()>>,
    poisoned: Mutex<u64>,
    held: tokio::sync::Mutex<u64>,
    left: Arc<Notify>,
    /// A channel of the handlers, and that of their callers.
    channels: OnceLock<[Channel; 2]>,
}

struct CountDown(Arc<AtomicUsize>);

impl Drop for CountDown {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Lab for Bench {
    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
    async fn block(&self) {
        self.running.fetch_add(1, Ordering::SeqCst);
        let _count = CountDown(Arc::clone(&self.running));
        self.started.notify_one();
        self.go_on.lock().unwrap().recv().unwrap();
        // Here it is stopped, if nobody waits for it any more.
        task::yield_now().await;
    }
    async fn poison(&self) {
        let _guard = self.poisoned.lock();
        panic!("a test's own panic");
    }
    async fn use_poisoned(&self) -> Result<u64, Poisoned> {
        self.poisoned.lock().map(|value| *value).map_err(|_| Poisoned)
    }
    async fn hold(&self) {
        let _guard = self.held.lock().await;
        self.started.notify_one();
        pending::<()>().await;
    }
    async fn use_held(&self) -> u64 {
        *self.held.lock().await
    }
    async fn leave_a_task(&self) {
        let left = Arc::clone(&self.left);
        tokio::spawn(async move { left.notified().await });
    }
    async fn call_again(&self, same_connection: bool) -> Result<u64, String> {
        let channel = self.channels.get().unwrap()[usize::from(same_connection)].clone();
        let call = LabClient::new(channel).add(2, 3).timeout(Duration::from_secs(1));
        call.await.map_err(|error| error.to_string())
    }
}

struct Setup {
    rig: Rig,
    lab: LabClient,
    bench: Arc<Bench>,
    /// Lets a handler that blocks go on.
    release: Sender<()>,
}

/// With room for one call at a time.
async fn setup() -> Setup {
    let (release, go_on) = mpsc::channel();
    let bench = Arc::new(Bench {
        running: Arc::default(),
        started: Notify::new(),
        go_on: Mutex::new(go_on),
        poisoned: Mutex::new(1),
        held: tokio::sync::Mutex::new(2),
        left: Arc::default(),
        channels: OnceLock::new(),
    });
    let rig = rig(LabServer::from_arc(Arc::clone(&bench)), 1).await;
    let lab = LabClient::new(rig.channel.clone());
    assert_eq!(lab.add(1, 2).await, Ok(3));
    Setup { rig, lab, bench, release }
}

/// Nothing stops a handler that doesn't return: not a cancel, not its deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_free_only_when_its_handler_is_gone() {
    let Setup { lab, bench, release, rig } = setup().await;
    for cancel in [true, false] {
        let call = lab.block().timeout(Duration::from_millis(if cancel { 60_000 } else { 20 }));
        let call = tokio::spawn(call);
        bench.started.notified().await;
        if cancel {
            call.abort();
        } else {
            let error = call.await.unwrap().unwrap_err();
            check(&error, ErrorKind::DeadlineExceeded, Delivery::Unknown);
        }
        let error = lab.add(1, 2).timeout(Duration::from_millis(100)).await.unwrap_err();
        check(&error, ErrorKind::DeadlineExceeded, Delivery::NotSent);
        assert_eq!(bench.running.load(Ordering::SeqCst), 1, "it still runs");

        release.send(()).unwrap();
        assert_eq!(lab.add(1, 2).await, Ok(3));
        assert_eq!(bench.running.load(Ordering::SeqCst), 0, "it was gone before its slot was free");
    }
    assert_eq!(rig.dials.count(), 1);
}

#[tokio::test]
async fn a_lock_that_a_handler_poisons_is_its_services_affair() {
    let Setup { lab, rig, .. } = setup().await;
    assert_eq!(lab.use_poisoned().await, Ok(1));
    for _ in 0..3 {
        let error = lab.poison().await.unwrap_err();
        check(&error, ErrorKind::HandlerPanicked, Delivery::Replied);
        assert_eq!(lab.use_poisoned().await, Err(CallError::App(Poisoned)));
    }
    assert_eq!(rig.dials.count(), 1);
    assert!(rig.server.shutdown(Duration::from_secs(1)).await);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_a_stopped_handler_held_is_free() {
    let Setup { lab, bench, rig: _rig, .. } = setup().await;
    for cancel in [true, false] {
        let call = tokio::spawn(lab.hold());
        bench.started.notified().await;
        if cancel {
            call.abort();
        } else {
            let error = call.await.unwrap().unwrap_err();
            check(&error, ErrorKind::DeadlineExceeded, Delivery::Unknown);
        }
        assert_eq!(lab.use_held().await, Ok(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_calls_its_own_server_is_answered_or_told_at_its_deadline() {
    let Setup { lab, bench, rig, .. } = setup().await;
    let own = Channel::connect(to(&rig.server)).await.unwrap();
    bench.channels.set([own, rig.channel.clone()]).unwrap();
    assert_eq!(lab.call_again(false).await, Ok(5), "another connection has places of its own");
    let Err(CallError::App(text)) = lab.call_again(true).await else {
        panic!("the only place of the connection was taken by the handler itself");
    };
    let expected = "Lab.add: deadline exceeded: it waited for a free place on the connection";
    assert!(text.starts_with(expected), "{text}");
}

#[tokio::test]
async fn a_task_that_a_handler_leaves_behind_holds_up_nothing() {
    let Setup { lab, bench, rig, .. } = setup().await;
    let tasks = alive_tasks();
    for _ in 0..3 {
        lab.leave_a_task().await.unwrap();
    }
    until("its handlers are gone", || alive_tasks() == tasks + 3).await;
    assert!(rig.server.shutdown(Duration::from_secs(10)).await, "they are no part of a drain");
    bench.left.notify_waiters();
    until("they went on until they were done", || alive_tasks() < tasks).await;
}
