//! Wake-ups: none is lost, and polling without one does no harm.

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::super::{
    super::random::Random,
    ends::{End, Goal, judge_both, together},
    verdict::Broken,
};
use crate::{frame::Lane, transport::Transport};

/// Frames that are sent one by one, each when the receiver waits already.
const ROUNDS: usize = 20;

/// One poll in so many is followed by a rest, when nobody is told to wait.
const POLLS_PER_REST: usize = 64;

/// A receiver that waits is woken by each frame, and by the end.
pub(super) async fn waiting_receivers_are_woken<S: Transport, R: Transport>(
    mut sender: End<S>,
    mut receiver: End<R>,
) -> Result<(), Broken> {
    for frames in 1..=ROUNDS {
        // Of two wakers, the one that was given last counts.
        let _pending = receiver.poll_recv(&mut Context::from_waker(Waker::noop()), frames)?;
        together((&mut receiver, Goal::received(frames)), (&mut sender, Goal::SENT)).await?;
        sender.outgoing.script.add(Lane::new(frames as u64), 100, false);
    }
    together((&mut receiver, Goal::TOLD), (&mut sender, Goal::FINISHED)).await?;
    sender.outgoing.judge_finished(&receiver.incoming)
}

/// A sender that waits is woken by room. Not every transport is full that early; those that take
/// more are filled by other checks.
pub(super) async fn waiting_senders_are_woken<S: Transport, R: Transport>(
    mut sender: End<S>,
    mut receiver: End<R>,
) -> Result<(), Broken> {
    sender.outgoing.script.add_random(200, 4, 8 * 1024);
    together((&mut sender, Goal::FINISHED), (&mut receiver, Goal::TOLD)).await?;
    sender.outgoing.judge_finished(&receiver.incoming)
}

/// Sending, closing and receiving at both ends, in any order, without ever waiting.
pub(super) async fn polling_is_harmless<A: Transport, B: Transport>(
    (mut a, mut b): (End<A>, End<B>),
    mut random: Random,
) -> Result<(), Broken> {
    a.outgoing.script.add_random(200, 8, 1000);
    b.outgoing.script.add_random(200, 8, 1000);
    while !(a.is_done() && b.is_done()) {
        if random.one_in(2) {
            poll_once(&mut a, &mut random)?;
        } else {
            poll_once(&mut b, &mut random)?;
        }
        // Where time is paused it goes on only when nobody is busy, and transports may wait for it.
        if random.one_in(POLLS_PER_REST) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
    judge_both(&a, &b)
}

fn poll_once<T: Transport>(end: &mut End<T>, random: &mut Random) -> Result<(), Broken> {
    let cx = &mut Context::from_waker(Waker::noop());
    let polled = if random.one_in(2) { end.poll_finish(cx) } else { end.poll_recv(cx, usize::MAX) };
    match polled {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Ok(()),
    }
}
