//! What arrives: whole, once, in order, hello first, end marks, nothing above the limit.

use std::task::Poll;

use super::super::{
    super::random::Random,
    Promise,
    ends::{End, Goal, Sent, beside, drive, exchange, together},
    script::{FRAME_BYTES_MIN, Script},
    verdict::{Broken, Ended},
};
use crate::{
    frame::Lane,
    limits::PeerLimits,
    transport::{Transport, TransportError},
};

/// Lane numbers beyond 32 bits: those of real calls are.
const HIGH: u64 = 1 << 40;

/// Every size around a power of two, on three lanes.
pub(super) async fn arrive_whole<A: Transport, B: Transport>(
    (mut a, mut b): (End<A>, End<B>),
) -> Result<(), Broken> {
    let fill = |script: &mut Script| {
        let largest = script.frame_bytes;
        let powers = (2..usize::BITS).map(|bit| 1 << bit).take_while(|size| *size < largest);
        let sizes = powers.flat_map(|size| [size - 1, size, size + 1]);
        for (at, size) in sizes.chain([largest - 1, largest]).enumerate() {
            script.add(Lane::new(HIGH + at as u64 % 3), size, false);
        }
    };
    fill(&mut a.outgoing.script);
    fill(&mut b.outgoing.script);
    exchange(&mut a, &mut b).await
}

/// Small frames in batches of one to three: whatever sends again what may be lost is tempted.
pub(super) async fn arrive_once<A: Transport, B: Transport>(
    (mut a, mut b): (End<A>, End<B>),
) -> Result<(), Broken> {
    for script in [&mut a.outgoing.script, &mut b.outgoing.script] {
        script.batch_frames = 1..=3;
        script.add_random(400, 3, FRAME_BYTES_MIN + 8);
    }
    exchange(&mut a, &mut b).await
}

pub(super) async fn keep_their_order<A: Transport, B: Transport>(
    (mut a, mut b): (End<A>, End<B>),
) -> Result<(), Broken> {
    for script in [&mut a.outgoing.script, &mut b.outgoing.script] {
        script.add_random(600, 40, 300);
        // Control frames between the others, and some that fill a transport's buffers.
        for _ in 0..5 {
            script.add(Lane::CONTROL, 20, false);
            script.add(Lane::new(1), usize::MAX, false);
            script.add_random(20, 40, 300);
        }
    }
    exchange(&mut a, &mut b).await
}

/// A hello in a batch of its own (`batch_frames` is 1), or with everything else in one batch.
pub(super) async fn hello_first<A: Transport, B: Transport>(
    (mut a, mut b): (End<A>, End<B>),
    batch_frames: usize,
) -> Result<(), Broken> {
    for script in [&mut a.outgoing.script, &mut b.outgoing.script] {
        script.batch_frames = batch_frames..=batch_frames;
        for lane in 1..=50 {
            script.add(Lane::new(lane), 40, false);
        }
    }
    exchange(&mut a, &mut b).await
}

/// Each direction ends about half of its lanes, and not the same ones.
pub(super) async fn end_marks_arrive<A: Transport, B: Transport>(
    (mut a, mut b): (End<A>, End<B>),
) -> Result<(), Broken> {
    for script in [&mut a.outgoing.script, &mut b.outgoing.script] {
        script.add_random(200, 60, 100);
        // Large frames may take another way through a transport.
        for lane in 61..=68 {
            script.add(Lane::new(lane), usize::MAX, false);
        }
        script.mark_ends(|random| random.one_in(2));
    }
    exchange(&mut a, &mut b).await
}

/// Frames as the transport would not have cut them, between small ones of the same lanes.
pub(super) async fn uncut_ones_arrive<A: Transport, B: Transport>(
    (mut a, mut b): (End<A>, End<B>),
    mut random: Random,
) -> Result<(), Broken> {
    let most = PeerLimits::BASE.frame_bytes;
    for (script, limit) in [
        (&mut a.outgoing.script, &mut b.incoming.limit),
        (&mut b.outgoing.script, &mut a.incoming.limit),
    ] {
        let wanted = script.frame_bytes.min(most);
        script.allow(most);
        *limit = script.frame_bytes;
        for lane in (1..=4).cycle().map(Lane::new).take(40) {
            script.add(lane, random.between(wanted, most), false);
            script.add_random(5, 4, 100);
        }
        script.add(Lane::CONTROL, most, false);
        script.add(Lane::new(1), most, false);
        script.mark_ends(|random| random.one_in(2));
    }
    exchange(&mut a, &mut b).await
}

/// A frame of exactly the receiver's limit arrives; of a larger one there is only the error.
pub(super) async fn larger_ones_are_refused<S: Transport, R: Transport>(
    mut sender: End<S>,
    mut receiver: End<R>,
) -> Result<(), Broken> {
    let limit = sender.outgoing.script.frame_bytes - 1;
    let expected = TransportError::FrameTooLarge { bytes: limit + 1, limit };
    receiver.incoming.limit = limit;
    sender.outgoing.script.add(Lane::new(1), limit, false);
    together((&mut receiver, Goal::received(2)), (&mut sender, Goal::SENT)).await?;
    sender.outgoing.script.add(Lane::new(1), limit + 1, false);
    // The receiver doesn't read to the frame's end, so it may not be sent to its end either.
    let mut lost = false;
    let sending = drive(|cx| {
        if !lost {
            lost = matches!(sender.poll_send_and_recv(cx)?, Poll::Ready(Sent::Lost(_)));
        }
        Poll::Pending
    });
    beside(receiver.reach(Goal::received(3)), sending).await?;
    match &receiver.incoming.ended {
        Some(Ended::Error(error)) if *error == expected.to_string() => {}
        ended => {
            let found = match ended {
                Some(ended) => format!("expected the error \"{expected}\", received {ended:?}"),
                None => format!("a frame of {} bytes was handed to the inbox", limit + 1),
            };
            return Err(Promise::Limit.broken(found));
        }
    }
    sender.outgoing.judge(&receiver.incoming)
}
