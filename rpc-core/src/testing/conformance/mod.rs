//! The conformance kit: does a transport keep every promise of the [contract](crate::transport)?
//!
//! Any transport runs it in a few lines. It asks for connected pairs, as many as it needs, and uses
//! nothing of a transport but [`Transport`]:
//!
//! ```
//! use rpc_core::{testing::conformance, transport::memory};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! conformance::run(|| async { memory::pair() }).await;
//! # }
//! ```
//!
//! A transport that breaks its word makes [`run`] panic with the promise, the [`Check`], what was
//! seen, and the line that replays it:
//!
//! ```text
//! the transport broke the promise "order": frames of one lane arrive in order
//!   found:  from the connecting end: frame 3 of lane 0x5 arrived after frame 4
//!   check:  LanesKeepTheirOrder, seed 0x2
//!   replay: Kit::new().checks([Check::LanesKeepTheirOrder]).seeds([0x2]).run(..)
//! ```
//!
//! # How it looks
//! Each end is polled like a task of its own: only after a wake-up, and with a new waker each time,
//! so a wake-up that is lost or goes to an old waker is a hang; and a hang is a failure, after
//! [`Kit::timeout`]. Like the task of a connection it receives all the while, also while it sends,
//! and after the other end has finished: what it sends may wait for something that comes in. An end
//! that isn't to read isn't polled at all. In tests with paused time that is at once. Transports over real sockets need
//! real time. It runs on tokio, with time enabled, on either kind of runtime.
//!
//! The map of this directory: `ends` drives one end, `script` is what an end sends, `verdict`
//! compares that with what arrived, `checks` are the situations.

mod checks;
mod ends;
mod script;
mod verdict;

use std::{fmt, future::Future, time::Duration};

use self::{ends::Lab, verdict::Broken};
use super::{checkout, in_time};
use crate::transport::Transport;

/// How long one check may take, unless told otherwise. Each takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The seeds of the random checks, unless told otherwise.
const SEEDS: [u64; 3] = [1, 2, 3];

/// Runs every check. `connect` makes a new pair each time: the connecting end, the accepting end.
///
/// # Panics
/// The transport breaks a promise.
///
/// # Cancel safety
/// Dropping the future drops the pair that is being checked.
pub async fn run<F, Fut, A, B>(connect: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (A, B)>,
    A: Transport,
    B: Transport,
{
    Kit::new().run(connect).await;
}

/// The kit, with settings: to replay a failure, to try many seeds, to be patient.
#[derive(Debug, Clone)]
pub struct Kit {
    checks: Vec<Check>,
    seeds: Vec<u64>,
    timeout: Duration,
}

impl Default for Kit {
    fn default() -> Self {
        Self { checks: Check::ALL.to_vec(), seeds: SEEDS.to_vec(), timeout: TIMEOUT }
    }
}

impl Kit {
    /// Every check, with the usual seeds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only these checks, in this order.
    #[must_use]
    pub fn checks(self, checks: impl IntoIterator<Item = Check>) -> Self {
        Self { checks: checks.into_iter().collect(), ..self }
    }

    /// The seeds with which random checks are repeated. Default: 1, 2 and 3.
    #[must_use]
    pub fn seeds(self, seeds: impl IntoIterator<Item = u64>) -> Self {
        Self { seeds: seeds.into_iter().collect(), ..self }
    }

    /// How long one check may take. Default: 10 seconds.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Runs the checks. `connect` makes a new pair each time: the connecting end, the accepting
    /// end.
    ///
    /// # Panics
    /// The transport breaks a promise.
    ///
    /// # Cancel safety
    /// Dropping the future drops the pair that is being checked.
    pub async fn run<F, Fut, A, B>(&self, connect: F)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = (A, B)>,
        A: Transport,
        B: Transport,
    {
        for &check in &self.checks {
            let repeats = if check.is_random() { self.seeds.len() } else { 1 };
            for &seed in self.seeds.iter().take(repeats) {
                let lab = Lab::new(&connect, seed);
                let outcome = in_time(self.timeout, Box::pin(checks::run(check, &lab))).await;
                let outcome = outcome.unwrap_or_else(|| Err(self.timed_out(check)));
                if let Err(broken) = outcome {
                    panic!("{}", Report { check, seed, broken });
                }
            }
        }
    }

    fn timed_out(&self, check: Check) -> Broken {
        check.promise().broken(format!(
            "not done within {:?}: an end waits for a wake-up, a frame or an end that never comes",
            self.timeout
        ))
    }
}

/// What a transport promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Promise {
    /// A frame arrives whole or not at all.
    Whole,
    /// No frame arrives twice.
    Once,
    /// Frames of one lane arrive in order.
    Order,
    /// The first frame of lane 0 arrives before any other.
    First,
    /// The last frame of a lane is marked as such, in each direction.
    End,
    /// Nothing is silently missing.
    OrItEnds,
    /// A full send side returns `Pending`, receive buffers are bounded.
    BackPressure,
    /// What is still in the batch when sending fails never left this process.
    KnowsWhatLeft,
    /// It tells the peer's address.
    Evidence,
    /// It refuses frames above [`Inbox::frame_bytes_max`](crate::transport::Inbox).
    Limit,
    /// A `poll_*` that returns `Pending` wakes the waker it was given, and loses nothing when its
    /// caller stops polling.
    Polling,
}

impl Promise {
    /// Its name in the contract, and what it means.
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Whole => ("whole", "a frame arrives whole or not at all"),
            Self::Once => ("once", "no frame arrives twice"),
            Self::Order => ("order", "frames of one lane arrive in order"),
            Self::First => ("first", "the first frame of lane 0 arrives before any other"),
            Self::End => ("end", "the last frame of a lane is marked, in each direction"),
            Self::OrItEnds => ("or it ends", "nothing is silently missing"),
            Self::BackPressure => ("back-pressure", "a full send side returns Pending"),
            Self::KnowsWhatLeft => {
                ("knows what left", "what is still in the batch never left this process")
            }
            Self::Evidence => ("evidence", "it tells the peer's address"),
            Self::Limit => ("limit", "a frame above the inbox's limit is refused"),
            Self::Polling => ("polling", "Pending registers the waker, and loses nothing"),
        }
    }

    fn broken(self, found: impl Into<String>) -> Broken {
        Broken { promise: self, found: found.into() }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.texts().0)
    }
}

/// One situation in which a transport is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Check {
    /// Who waits to receive is woken by a frame, by the end and by a loss; who waits to send is
    /// woken by room. The waker given last counts.
    WaitingEndsAreWoken,
    /// The peer's address is there, and stays the same to the end.
    EvidenceStays,
    /// Frames of 4 bytes up to [`Transport::frame_bytes`] arrive with their bytes and boundaries.
    FramesArriveWhole,
    /// Many small frames, in many small batches, arrive once.
    FramesArriveOnce,
    /// Many lanes, interleaved at random, both directions at once: each lane keeps its order.
    LanesKeepTheirOrder,
    /// The hello arrives first, alone in its batch or with a crowd behind it.
    HelloArrivesFirst,
    /// Lanes that end early in one direction go on in the other; some never end.
    EndMarksArrive,
    /// Frames above [`Transport::frame_bytes`], up to the 16 KiB that every peer accepts, arrive in
    /// one piece, in their order and among small ones.
    UncutFramesArrive,
    /// A frame as large as the limit arrives, one byte more is `FrameTooLarge`.
    LargerFramesAreRefused,
    /// After `poll_close` everything arrives, then the end; and what comes back arrives too.
    HalfClosedEndsReceive,
    /// One end is dropped: the other hears of it, whether it waits, has input or is idle.
    DroppedEndsAreMissed,
    /// The receiver is dropped: a sender hears of it, also one that waits for room.
    SendersHearOfTheLoss,
    /// A receiver that doesn't poll stops its sender, and gets everything when it does.
    FullSendersWait,
    /// A sender is dropped with frames in its batch: none of them ever arrives.
    WhatIsLeftNeverArrives,
    /// Both ends are polled at random, without wake-ups and with wakers that nobody hears.
    PollingIsHarmless,
}

impl Check {
    /// Every check, in the order in which [`run`] does them.
    pub const ALL: &'static [Self] = &[
        Self::WaitingEndsAreWoken,
        Self::EvidenceStays,
        Self::FramesArriveWhole,
        Self::FramesArriveOnce,
        Self::LanesKeepTheirOrder,
        Self::HelloArrivesFirst,
        Self::EndMarksArrive,
        Self::UncutFramesArrive,
        Self::LargerFramesAreRefused,
        Self::HalfClosedEndsReceive,
        Self::DroppedEndsAreMissed,
        Self::SendersHearOfTheLoss,
        Self::FullSendersWait,
        Self::WhatIsLeftNeverArrives,
        Self::PollingIsHarmless,
    ];

    /// The promise that it is about. It names another one when it sees that one broken.
    #[must_use]
    pub fn promise(self) -> Promise {
        match self {
            Self::WaitingEndsAreWoken | Self::PollingIsHarmless => Promise::Polling,
            Self::EvidenceStays => Promise::Evidence,
            Self::FramesArriveWhole | Self::UncutFramesArrive => Promise::Whole,
            Self::FramesArriveOnce => Promise::Once,
            Self::LanesKeepTheirOrder => Promise::Order,
            Self::HelloArrivesFirst => Promise::First,
            Self::EndMarksArrive => Promise::End,
            Self::LargerFramesAreRefused => Promise::Limit,
            Self::HalfClosedEndsReceive
            | Self::DroppedEndsAreMissed
            | Self::SendersHearOfTheLoss => Promise::OrItEnds,
            Self::FullSendersWait => Promise::BackPressure,
            Self::WhatIsLeftNeverArrives => Promise::KnowsWhatLeft,
        }
    }

    /// Whether what it does depends on the seed, not only the bytes it sends.
    fn is_random(self) -> bool {
        matches!(
            self,
            Self::FramesArriveOnce
                | Self::LanesKeepTheirOrder
                | Self::EndMarksArrive
                | Self::UncutFramesArrive
                | Self::PollingIsHarmless
        )
    }
}

/// The text of the panic.
struct Report {
    check: Check,
    seed: u64,
    broken: Broken,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, seed, broken } = self;
        let (name, meaning) = broken.promise.texts();
        writeln!(f, "the transport broke the promise \"{name}\": {meaning}")?;
        writeln!(f, "  found:  {}", broken.found)?;
        writeln!(f, "  check:  {check:?}, seed {seed:#x}")?;
        let (at, commit) = (format!("{seed:#x}"), checkout());
        write!(f, "  replay: Kit::new().checks([Check::{check:?}]).seeds([{at}]).run(..){commit}")
    }
}
