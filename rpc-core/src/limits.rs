//! Limits of a connection, their defaults, and what each one does when it is hit.

use crate::frame::{Hello, Metadata};

/// How much bulk may be under way before the peer's hello has arrived. Spec:
/// `r[hello.base-limits]`.
// r[impl credit.initial]
pub(crate) const BULK_WINDOW_BASE: usize = 256 * 1024;

/// What one side of a connection accepts from the other, and how much it lets pile up itself.
///
/// | limit | default | when it is hit |
/// |---|---|---|
/// | [`frame_bytes`](Limits::frame_bytes) | 65 KiB | the peer broke its word: the connection is closed |
/// | [`message_bytes`](Limits::message_bytes) | 64 MiB | that call fails with *too large* |
/// | [`held_bytes`](Limits::held_bytes) | 128 MiB | the message that exceeds it fails with *overloaded* |
/// | [`stream_bytes`](Limits::stream_bytes) | 64 MiB | streams get smaller windows |
/// | [`window_bytes`](Limits::window_bytes) | 8 MiB | the peer's large messages and streams wait |
/// | [`metadata_bytes`](Limits::metadata_bytes) | 8 KiB | that call fails with *too large* |
/// | [`calls`](Limits::calls) | 1,024 | the caller waits; a peer that ignores it is closed |
/// | [`waiting_calls`](Limits::waiting_calls) | 65,536 | that call fails with *overloaded*, not sent |
/// | [`outbox_bytes`](Limits::outbox_bytes) | 1 MiB | calls wait until the peer takes what is queued |
/// | [`reply_bytes`](Limits::reply_bytes) | 4 MiB | further requests wait until the peer takes its replies |
///
/// Values out of range are brought into it.
///
/// ```
/// # use rpc_core::Limits;
/// let mut limits = Limits::default();
/// limits.calls = 64;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest frame to accept, in bytes; 16 KiB at least.
    pub frame_bytes: u32,
    /// The largest message (arguments, reply or item) to accept and to send, in bytes; up to
    /// 4 GiB − 1.
    pub message_bytes: u32,
    /// Bytes to hold for one connection: of messages that are incomplete, and of requests that wait
    /// to be run.
    pub held_bytes: usize,
    /// How much the windows of all streams of one connection may grow beyond the 64 KiB that each
    /// begins with: what is held for readers that don't read.
    pub stream_bytes: usize,
    /// How many bytes of large messages and streams may be under way to this side; 256 KiB at least.
    /// A smaller window lets small calls pass large ones sooner, a larger one keeps a long path full.
    pub window_bytes: u32,
    /// The most bytes of metadata to accept with a call; at most 8 KiB.
    pub metadata_bytes: u32,
    /// How many calls to accept at a time on one connection; 1 to 65,536.
    pub calls: u32,
    /// How many calls may wait for a free place on one connection, on the caller's side. First come,
    /// first served; who has waited half of its time lets others pass.
    pub waiting_calls: usize,
    /// How many bytes of small frames may wait to be sent before new calls wait. Large messages take
    /// turns with them, and don't count.
    pub outbox_bytes: usize,
    /// How many bytes of replies (and whatever else is queued) may wait to be sent, beside the
    /// largest message, before further requests wait to be run. A peer that calls and doesn't read
    /// holds up its own calls only. What handlers that have begun by then return comes on top.
    pub reply_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: 65 * 1024,
            message_bytes: 64 * 1024 * 1024,
            held_bytes: 128 * 1024 * 1024,
            stream_bytes: 64 * 1024 * 1024,
            window_bytes: 8 * 1024 * 1024,
            metadata_bytes: 8 * 1024,
            calls: 1024,
            waiting_calls: 65_536,
            outbox_bytes: 1024 * 1024,
            reply_bytes: 4 * 1024 * 1024,
        }
    }
}

/// What a peer is known to accept. Spec: `r[hello.base-limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerLimits {
    pub(crate) frame_bytes: usize,
    pub(crate) message_bytes: usize,
    pub(crate) metadata_bytes: usize,
    pub(crate) calls: u32,
    pub(crate) window_bytes: usize,
}

impl PeerLimits {
    /// What every peer accepts before its hello has arrived. Spec: `r[hello.base-limits]`.
    pub(crate) const BASE: Self = Self {
        // r[impl hello.base-limits]
        frame_bytes: 16 * 1024,
        message_bytes: 256 * 1024,
        metadata_bytes: Metadata::BYTES_MAX,
        calls: 64,
        window_bytes: BULK_WINDOW_BASE,
    };

    /// What the peer's hello says, never below what every peer has to accept and never above what
    /// ids and lengths can express.
    pub(crate) fn of_hello(hello: &Hello) -> Self {
        // r[impl hello.limits]
        let frame_bytes = hello.frame_bytes.min(i32::MAX.unsigned_abs()) as usize;
        Self {
            frame_bytes: frame_bytes.max(Self::BASE.frame_bytes),
            message_bytes: hello.message_bytes as usize,
            metadata_bytes: (hello.metadata_bytes as usize).min(Metadata::BYTES_MAX),
            calls: hello.calls.clamp(1, crate::frame::CallId::SLOTS_MAX),
            // r[impl hello.window]
            window_bytes: (hello.window_bytes as usize).max(BULK_WINDOW_BASE),
        }
    }
}
