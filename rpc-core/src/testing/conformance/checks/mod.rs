//! The situations of the kit, and which of them needs which ends.
//!
//! The map of this directory: `frames` is about what arrives, `ending` about how it ends, `pressure`
//! about full buffers, `polling` about wake-ups.

mod ending;
mod frames;
mod polling;
mod pressure;

use std::future::Future;

use super::{Check, ends::Lab, verdict::Broken};
use crate::transport::Transport;

/// Does a check from the connecting to the accepting end, then the other way round.
macro_rules! both_ways {
    ($lab:expr, $check:path) => {{
        let (a, b) = $lab.pair().await;
        $check(a, b).await?;
        let (a, b) = $lab.pair().await;
        $check(b, a).await
    }};
}

/// Does one check.
pub(super) async fn run<F, Fut, A, B>(check: Check, lab: &Lab<'_, F>) -> Result<(), Broken>
where
    F: Fn() -> Fut,
    Fut: Future<Output = (A, B)>,
    A: Transport,
    B: Transport,
{
    match check {
        Check::WaitingEndsAreWoken => {
            both_ways!(lab, polling::waiting_receivers_are_woken)?;
            both_ways!(lab, polling::waiting_senders_are_woken)
        }
        Check::EvidenceStays => both_ways!(lab, ending::evidence_stays),
        Check::FramesArriveWhole => frames::arrive_whole(lab.pair().await).await,
        Check::FramesArriveOnce => frames::arrive_once(lab.pair().await).await,
        Check::LanesKeepTheirOrder => frames::keep_their_order(lab.pair().await).await,
        Check::HelloArrivesFirst => {
            frames::hello_first(lab.pair().await, 1).await?;
            frames::hello_first(lab.pair().await, usize::MAX).await
        }
        Check::EndMarksArrive => frames::end_marks_arrive(lab.pair().await).await,
        Check::UncutFramesArrive => frames::uncut_ones_arrive(lab.pair().await, lab.random()).await,
        Check::LargerFramesAreRefused => both_ways!(lab, frames::larger_ones_are_refused),
        Check::HalfClosedEndsReceive => both_ways!(lab, ending::half_closed_ends_receive),
        Check::DroppedEndsAreMissed => {
            both_ways!(lab, ending::idle_ends_miss_the_other)?;
            both_ways!(lab, ending::waiting_ends_miss_the_other)?;
            both_ways!(lab, ending::what_was_sent_before_arrives)
        }
        Check::SendersHearOfTheLoss => {
            both_ways!(lab, ending::idle_senders_hear)?;
            both_ways!(lab, ending::full_senders_hear)
        }
        Check::FullSendersWait => both_ways!(lab, pressure::full_senders_wait),
        Check::WhatIsLeftNeverArrives => both_ways!(lab, pressure::what_is_left_never_arrives),
        Check::PollingIsHarmless => {
            polling::polling_is_harmless(lab.pair().await, lab.random()).await
        }
    }
}
