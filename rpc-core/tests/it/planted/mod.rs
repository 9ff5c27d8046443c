//! The kit itself is tested: it finds one bug after the other, and names the promise that is broken.

mod transport;

use rpc_core::testing::conformance::{Check, Kit, Promise};

use transport::{Bug, Planted};

/// What the kit says about a transport with this bug. `None`: nothing.
async fn complaint(kit: Kit, bug: Bug) -> Option<String> {
    let run = tokio::spawn(async move { kit.run(|| async { Planted::pair(bug) }).await });
    let panic = run.await.err()?.into_panic();
    Some(*panic.downcast::<String>().expect("the panic has a message"))
}

#[track_caller]
fn check_names(complaint: Option<String>, bug: Bug, promise: Promise) {
    let complaint = complaint.unwrap_or_else(|| panic!("{bug:?} was not found"));
    let expected = format!("the transport broke the promise \"{promise}\":");
    assert!(complaint.starts_with(&expected), "{bug:?} was found, but as this:\n{complaint}");
}

#[tokio::test(start_paused = true)]
async fn the_wrapper_alone_conforms() {
    assert_eq!(complaint(Kit::new(), Bug::None).await, None);
}

#[tokio::test(start_paused = true)]
async fn each_bug_is_found_and_named() {
    for (bug, promise) in [
        (Bug::Truncates, Promise::Whole),
        (Bug::Merges, Promise::Whole),
        (Bug::Corrupts, Promise::Whole),
        (Bug::CutsWhatIsLarge, Promise::Whole),
        (Bug::Duplicates, Promise::Once),
        (Bug::Swaps, Promise::Order),
        (Bug::DelaysTheHello, Promise::First),
        (Bug::LosesTheEndMark, Promise::End),
        (Bug::InventsAnEndMark, Promise::End),
        (Bug::LosesOneFrame, Promise::OrItEnds),
        (Bug::LosesTheLastFrames, Promise::OrItEnds),
        (Bug::HidesALoss, Promise::OrItEnds),
        (Bug::ReportsALossAsAnEnd, Promise::OrItEnds),
        (Bug::EndsBothDirections, Promise::OrItEnds),
        (Bug::SendsWhatItLeaves, Promise::KnowsWhatLeft),
        (Bug::IsReadyTooEarly, Promise::KnowsWhatLeft),
        (Bug::ChangesItsPeer, Promise::Evidence),
        (Bug::IgnoresTheLimit, Promise::Limit),
        (Bug::LosesAReceiversWakeUp, Promise::Polling),
        (Bug::LosesASendersWakeUp, Promise::Polling),
        (Bug::KeepsTheFirstWaker, Promise::Polling),
        (Bug::LosesAFrameWhenPolledTwice, Promise::Polling),
    ] {
        check_names(complaint(Kit::new(), bug).await, bug, promise);
    }
}

/// By its own check only: a backlog that nobody sends stops the others too.
#[tokio::test(start_paused = true)]
async fn a_transport_that_is_never_full_is_found() {
    let kit = Kit::new().checks([Check::FullSendersWait]);
    let bug = Bug::IsNeverFull;
    check_names(complaint(kit, bug).await, bug, Promise::BackPressure);
}

/// Every promise has a check of its own that sees it broken, not only the one that comes first.
#[tokio::test(start_paused = true)]
async fn each_promise_has_a_check_of_its_own() {
    for (check, bug) in [
        (Check::FramesArriveWhole, Bug::Corrupts),
        (Check::UncutFramesArrive, Bug::CutsWhatIsLarge),
        (Check::FramesArriveOnce, Bug::Duplicates),
        (Check::LanesKeepTheirOrder, Bug::Swaps),
        (Check::HelloArrivesFirst, Bug::DelaysTheHello),
        (Check::EndMarksArrive, Bug::LosesTheEndMark),
        (Check::EndMarksArrive, Bug::InventsAnEndMark),
        (Check::HalfClosedEndsReceive, Bug::LosesTheLastFrames),
        (Check::HalfClosedEndsReceive, Bug::EndsBothDirections),
        (Check::DroppedEndsAreMissed, Bug::HidesALoss),
        (Check::SendersHearOfTheLoss, Bug::HidesALoss),
        (Check::WhatIsLeftNeverArrives, Bug::SendsWhatItLeaves),
    ] {
        let kit = Kit::new().checks([check]);
        check_names(complaint(kit, bug).await, bug, check.promise());
    }
}

#[tokio::test(start_paused = true)]
async fn a_complaint_says_how_to_replay_it() {
    let kit = Kit::new().checks([Check::LanesKeepTheirOrder]).seeds([42]);
    let complaint = complaint(kit, Bug::Swaps).await.unwrap();
    let replay = "Kit::new().checks([Check::LanesKeepTheirOrder]).seeds([0x2a]).run(..)";
    assert!(complaint.contains(replay), "{complaint}");
}
