//! User code that panics: the call it belongs to fails, and nothing else does.

use std::{
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rpc_core::{Delivery, ErrorKind, RpcError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::{
    sync::Notify,
    task::{self, JoinHandle},
};

mod by_hand;

use crate::rig::{Rig, alive_tasks, check, rig, until};

/// Calls at a time on a connection, and how often each case is repeated: no slot may leak.
const SLOTS: u32 = 4;
const TIMES: u32 = 3 * SLOTS;

/// Panics without the hook, which would print each of thousands.
fn blow() {
    resume_unwind(Box::new("a test's own panic"));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Trigger {
    Nothing,
    Encoding,
    Decoding,
    Dropping,
}

/// A value whose own code panics, once it is armed. It is armed where it has been decoded.
#[derive(Debug)]
struct Bomb {
    trigger: Trigger,
    armed: bool,
}

impl Bomb {
    fn safe(trigger: Trigger) -> Self {
        Self { trigger, armed: false }
    }

    fn armed(trigger: Trigger) -> Self {
        Self { trigger, armed: true }
    }

    fn pass(&self, what: Trigger) {
        // A panic while another unwinds is the end of any process.
        if self.armed && self.trigger == what && !thread::panicking() {
            blow();
        }
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.pass(Trigger::Dropping);
    }
}

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pass(Trigger::Encoding);
        self.trigger.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bomb = Self::armed(Trigger::deserialize(deserializer)?);
        bomb.pass(Trigger::Decoding);
        Ok(bomb)
    }
}

/// What a panic carries, when it isn't a text.
struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        blow();
    }
}

/// What a handler does.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Body {
    Returns,
    Panics,
    PanicsWithPayload,
}

#[rpc_core::service]
trait Lab {
    async fn add(&self, a: u64, b: u64) -> u64;
    async fn held(&self) -> u64;
    async fn hold_bomb(&self);
    async fn blow(&self, body: Body, awaits: bool, argument: Bomb, reply: Trigger) -> Bomb;
}

#[derive(Default)]
struct Bench {
    started: Notify,
    release: Notify,
    /// The task that ran `blow` last.
    task: Mutex<Option<task::Id>>,
}

impl Lab for Bench {
    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
    async fn held(&self) -> u64 {
        self.started.notify_one();
        self.release.notified().await;
        7
    }
    async fn hold_bomb(&self) {
        let _local = Bomb::armed(Trigger::Dropping);
        self.started.notify_one();
        pending::<()>().await;
    }
    async fn blow(&self, body: Body, awaits: bool, _argument: Bomb, reply: Trigger) -> Bomb {
        *self.task.lock().unwrap() = Some(task::id());
        if awaits {
            task::yield_now().await;
        }
        match body {
            Body::Returns => {}
            Body::Panics => blow(),
            Body::PanicsWithPayload => resume_unwind(Box::new(Payload)),
        }
        Bomb::armed(reply)
    }
}

/// A server, and a call that is under way while others panic.
struct Setup {
    rig: Rig,
    lab: LabClient,
    bench: Arc<Bench>,
    held: JoinHandle<Result<u64, RpcError>>,
    tasks: usize,
}

async fn setup() -> Setup {
    let bench = Arc::new(Bench::default());
    let rig = rig(LabServer::from_arc(Arc::clone(&bench)), SLOTS).await;
    let lab = LabClient::new(rig.channel.clone());
    assert_eq!(lab.add(1, 2).await, Ok(3));
    let tasks = alive_tasks();
    let held = tokio::spawn(lab.held().no_deadline());
    bench.started.notified().await;
    Setup { rig, lab, bench, held, tasks }
}

impl Setup {
    /// The call that was under way is answered, on the first connection, and nothing is left over.
    async fn finish(self) {
        self.bench.release.notify_one();
        assert_eq!(self.held.await.unwrap(), Ok(7), "the call that was under way");
        until("all tasks are gone", || alive_tasks() == self.tasks).await;
        every_slot_works(&self.lab).await;
        assert_eq!((self.rig.dials.count(), self.rig.server.connections()), (1, 1));
    }

    async fn started(&self) {
        let started = self.bench.started.notified();
        tokio::time::timeout(Duration::from_secs(60), started).await.expect("no slot is free");
    }

    fn task(&self) -> Option<task::Id> {
        *self.bench.task.lock().unwrap()
    }

    /// Calls `blow` until it runs where it was decoded: in the same task twice.
    async fn promote(&self) {
        let began = Instant::now();
        let mut last = None;
        while last.is_none() || last != self.task() {
            last = self.task();
            let (safe, nothing) = (Bomb::safe(Trigger::Nothing), Trigger::Nothing);
            drop(self.lab.blow(Body::Returns, false, safe, nothing).await.unwrap());
            assert!(began.elapsed() < Duration::from_secs(30), "it never came inline");
        }
    }
}

async fn every_slot_works(lab: &LabClient) {
    let calls: Vec<_> = (0..SLOTS.into()).map(|n| tokio::spawn(lab.add(n, 1))).collect();
    for (n, call) in (1..).zip(calls) {
        assert_eq!(call.await.unwrap(), Ok(n));
    }
}

/// Where a server's user code can panic: the handler's body, its argument, its reply.
const CASES: [(&str, Body, Trigger, Trigger); 6] = [
    ("body", Body::Panics, Trigger::Nothing, Trigger::Nothing),
    ("payload", Body::PanicsWithPayload, Trigger::Nothing, Trigger::Nothing),
    ("decoding", Body::Returns, Trigger::Decoding, Trigger::Nothing),
    ("dropping the argument", Body::Returns, Trigger::Dropping, Trigger::Nothing),
    ("encoding", Body::Returns, Trigger::Nothing, Trigger::Encoding),
    ("dropping the reply", Body::Returns, Trigger::Nothing, Trigger::Dropping),
];

impl Setup {
    /// Makes one call that panics on the server.
    async fn panics(&self, case: (&str, Body, Trigger, Trigger), awaits: bool) {
        let (name, body, argument, reply) = case;
        let result = self.lab.blow(body, awaits, Bomb::safe(argument), reply).await;
        let error = result.map(drop).expect_err(name);
        // r[verify delivery.table]
        check(&error, ErrorKind::HandlerPanicked, Delivery::Replied);
        assert!(!error.to_string().contains("own panic"), "it may hold secrets: {error}");
    }
}

#[tokio::test]
async fn a_panic_in_a_task_fails_its_own_call_only() {
    for case in CASES {
        for awaits in [false, true] {
            let setup = setup().await;
            for _ in 0..TIMES {
                setup.panics(case, awaits).await;
            }
            setup.finish().await;
        }
    }
}

#[tokio::test]
async fn a_panic_in_a_handler_that_runs_inline_fails_its_own_call_only() {
    for case in CASES {
        let setup = setup().await;
        for _ in 0..TIMES {
            // A poll that others held up counts as slow, and sends the handler back to tasks. Then
            // this was no panic of the kind that is meant.
            let began = Instant::now();
            loop {
                setup.promote().await;
                let task = setup.task();
                setup.panics(case, false).await;
                if setup.task() == task {
                    break;
                }
                let name = case.0;
                assert!(began.elapsed() < Duration::from_secs(30), "{name}: it never ran inline");
            }
        }
        setup.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_panics_leave_nothing_behind() {
    let setup = setup().await;
    // As often as for every change, or so many times as often.
    let times = std::env::var("RPC_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let panicking = (0..10).map(|_| {
        let lab = setup.lab.clone();
        tokio::spawn(async move {
            for n in 0..1000 * times {
                let safe = Bomb::safe(Trigger::Nothing);
                let result = lab.blow(Body::Panics, n % 2 == 0, safe, Trigger::Nothing).await;
                let error = result.map(drop).unwrap_err();
                check(&error, ErrorKind::HandlerPanicked, Delivery::Replied);
            }
        })
    });
    let panicking = panicking.collect::<Vec<_>>();
    let is_over = Arc::<AtomicBool>::default();
    let other = {
        let (lab, is_over) = (setup.lab.clone(), Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut calls = 0;
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(lab.add(calls, 1).await, Ok(calls + 1), "a call beside them");
                calls += 1;
            }
            calls
        })
    };
    for task in panicking {
        task.await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    let others = other.await.unwrap();
    setup.finish().await;
    assert!(others > 0, "no other call was made meanwhile");
    eprintln!("FIGURE panics.count={}", 10_000 * times);
    eprintln!("FIGURE panics.others={others}");
}

/// The hook prints, which takes its time: such a handler leaves the place where it was decoded.
#[tokio::test]
async fn a_panic_that_the_hook_reports_is_contained_too() {
    #[rpc_core::service]
    trait Loud {
        async fn shout(&self);
    }
    struct Shouts;
    impl Loud for Shouts {
        async fn shout(&self) {
            panic!("a test's own panic");
        }
    }
    let rig = rig(LoudServer::new(Shouts), 1).await;
    let loud = LoudClient::new(rig.channel.clone());
    for _ in 0..40 {
        let error = loud.shout().await.unwrap_err();
        check(&error, ErrorKind::HandlerPanicked, Delivery::Replied);
    }
    assert_eq!(rig.dials.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_destructor_that_panics_when_its_handler_is_stopped_frees_the_slot() {
    let setup = setup().await;
    for _ in 0..TIMES {
        let cancelled = tokio::spawn(setup.lab.hold_bomb());
        setup.started().await;
        cancelled.abort();

        let late = setup.lab.hold_bomb().timeout(Duration::from_millis(50)).await.unwrap_err();
        setup.started().await;
        check(&late, ErrorKind::DeadlineExceeded, Delivery::Unknown);
    }
    setup.finish().await;
}

#[tokio::test]
async fn a_service_whose_destructor_panics_can_be_shut_down() {
    struct Grenade(Bomb);
    #[rpc_core::service]
    trait Quiet {
        async fn trigger(&self) -> Trigger;
    }
    impl Quiet for Grenade {
        async fn trigger(&self) -> Trigger {
            self.0.trigger
        }
    }
    for drain in [true, false] {
        let service = QuietServer::new(Grenade(Bomb::armed(Trigger::Dropping)));
        let Rig { server, channel, .. } = rig(service, SLOTS).await;
        let quiet = QuietClient::new(channel);
        assert_eq!(quiet.trigger().await, Ok(Trigger::Dropping));
        if drain {
            assert!(server.shutdown(Duration::from_secs(10)).await);
        } else {
            drop(server);
        }
        let error = quiet.trigger().timeout(Duration::from_millis(50)).await.unwrap_err();
        assert_ne!(error.delivery(), Delivery::Replied, "{error}");
    }
}

#[tokio::test]
async fn a_panic_of_the_callers_own_types_is_the_callers() {
    let setup = setup().await;
    for _ in 0..TIMES {
        let encoding = catch_unwind(AssertUnwindSafe(|| {
            setup.lab.blow(Body::Returns, false, Bomb::armed(Trigger::Encoding), Trigger::Nothing)
        }));
        assert!(encoding.is_err(), "it panics where the stub is called");
        let safe = Bomb::safe(Trigger::Nothing);
        let decoding = setup.lab.blow(Body::Returns, false, safe, Trigger::Decoding);
        let task = tokio::spawn(async move { decoding.await.map(drop) });
        assert!(task.await.unwrap_err().is_panic(), "it panics where the call is awaited");
    }
    setup.finish().await;
}
