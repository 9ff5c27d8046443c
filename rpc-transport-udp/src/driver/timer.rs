//! The timer of a session: early enough, but not set anew for each datagram.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::time::Sleep;

/// A timer, made when it is first needed.
///
/// One that fires too early costs a look, setting it anew costs more: so it stays while it has half of
/// the time that there is. After that it would be the next thing that the system has to wake for, which
/// sets the clock of the core each time the thread sleeps, and again when a datagram wakes it first. On
/// a virtual machine that is 8 µs a call.
#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When it fires, while it is set.
    at: Option<Instant>,
    /// Whom it wakes, once it was told so.
    woken: Option<Waker>,
}

impl Timer {
    /// Whether it wakes this task, and hasn't yet.
    pub(super) fn will_wake(&self, cx: &Context<'_>, now: Instant) -> bool {
        let (Some(at), Some(waker)) = (self.at, &self.woken) else { return false };
        now < at && waker.will_wake(cx.waker())
    }

    /// Whether it can stay as it is until `next`.
    pub(super) fn is_set_for(&self, now: Instant, next: Instant) -> bool {
        let Some(at) = self.at else { return false };
        let early = next.saturating_duration_since(at);
        at <= next && early <= at.saturating_duration_since(now)
    }

    /// Has this task woken at `next`, or earlier. Ready when it is time to look.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant, next: Instant) -> Poll<()> {
        let is_set = self.is_set_for(now, next);
        if is_set && self.will_wake(cx, now) {
            return Poll::Pending;
        }
        if !is_set {
            self.set(next);
        }
        let Some(sleep) = &mut self.sleep else { return Poll::Pending };
        if sleep.as_mut().poll(cx).is_ready() {
            self.clear();
            return Poll::Ready(());
        }
        match &mut self.woken {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn set(&mut self, at: Instant) {
        let sleep = tokio::time::sleep_until(at.into());
        match &mut self.sleep {
            // Not `reset`: that leaves a timer that is moved to later where it is, to be looked at early.
            Some(old) => old.set(sleep),
            None => self.sleep = Some(Box::pin(sleep)),
        }
        self.at = Some(at);
        self.woken = None;
    }

    /// Nobody waits for it any more.
    pub(super) fn clear(&mut self) {
        self.at = None;
        self.woken = None;
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_stays_while_it_has_half_of_its_time() {
        let begin = tokio::time::Instant::now().into_std();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut timer = Timer::default();
        assert!(!timer.is_set_for(begin, at(8)), "it isn't set");
        timer.set(at(8));
        assert!(!timer.is_set_for(begin, at(7)), "it would be too late");
        // The time to look at goes on with what comes and goes.
        assert!(timer.is_set_for(begin, at(8)));
        assert!(timer.is_set_for(at(4), at(12)));
        assert!(!timer.is_set_for(at(5), at(13)));
    }

    #[tokio::test(start_paused = true)]
    async fn it_fires_when_it_is_set_to_and_no_earlier() {
        let now = || tokio::time::Instant::now().into_std();
        let begin = now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut timer = Timer::default();
        let mut cx = Context::from_waker(Waker::noop());
        for (next, fires) in [(8, 8), (30, 30), (10, 10), (15, 10)] {
            assert!(timer.poll(&mut cx, begin, at(next)).is_pending());
            assert_eq!(timer.at, Some(at(fires)));
        }
        assert!(timer.poll(&mut cx, begin, at(30)).is_pending());
        poll_fn(|cx| timer.poll(cx, now(), at(30))).await;
        assert_eq!(now(), at(30));
        assert_eq!(timer.at, None);
    }
}
