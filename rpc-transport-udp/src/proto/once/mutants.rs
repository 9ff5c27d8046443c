//! What may be wrong with the rules, one thing at a time, and the bounds within which that shows.

use super::{Bounds, QUIET};

/// A rule that is left out, or got wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    // Sessions are found by their id before any cookie is looked at, and clients send the cookie
    // along until the server has answered.
    /// A good cookie begins a session, whatever is known of it.
    CookieFirst,
    /// Only the first packet of a session carries the cookie.
    CookieLeftOutEarly,
    /// All packets carry it.
    CookieKept,
    /// A session begins without a cookie.
    CookieNotNeeded,
    /// A session executes what it has executed.
    FramesNotCounted,

    // Ended sessions are remembered until their cookie has expired; none is forgotten under pressure.
    EndedForgotten,
    EndedForgottenBeforeCookie,
    EvictedUnderPressure,
    /// A server that turned sessions away because it leaves takes those again that it had offered.
    LeavingCalledOff,

    // A request is sent under one session, unless it is proved that it never ran there.
    SentAgainUnproved,
    GivenUpNeverRan,
    NonceReused,
    AckOfAnyNonce,
    ResetOfAnySession,
    /// A client takes a newer cookie for the session that it has.
    CookieRefreshed,
    /// A cookie is good for any session.
    CookieOfAnySession,
    /// Both.
    CookieRefreshedAndOfAnySession,
    CookieNeverRan,
    /// A refused cookie is judged as an unknown session is.
    CookieByRetention,
    ClosedNeverRan,
    FullNeverRan,

    // Resets tell epoch and uptime, by which the age of a request is judged.
    /// The second process has the epoch of the first, and another key.
    EpochKept,
    /// It has another epoch, and the same key.
    KeyKept,
    /// The same, and cookies don't depend on the epoch.
    CookieOfAnyEpoch,
    OtherEpochNeverRan,
    OtherEpochByRetention,
    UptimeWithoutSlack,
    /// The uptime alone counts, however long it is.
    UptimeWithoutLimit,
    /// Both processes read from the port at the same time, and send resets.
    PortShared,
    /// The same, and neither sends any meanwhile.
    PortSharedResetsWithheld,
    UnknownNeverRan,
    RetentionTooLong,
    RetentionWithoutSlack,
    AgeOfLastCopy,
    /// The client's clock stands still while its machine sleeps.
    SteadyClock,
}

/// Those without which something goes wrong.
pub(super) const MUTANTS: [Mutant; 31] = {
    use Mutant::*;
    [
        CookieFirst,
        CookieLeftOutEarly,
        CookieNotNeeded,
        FramesNotCounted,
        EndedForgotten,
        EndedForgottenBeforeCookie,
        EvictedUnderPressure,
        LeavingCalledOff,
        SentAgainUnproved,
        GivenUpNeverRan,
        NonceReused,
        AckOfAnyNonce,
        ResetOfAnySession,
        CookieRefreshedAndOfAnySession,
        CookieNeverRan,
        CookieByRetention,
        ClosedNeverRan,
        FullNeverRan,
        EpochKept,
        CookieOfAnyEpoch,
        OtherEpochNeverRan,
        OtherEpochByRetention,
        UptimeWithoutSlack,
        UptimeWithoutLimit,
        PortShared,
        PortSharedResetsWithheld,
        UnknownNeverRan,
        RetentionTooLong,
        RetentionWithoutSlack,
        AgeOfLastCopy,
        SteadyClock,
    ]
};

/// Those that do no harm by themselves: each rule is the second of two that do the same, or a cookie
/// too many, which is ignored.
pub(super) const SPARE: [Mutant; 4] =
    [Mutant::CookieKept, Mutant::CookieRefreshed, Mutant::CookieOfAnySession, Mutant::KeyKept];

impl Mutant {
    /// Where it shows.
    pub(super) fn bounds(self) -> Bounds {
        use Mutant::*;
        let short = Bounds { cookie_lifetime: 1, retention: 2, ticks: 4, ..QUIET };
        let anew = Bounds { restarts: true, overlap: 1, ..QUIET };
        match self {
            SentAgainUnproved => Bounds { attempts: 2, ..QUIET },
            ResetOfAnySession => Bounds { attempts: 2, ..short },
            NonceReused | AckOfAnyNonce => Bounds { attempts: 2, requests: 2, ticks: 1, ..short },
            CookieRefreshed | CookieRefreshedAndOfAnySession => {
                Bounds { retention: 1, ticks: 2, ..short }
            }
            CookieByRetention => Bounds { moves: true, ..QUIET },
            FullNeverRan => Bounds { crowds: 2, ..QUIET },
            LeavingCalledOff => Bounds { leaves: true, ..QUIET },
            EpochKept
            | KeyKept
            | CookieOfAnyEpoch
            | OtherEpochNeverRan
            | OtherEpochByRetention
            | UptimeWithoutSlack
            | PortShared => anew,
            PortSharedResetsWithheld => Bounds { overlap: 2, ..anew },
            UptimeWithoutLimit => Bounds { overlap: 0, retention: 4, is_clock_fast: true, ..anew },
            RetentionWithoutSlack => Bounds { retention: 4, is_clock_fast: true, ..QUIET },
            _ => QUIET,
        }
    }
}
