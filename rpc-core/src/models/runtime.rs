//! What models have in tokio's place: tasks of shuttle's, and time that passes when a model says so.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::LazyLock,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use shuttle::future::JoinHandle;

/// Where all time begins. The same for every run of a model, or none could be run again.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A sleep of at most this much waits for nothing but that others have their turn.
const MOMENT: Duration = Duration::from_millis(10);

// All threads of a model's run are one thread of the system, so these are what they share.
thread_local! {
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static SLEEPERS: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
    static TASKS: RefCell<(usize, Option<Waker>)> = const { RefCell::new((0, None)) };
}

/// A run of a model begins: nothing is left of the one before.
pub(super) fn begin() {
    PASSED.set(Duration::ZERO);
    SLEEPERS.take();
    TASKS.take();
}

/// Waits until every task has ended. What a model has used is dropped by then, so a task that doesn't
/// waits for what nobody does.
pub(super) fn settle() {
    shuttle::future::block_on(poll_fn(|cx| {
        TASKS.with_borrow_mut(|(left, waker)| {
            *waker = Some(cx.waker().clone());
            if *left == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
    }));
}

/// Counts a task while it is there.
struct Counted;

impl Counted {
    fn new() -> Self {
        TASKS.with_borrow_mut(|(left, _)| *left += 1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let waker = TASKS.with_borrow_mut(|(left, waker)| {
            *left = left.saturating_sub(1);
            waker.take()
        });
        waker.into_iter().for_each(Waker::wake);
    }
}

#[track_caller]
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let counted = Counted::new();
    shuttle::future::spawn(async move {
        // In this order: the task is there until its future is gone.
        let _counted = counted;
        let mut future = Box::pin(future);
        poll_fn(|cx| future.as_mut().poll(cx)).await
    })
}

pub(crate) fn now() -> Instant {
    *BEGUN + PASSED.get()
}

/// Lets time pass.
pub(super) fn pass(time: Duration) {
    // Before: what it ends may have happened already.
    shuttle::thread::yield_now();
    PASSED.set(PASSED.get() + time);
    SLEEPERS.take().into_iter().for_each(Waker::wake);
}

pub(crate) fn has_one_thread() -> bool {
    false
}

pub(crate) fn sleep_until(at: tokio::time::Instant) -> Sleep {
    Sleep { at: Some(at.into_std()) }
}

pub(crate) fn sleep(time: Duration) -> Sleep {
    if time <= MOMENT { Sleep { at: None } } else { Sleep { at: Some(now() + time) } }
}

/// What the future gives, unless it takes longer than that.
pub(crate) async fn timeout<R>(time: Duration, future: impl Future<Output = R>) -> Result<R, ()> {
    let (mut timer, mut future) = (pin!(sleep(time)), pin!(future));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Ok(result)),
        Poll::Pending => timer.as_mut().poll(cx).map(Err),
    })
    .await
}

pub(crate) struct Sleep {
    /// Without, for one step.
    at: Option<Instant>,
}

impl Sleep {
    pub(crate) fn reset(mut self: Pin<&mut Self>, at: tokio::time::Instant) {
        self.at = Some(at.into_std());
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            self.at = Some(now());
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        if at <= now() {
            return Poll::Ready(());
        }
        SLEEPERS.with_borrow_mut(|sleepers| {
            if !sleepers.iter().any(|waker| waker.will_wake(cx.waker())) {
                sleepers.push(cx.waker().clone());
            }
        });
        Poll::Pending
    }
}

/// The runtime that a task is on: there is always one.
pub(crate) struct Handle(());

impl Handle {
    pub(crate) fn try_current() -> Result<Self, Infallible> {
        Ok(Self(()))
    }

    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn(future)
    }
}
