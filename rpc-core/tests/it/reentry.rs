//! User code that uses, from within a call, what carries that call: the framework holds no lock
//! while it runs.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    task::{Context, Wake, Waker},
    thread,
    time::Duration,
};

use rpc_core::{Channel, Delivery, ErrorKind, RpcError, Server, transport::memory};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::{runtime, sync::Notify, task};

use crate::rig::{check, rig, to, until};

/// Runs a test on a paused clock. A thread that waits for itself fails it.
fn in_time<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (done, ended) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let mut runtime = runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(test());
        drop(done);
    });
    match ended.recv_timeout(Duration::from_secs(30)) {
        Err(RecvTimeoutError::Disconnected) => thread.join().unwrap(),
        _ => panic!("deadlock: user code ran under a lock that it needs"),
    }
}

/// What a handler does with the channel and the server that it is reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Reach {
    Look,
    PollACall,
    AwaitACall,
    DropAChannel,
    DropTheServer,
    SpawnAShutdown,
    AwaitAShutdown,
}

#[rpc_core::service]
trait Lab {
    async fn add(&self, a: u64, b: u64) -> u64;
    async fn hold(&self);
    /// Returns the task it ran in.
    async fn reach(&self, how: Reach) -> String;
    async fn pass(&self, nosy: Nosy) -> Nosy;
}

#[derive(Default)]
struct Bench {
    server: Mutex<Option<Server>>,
    channel: Mutex<Option<Channel>>,
    release: Notify,
}

impl Lab for Bench {
    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
    async fn hold(&self) {
        self.release.notified().await;
    }
    async fn reach(&self, how: Reach) -> String {
        let task = task::id().to_string();
        match how {
            Reach::Look => {
                let server = self.server.lock().unwrap();
                assert_eq!(server.as_ref().unwrap().connections(), 2);
                assert!(!format!("{server:?} {:?}", self.channel()).is_empty());
            }
            Reach::PollACall => poll_and_drop(&self.channel()),
            Reach::AwaitACall => {
                assert_eq!(LabClient::new(self.channel()).add(2, 3).await, Ok(5));
            }
            Reach::DropAChannel => drop(self.channel.lock().unwrap().take()),
            Reach::DropTheServer => drop(self.take_server()),
            Reach::SpawnAShutdown => {
                drop(tokio::spawn(self.take_server().shutdown(Duration::from_secs(5))));
            }
            // It waits for this very call.
            Reach::AwaitAShutdown => {
                self.take_server().shutdown(Duration::from_secs(1)).await;
            }
        }
        task
    }
    async fn pass(&self, nosy: Nosy) -> Nosy {
        nosy
    }
}

impl Bench {
    fn channel(&self) -> Channel {
        self.channel.lock().unwrap().clone().unwrap()
    }

    fn take_server(&self) -> Server {
        self.server.lock().unwrap().take().unwrap()
    }
}

/// Takes the locks of a channel and its connection: opens a call, and gives it up.
fn poll_and_drop(channel: &Channel) {
    let mut cx = Context::from_waker(Waker::noop());
    let call = pin!(LabClient::new(channel.clone()).add(1, 1));
    assert!(call.poll(&mut cx).is_pending());
}

/// Has a handler reach for what it is reached by, inline or in a task.
async fn reach(how: Reach, inline: bool) -> Result<String, RpcError> {
    let bench = Arc::new(Bench::default());
    let rig = rig(LabServer::from_arc(Arc::clone(&bench)), 1024).await;
    let lab = LabClient::new(rig.channel);
    let other = Channel::connect(to(&rig.server)).await.unwrap();
    assert_eq!(LabClient::new(other.clone()).add(1, 2).await, Ok(3));
    *bench.server.lock().unwrap() = Some(rig.server);
    *bench.channel.lock().unwrap() = Some(other);
    let mut last = lab.reach(Reach::Look).await.unwrap();
    loop {
        let task = lab.reach(Reach::Look).await.unwrap();
        if !inline || task == last {
            break;
        }
        last = task;
    }
    let result = lab.reach(how).await;
    if let Ok(task) = &result {
        assert_eq!(*task == last, inline, "{how:?}");
    }
    result
}

#[test]
fn a_handler_may_use_its_own_channel_and_server() {
    for how in [
        Reach::Look,
        Reach::PollACall,
        Reach::AwaitACall,
        Reach::DropAChannel,
        Reach::DropTheServer,
        Reach::SpawnAShutdown,
        Reach::AwaitAShutdown,
    ] {
        for inline in [false, true] {
            in_time(move || async move {
                let result = reach(how, inline).await;
                if matches!(how, Reach::DropTheServer | Reach::AwaitAShutdown) {
                    // It ended the connection that its reply was to take.
                    let error = result.expect_err("the connection is closed");
                    check(&error, ErrorKind::ShuttingDown, Delivery::Unknown);
                } else {
                    result.unwrap_or_else(|error| panic!("{how:?}: {error}"));
                }
            });
        }
    }
}

/// The channel that nosy values use, and how often they did.
static CHANNEL: OnceLock<Channel> = OnceLock::new();
static USED: AtomicUsize = AtomicUsize::new(0);

/// A value that makes a call wherever its code runs.
#[derive(Debug)]
struct Nosy;

impl Nosy {
    fn call() {
        USED.fetch_add(1, Ordering::SeqCst);
        poll_and_drop(CHANNEL.get().unwrap());
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        Self::call();
    }
}

impl Serialize for Nosy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::call();
        serializer.serialize_u8(0)
    }
}

impl<'de> Deserialize<'de> for Nosy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer)?;
        Self::call();
        Ok(Self)
    }
}

#[test]
fn arguments_and_replies_may_make_calls_while_they_are_encoded_decoded_and_dropped() {
    in_time(|| async {
        let rig = rig(LabServer::new(Bench::default()), 1024).await;
        let lab = LabClient::new(rig.channel.clone());
        CHANNEL.set(rig.channel.clone()).unwrap();
        // Inline from some call on.
        for n in 1..=40 {
            drop(lab.pass(Nosy).await.unwrap());
            // Both messages are encoded, decoded, and dropped: the argument at the caller's too.
            assert_eq!(USED.load(Ordering::SeqCst), n * 7);
        }
        assert_eq!(rig.dials.count(), 1);
    });
}

/// A waker that makes a call when it is woken, and another when it is dropped.
struct NosyWaker {
    channel: Channel,
    woken: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

impl Wake for NosyWaker {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        poll_and_drop(&self.channel);
    }
}

impl Drop for NosyWaker {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        poll_and_drop(&self.channel);
    }
}

#[test]
fn wakers_may_make_calls_while_they_are_woken_and_dropped() {
    in_time(|| async {
        // One place: a second call waits for it.
        let rig = rig(LabServer::new(Bench::default()), 1).await;
        assert_eq!(LabClient::new(rig.channel.clone()).add(1, 2).await, Ok(3));
        let connecting = Channel::lazy(to(&rig.server));
        let unreachable = Channel::lazy(memory::connector("nobody"));
        let channels = [&rig.channel, &rig.channel, &connecting, &unreachable];
        // Without a deadline: timers keep wakers of their own.
        let hold =
            |channel: &Channel| Box::pin(LabClient::new(channel.clone()).hold().no_deadline());
        let mut calls: Vec<_> = channels.iter().copied().map(hold).collect();
        let (woken, dropped) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        // Each look leaves another waker, and drops the one before.
        for _ in 0..3 {
            for (call, &channel) in calls.iter_mut().zip(&channels) {
                let (woken, dropped) = (Arc::clone(&woken), Arc::clone(&dropped));
                let waker = NosyWaker { channel: channel.clone(), woken, dropped };
                let waker = Waker::from(Arc::new(waker));
                assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            }
        }
        assert_eq!(dropped.load(Ordering::SeqCst), 8);
        // The second gets the place of the first, the third a connection, the fourth a failure.
        drop(calls.remove(0));
        until("each is woken", || woken.load(Ordering::SeqCst) == 3).await;
        drop(calls);
        until("all wakers are gone", || dropped.load(Ordering::SeqCst) == 12).await;
    });
}
