//! Full buffers: senders wait, nothing is lost, and what waits in a batch has not left.

use std::time::Duration;

use super::super::{
    Promise,
    ends::{End, Goal, Sent, drive, together},
    in_time,
    verdict::Broken,
};
use crate::transport::Transport;

/// What a transport may take for a peer that doesn't read: its own buffers and those of the system
/// below, at both ends. Linux lets TCP's grow to some 40 MB together.
pub(super) const BUFFERED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A sender that took nothing for this long is full. If it is slow instead, the check sees less,
/// but never fails for it.
const QUIET: Duration = Duration::from_millis(100);

/// The largest frames that buffers are filled with.
const FILLER_BYTES: usize = 16 * 1024;

/// Sends, while the other end isn't polled at all, until the transport takes no more.
pub(super) async fn fill<S: Transport>(sender: &mut End<S>) -> Result<(), Broken> {
    let script = &sender.outgoing.script;
    let bytes_max = script.bytes() + BUFFERED_BYTES_MAX;
    let filler = script.frame_bytes.min(FILLER_BYTES);
    let mut frames = 16;
    loop {
        sender.outgoing.script.add_random(frames, 4, filler);
        frames = (frames * 2).min(512);
        match in_time(QUIET, drive(|cx| sender.poll_send_and_recv(cx))).await {
            None => return Ok(()),
            Some(Err(broken)) => return Err(broken),
            Some(Ok(Sent::Lost(error))) => {
                let found = format!("poll_send failed with both ends there: {error}");
                return Err(Promise::OrItEnds.broken(found));
            }
            Some(Ok(Sent::All)) if sender.outgoing.script.bytes() < bytes_max => {}
            Some(Ok(Sent::All)) => {
                let found = format!(
                    "poll_send never returned Pending: it took {BUFFERED_BYTES_MAX} bytes that \
                     nobody received"
                );
                return Err(Promise::BackPressure.broken(found));
            }
        }
    }
}

/// A receiver that doesn't poll, and then does: everything arrives.
pub(super) async fn full_senders_wait<S: Transport, R: Transport>(
    mut sender: End<S>,
    mut receiver: End<R>,
) -> Result<(), Broken> {
    fill(&mut sender).await?;
    together((&mut sender, Goal::FINISHED), (&mut receiver, Goal::TOLD)).await?;
    sender.outgoing.judge_finished(&receiver.incoming)
}

/// A sender that is dropped in the middle of a batch.
pub(super) async fn what_is_left_never_arrives<S: Transport, R: Transport>(
    mut sender: End<S>,
    mut receiver: End<R>,
) -> Result<(), Broken> {
    fill(&mut sender).await?;
    let (outgoing, _) = sender.vanish();
    receiver.reach(Goal::TOLD).await?;
    outgoing.judge(&receiver.incoming)
}
