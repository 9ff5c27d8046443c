//! Wake-ups: none is lost, and polling without one does no harm.

use std::task::{Context, Poll, Waker};

use super::super::{
    super::random::Random,
    ends::{End, both, judge_both},
    verdict::Broken,
};
use crate::{frame::Lane, transport::Transport};

/// Frames that are sent one by one, each when the receiver waits already.
const ROUNDS: usize = 20;

/// A receiver that waits is woken by each frame, and by the end.
pub(super) async fn waiting_receivers_are_woken<S: Transport, R: Transport>(
    mut sender: End<S>,
    mut receiver: End<R>,
) -> Result<(), Broken> {
    for frames in 1..=ROUNDS {
        // Of two wakers, the one that was given last counts.
        let _pending = receiver.poll_recv(&mut Context::from_waker(Waker::noop()), frames);
        both(receiver.receive(frames), sender.send_all()).await?;
        sender.outgoing.script.add(Lane::new(frames as u64), 100, false);
    }
    both(receiver.receive_all(), sender.finish()).await?;
    sender.outgoing.judge_finished(&receiver.incoming)
}

/// A sender that waits is woken by room. Not every transport is full that early; those that take
/// more are filled by other checks.
pub(super) async fn waiting_senders_are_woken<S: Transport, R: Transport>(
    mut sender: End<S>,
    mut receiver: End<R>,
) -> Result<(), Broken> {
    sender.outgoing.script.add_random(200, 4, 8 * 1024);
    both(sender.finish(), receiver.receive_all()).await?;
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
        tokio::task::yield_now().await;
    }
    judge_both(&a, &b)
}

fn poll_once<T: Transport>(end: &mut End<T>, random: &mut Random) -> Result<(), Broken> {
    let cx = &mut Context::from_waker(Waker::noop());
    let polled =
        if random.one_in(2) { end.poll_finish(cx) } else { end.poll_recv(cx, usize::MAX).map(Ok) };
    match polled {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Ok(()),
    }
}
