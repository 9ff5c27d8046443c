//! How connections end: in order, in one direction, and by a loss that both ends hear of.

use super::super::{
    Promise,
    ends::{End, Goal, Sent, beside, both, drive, exchange, together},
    verdict::Broken,
};
use super::pressure::{BUFFERED_BYTES_MAX, fill};
use crate::transport::{Address, Peer, Transport};

/// The address means something, and is the same before, during and after.
pub(super) async fn evidence_stays<A: Transport, B: Transport>(
    mut a: End<A>,
    mut b: End<B>,
) -> Result<(), Broken> {
    let peer = a.transport.peer();
    if !means_something(&peer) {
        let found = format!("{:?} can't be anybody's address", peer.address());
        return Err(Promise::Evidence.broken(found));
    }
    exchange(&mut a, &mut b).await?;
    let during = a.transport.peer();
    drop(b);
    let after = a.transport.peer();
    match [during, after].iter().find(|later| **later != peer) {
        Some(later) => Err(Promise::Evidence.broken(format!(
            "the peer was {:?} at first and {:?} later",
            peer.address(),
            later.address()
        ))),
        None => Ok(()),
    }
}

fn means_something(peer: &Peer) -> bool {
    match peer.address() {
        Address::Socket(address) => address.port() != 0 && !address.ip().is_unspecified(),
        Address::Name(name) | Address::Memory(name) => !name.is_empty(),
        Address::Path(path) => !path.as_os_str().is_empty(),
        Address::Unnamed => true,
    }
}

/// One direction ends, everything in it arrives; then the other direction does the same.
pub(super) async fn half_closed_ends_receive<A: Transport, B: Transport>(
    mut a: End<A>,
    mut b: End<B>,
) -> Result<(), Broken> {
    a.outgoing.script.add_random(100, 5, 2000);
    together((&mut a, Goal::FINISHED), (&mut b, Goal::TOLD)).await?;
    a.outgoing.judge_finished(&b.incoming)?;
    b.outgoing.script.add_random(100, 5, 2000);
    together((&mut b, Goal::FINISHED), (&mut a, Goal::TOLD)).await?;
    b.outgoing.judge_finished(&a.incoming)
}

pub(super) async fn idle_ends_miss_the_other<A: Transport, B: Transport>(
    a: End<A>,
    mut b: End<B>,
) -> Result<(), Broken> {
    let (outgoing, _) = a.vanish();
    b.reach(Goal::TOLD).await?;
    outgoing.judge(&b.incoming)
}

pub(super) async fn waiting_ends_miss_the_other<A: Transport, B: Transport>(
    mut a: End<A>,
    mut b: End<B>,
) -> Result<(), Broken> {
    together((&mut a, Goal::SENT), (&mut b, Goal::received(1))).await?;
    let mut outgoing = None;
    let vanish = async {
        outgoing = Some(a.vanish().0);
        Ok(())
    };
    both(b.reach(Goal::TOLD), vanish).await?;
    outgoing.map_or(Ok(()), |outgoing| outgoing.judge(&b.incoming))
}

/// An end that is dropped with its frames under way: if the other one is told of an end and not of
/// an error, nothing is missing.
pub(super) async fn what_was_sent_before_arrives<A: Transport, B: Transport>(
    mut a: End<A>,
    mut b: End<B>,
) -> Result<(), Broken> {
    a.outgoing.script.add_random(100, 5, 2000);
    let mut outgoing = None;
    let send_and_vanish = async {
        a.reach(Goal::SENT).await?;
        outgoing = Some(a.vanish().0);
        Ok(())
    };
    beside(b.reach(Goal::TOLD), send_and_vanish).await?;
    outgoing.map_or(Ok(()), |outgoing| outgoing.judge(&b.incoming))
}

/// A sender whose buffers have room.
pub(super) async fn idle_senders_hear<S: Transport, R: Transport>(
    mut sender: End<S>,
    mut receiver: End<R>,
) -> Result<(), Broken> {
    together((&mut sender, Goal::SENT), (&mut receiver, Goal::received(1))).await?;
    let (_, incoming) = receiver.vanish();
    send_until_lost(&mut sender).await?;
    sender.outgoing.judge(&incoming)
}

/// A sender that waits for room.
pub(super) async fn full_senders_hear<S: Transport, R: Transport>(
    mut sender: End<S>,
    mut receiver: End<R>,
) -> Result<(), Broken> {
    together((&mut sender, Goal::SENT), (&mut receiver, Goal::received(1))).await?;
    fill(&mut sender).await?;
    let (_, incoming) = receiver.vanish();
    send_until_lost(&mut sender).await?;
    sender.outgoing.judge(&incoming)
}

/// Sends until the connection breaks. Then the other direction must have ended too.
async fn send_until_lost<S: Transport>(sender: &mut End<S>) -> Result<(), Broken> {
    let bytes_max = sender.outgoing.script.bytes() + BUFFERED_BYTES_MAX;
    while let Sent::All = drive(|cx| sender.poll_send_and_recv(cx)).await? {
        if sender.outgoing.script.bytes() > bytes_max {
            let found = format!("{BUFFERED_BYTES_MAX} bytes were taken for a peer that is gone");
            return Err(Promise::OrItEnds.broken(found));
        }
        sender.outgoing.script.add_random(16, 4, 1024);
        tokio::task::yield_now().await;
    }
    sender.reach(Goal::TOLD).await
}
