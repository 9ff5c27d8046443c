//! The transport contract: what moves frames between two peers, and what it promises; no protocol.
//!
//! A transport moves opaque **frames**. Each belongs to a **lane**: lane 0 carries control frames,
//! every call has a lane of its own. What every transport promises:
//!
//! | promise | meaning |
//! |---|---|
//! | whole | a frame arrives whole or not at all |
//! | once | never twice within a connection, and a connection is never resumed |
//! | order | frames of one lane arrive in order; lanes may overtake each other |
//! | first | the first frame of lane 0 (the hello) arrives before any other frame |
//! | end | the last frame of a lane is marked as such, in each direction |
//! | or it ends | loss that can't be repaired ends the connection with an error |
//! | back-pressure | a full send side returns `Pending`; receive buffers are bounded |
//! | knows what left | what is still in the [`Batch`] when sending fails never left this process; what a [reset](TransportError::Reset) says never ran didn't |
//! | evidence | it tells the address, and whatever identity it proved itself |
//!
//! The public conformance kit (`rpc_core::testing::conformance`, feature `testing`) checks them,
//! and `testing::promises` what calls promise over them.
//! For those over IP, [`ip`] reads addresses, resolves names, and races over what it found.
//! Three implementations come with this crate: [`memory`], [`stream`] (any
//! `AsyncRead + AsyncWrite`), and one that misbehaves on purpose in `testing`.

mod address;
#[cfg(all(feature = "runtime", any(fuzzing, test)))]
pub(crate) mod fuzz;
#[cfg(feature = "runtime")]
pub mod ip;
#[cfg(feature = "runtime")]
pub mod memory;
#[cfg(feature = "runtime")]
pub mod stream;

use std::{
    fmt,
    future::Future,
    io,
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Bytes, BytesMut};

pub use crate::{
    frame::Lane,
    outbox::{Batch, FrameInfo, OutFrame},
};
pub use address::{Address, Peer};

/// What is reserved for a large frame beyond what has come of it; when it has come, as much again as has. With
/// all else that a connection takes, a peer that sends little has 64 KiB reserved that it hasn't sent.
pub(crate) const RESERVE_BYTES: usize = 60 * 1024;

/// One established connection, as the core drives it: one task polls all three directions of it.
///
/// Every `poll_*` function registers the waker of `cx` when it returns `Pending`, and none of them
/// loses anything when its caller stops polling.
///
/// # Who polls what, and when
/// - [`poll_recv`](Self::poll_recv) is polled for as long as there is a connection: by an idle side,
///   and by whoever waits for [`poll_send`](Self::poll_send) or [`poll_close`](Self::poll_close). So
///   a transport may do whatever its protocol needs in any of the three: take acknowledgements,
///   send again what was lost, keep time.
/// - `poll_send` is polled while there is something to send, and again after it was `Pending`.
///   What it has taken has to leave without it: `poll_recv` is what goes on being polled.
/// - `poll_close` is polled when everything is sent, until it is `Ready`. If the peer has ended too,
///   the transport is dropped then.
/// - When one of the three makes progress possible in another, it wakes that one's waker, although
///   it may be the same task's.
pub trait Transport: Send + 'static {
    /// What this transport itself knows about the other side.
    fn peer(&self) -> Peer;

    /// The frame size that suits this transport, in bytes. Messages are cut to it (and to what the
    /// peer accepts). TCP wants tens of KiB, a datagram transport what one datagram carries.
    ///
    /// It is a wish, not a limit. What can't be cut may be larger: a request's header with its
    /// metadata (8 KiB), the text of an error or of a CLOSE (1 KiB). So every transport carries frames
    /// up to [what the receiver's inbox takes](Inbox::frame_bytes_max), which is 16 KiB or more,
    /// in one piece for those who use it, however many it makes of them.
    fn frame_bytes(&self) -> usize;

    /// Sends the batch from its front, as far as possible.
    ///
    /// `Ready(Ok(()))` means that the batch is empty and every byte of it was accepted by the
    /// layer below (or by what the transport itself keeps until the peer has it). Whatever is consumed from the batch counts as possibly sent, and whatever is
    /// still in it when an error is returned counts as never sent.
    ///
    /// # Errors
    /// The connection is broken; it isn't used again except to drop it.
    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>>;

    /// Receives once: at most one system call, then hands every complete frame to `inbox`.
    ///
    /// The inbox may lock, so nothing may be received from below after the first frame was pushed.
    ///
    /// After [`End`](Received::End) it says `End` again, each time, and hands out nothing. It is still
    /// polled, with each wake-up, while this side has something to send or to close.
    ///
    /// # Errors
    /// [`TransportError::Io`] when the connection broke, or a protocol error when the peer broke
    /// the rules below the frames. Frames pushed before the error count. What of this is about the
    /// peer's bytes doesn't stop this side from sending; if nothing can be sent any more, `poll_send`
    /// and `poll_close` say so themselves.
    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>>;

    /// Tells the peer that nothing more will be sent, after everything sent has left. Receiving
    /// goes on. `Ready(Ok(()))` means that this transport isn't needed for any of that to arrive.
    ///
    /// One that is dropped without this, or before it is `Ready`, tells its peer of an error, if it
    /// can: a peer that isn't told hears of it by its keepalive.
    ///
    /// # Errors
    /// The connection is broken.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Where a transport puts the frames it receives.
pub trait Inbox {
    /// Takes one frame.
    fn push(&mut self, frame: InFrame<'_>);

    /// The largest frame to accept, in bytes. A transport refuses a larger one before it allocates
    /// anything for it.
    fn frame_bytes_max(&self) -> usize;

    /// A buffer for `bytes` bytes, to receive a large frame on `lane` in. `beginning` has come of it, and
    /// is in the buffer already; the rest is to be appended, and the frame to be pushed as
    /// [`Payload::Filled`]: it becomes a part of its message without being copied.
    ///
    /// It may have room for less than that: it is to grow as the rest comes, so that a peer doesn't
    /// make this side reserve much by announcing it. It may be dropped if the rest never comes. Only
    /// the one that was asked for last saves a copy. An inbox in front of another one hands this on;
    /// where it doesn't, frames are copied as if they had come in a buffer of the transport's.
    fn buffer(&mut self, lane: Lane, bytes: usize, beginning: &[u8]) -> BytesMut {
        let _ = lane;
        let mut buffer =
            BytesMut::with_capacity(bytes.min(beginning.len().saturating_add(RESERVE_BYTES)));
        buffer.extend_from_slice(beginning);
        buffer
    }
}

/// One received frame.
#[derive(Debug)]
pub struct InFrame<'a> {
    /// The lane it belongs to.
    pub lane: Lane,
    /// Whether it is the last frame of its lane in this direction.
    pub end: bool,
    /// The frame itself.
    pub payload: Payload<'a>,
}

/// The bytes of a received frame: borrowed from a read buffer, or in a buffer of their own.
#[derive(Debug)]
#[non_exhaustive]
pub enum Payload<'a> {
    /// In the transport's read buffer; copied by whoever keeps it.
    Borrowed(&'a [u8]),
    /// In a buffer of its own (large frames), kept without a copy.
    Owned(Bytes),
    /// In the buffer that [`Inbox::buffer`] gave for it, or one that this has grown to.
    Filled(BytesMut),
}

impl Payload<'_> {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
            Self::Filled(bytes) => bytes,
        }
    }
}

/// What one [`Transport::poll_recv`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// It read something; there may be more.
    Some,
    /// It handed out a part of what it read, or all of it, and keeps the rest for the next time it is
    /// polled: the peer has little to do until something is sent, so what this part leads to is to be
    /// sent first. No wake-up comes for the rest.
    Part,
    /// The peer has finished sending, between two frames.
    End,
}

/// Accepts connections.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a listener",
    note = "the `listen` of a transport is async: is `.await?` missing?"
)]
pub trait Listener: Send + 'static {
    /// What it accepts.
    type Transport: Transport;

    /// Where it listens.
    fn local_addr(&self) -> Address;

    /// Accepts the next connection. Handshakes of the transport's own (TLS, say) belong into the
    /// first polls of the transport, so that a slow peer holds up nobody.
    ///
    /// # Errors
    /// That one accept failed. The server pauses if the process is out of resources, and goes on
    /// accepting.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Transport>>;

    /// The server is about to go: from now on no peer is to be told that it may connect. Returns until
    /// when to wait for those that were told so before and haven't come, `None` when there are none.
    /// It is asked again after each that comes.
    ///
    /// A client that was told so may have sent a request with its first bytes, which a drain must not
    /// lose. A transport whose clients aren't told before they come does nothing.
    fn invite_no_more(&mut self) -> Option<Instant> {
        None
    }

    /// The server is going: no more connections are to come, but those that wait are still accepted.
    /// A transport that can't turn new ones away without losing those does nothing: a connection that
    /// comes in the last moment is then reset, and its caller can't know more.
    fn refuse_more(&mut self) {}
}

/// Makes connections to one target.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connector",
    note = "the `connector` of a transport makes one of an address"
)]
pub trait Connector: Send + Sync + 'static {
    /// What it makes.
    type Transport: Transport;

    /// The target, as error messages name it.
    fn target(&self) -> Address;

    /// Makes one connection, within a time limit of the transport's own.
    ///
    /// # Errors
    /// What was tried, by address, and why it failed. Errors of two kinds say that there is no point
    /// in trying again, so that calls fail at once instead of waiting for the next attempt:
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), the address is none, and
    /// [`InvalidData`](io::ErrorKind::InvalidData), what answers there is no peer.
    fn connect(&self) -> impl Future<Output = io::Result<Self::Transport>> + Send;
}

/// Why a transport stopped receiving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The layer below failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer doesn't speak this protocol at all.
    #[error("the peer does not speak this protocol: it began with {}", Quoted(.began_with))]
    NotOurs {
        /// Its first bytes.
        began_with: [u8; 8],
    },
    /// The peer speaks another version of the stream framing.
    #[error("the peer speaks version {theirs} of the stream framing, this side version {ours}")]
    Version {
        /// Our version.
        ours: u8,
        /// The peer's version.
        theirs: u8,
    },
    /// A frame's length is above what this side accepts.
    #[error("the peer announced a frame of {bytes} bytes, this side accepts {limit}")]
    FrameTooLarge {
        /// What its length field says.
        bytes: usize,
        /// What this side accepts.
        limit: usize,
    },
    /// The peer finished sending in the middle of a frame.
    #[error("the connection ended in the middle of a frame")]
    Truncated,
    /// The peer says that it doesn't know this connection: it has started anew, has forgotten it, or
    /// has never taken it up. The connection is lost, but the transport may know of requests that
    /// were sent and can't have run, so that they may be repeated.
    ///
    /// Only [`poll_recv`](Transport::poll_recv) can tell it. A transport that learns of it elsewhere
    /// keeps it until it is asked there: it lets [`poll_send`](Transport::poll_send) be `Pending`, and
    /// wakes, instead of failing with less. After it was told, sending fails.
    #[error("the peer does not know this connection: {reason}")]
    Reset {
        /// What the peer said, or what that means, in lower case.
        reason: String,
        /// A [position](Batch::position) of which the transport is certain: no request whose last
        /// byte lies behind it has run, or will. Calls with such a request fail as
        /// [`Rejected`](crate::Delivery::Rejected), those before it as
        /// [`Unknown`](crate::Delivery::Unknown), and those that are still in the batch as
        /// [`NotSent`](crate::Delivery::NotSent). `None`: it isn't certain of anything.
        never_ran_from: Option<u64>,
    },
}

/// Shows bytes of unknown origin safely: printable ASCII as it is, the rest escaped.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}
