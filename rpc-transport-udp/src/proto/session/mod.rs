//! One session: lane frames in packets, reliable, in both directions; no set-up, no sockets.
//!
//! It takes datagrams and time, and gives datagrams and the time of its next timeout. After every
//! input, [`poll_transmit`](Session::poll_transmit) is to be called until it gives nothing, and
//! [`poll_timeout`](Session::poll_timeout) asked again.
//!
//! The map of this directory: `input` is what comes in, `output` what goes out; between them
//! `receiving` and `sending` are the frames, `lanes` what both keep of each lane, `acks` and `sent` the
//! packets of the two directions, `path` is the peer's address, `close` why a session ends, `budget` what
//! all sessions hold together.

mod acks;
mod budget;
mod close;
mod input;
mod lanes;
mod output;
mod path;
mod receiving;
mod sending;
mod sent;
#[cfg(any(fuzzing, test))]
mod tests;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use acks::Acks;
pub(crate) use budget::Budget;
use bytes::Bytes;
pub(crate) use close::{CloseCode, Lost, Violation};
pub(crate) use input::{Arrived, Worth};
use output::Room;
use path::Path;
use receiving::Receiving;
use sending::Sending;
pub(crate) use sending::Source;
use sent::Sent;
#[cfg(any(fuzzing, test))]
pub(crate) use tests::{Numbers, fuzz};

use super::{
    congestion::Congestion,
    frame::PlainAck,
    mtu::Mtu,
    pacer::Pacer,
    packet::{Epoch, Params, Reset, SessionId},
    rtt::Rtt,
};
use crate::planted::planted;

/// How long a peer that acknowledges nothing is waited for. As long as TCP's user timeout is in
/// this project.
const GIVE_UP: Duration = Duration::from_secs(30);

/// Which end of a session this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// It made the session. Its first packets carry the cookie.
    Client,
    /// It accepted the session.
    Server,
}

/// What the two sides agreed on when they set the session up.
#[derive(Debug, Clone)]
pub(crate) struct Agreed {
    pub(crate) side: Side,
    pub(crate) id: SessionId,
    pub(crate) epoch: Epoch,
    pub(crate) remote: SocketAddr,
    /// What this side accepts, and what the peer does.
    pub(crate) ours: Params,
    pub(crate) theirs: Params,
    /// The server's cookie, on the client's side.
    pub(crate) cookie: Option<[u8; 40]>,
}

/// Datagrams to be sent with one system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transmit {
    pub(crate) to: SocketAddr,
    /// The datagrams, one behind the other.
    pub(crate) bytes: Bytes,
    /// How long each is; the last may be shorter.
    pub(crate) segment_bytes: usize,
}

/// The state of one session.
#[derive(Debug)]
pub(crate) struct Session {
    side: Side,
    id: SessionId,
    epoch: Epoch,
    /// Sent along until the server has answered. Boxed: servers have none.
    cookie: Option<Box<[u8; 40]>>,
    theirs: Params,
    path: Path,
    sending: Sending,
    receiving: Receiving,
    sent: Sent,
    acks: Acks,
    rtt: Rtt,
    congestion: Congestion,
    pacer: Pacer,
    mtu: Mtu,
    random: fastrand::Rng,
    /// Packets that may be sent whatever congestion says.
    probes: u8,
    /// How often the timeout has passed without an answer.
    timeouts: u32,
    /// When something was acknowledged last, or waited first.
    progress_at: Option<Instant>,
    /// When the pacer lets more go.
    paced_until: Option<Instant>,
    /// Since when the peer's window alone has kept this side from sending.
    blocked_at: Option<Instant>,
    /// The proof that the peer asks for.
    answer_due: Option<[u8; 8]>,
    /// An acknowledgement that came then, and is taken after what the peer waits for was sent.
    put_off: Option<(Instant, PlainAck)>,
    /// Marks of congestion that the peer has told of.
    marked: u32,
    /// Whether it had nothing left to send when it last could.
    app_limited: bool,
    /// What transmissions are put together in, unless the session is idle.
    room: Option<Box<Room>>,
    /// What is to be told to the peer before all ends.
    close: Option<CloseCode>,
    /// Whether it is over: nothing comes in or goes out any more.
    is_over: bool,
}

impl Session {
    /// A session that was just set up. `seed` is its randomness.
    pub(crate) fn new(agreed: Agreed, budget: Budget, seed: u64) -> Self {
        let Agreed { side, id, epoch, remote, ours, theirs, cookie } = agreed;
        let mut random = fastrand::Rng::with_seed(seed);
        let mtu = Mtu::new(theirs.datagram_bytes);
        Self {
            side,
            id,
            epoch,
            cookie: cookie.map(Box::new),
            theirs,
            path: Path::new(remote),
            sending: Sending::new(theirs.window),
            receiving: Receiving::new(ours.window, budget),
            sent: Sent::new(random.fork()),
            acks: Acks::new(ours.ack_delay_ms),
            rtt: Rtt::new(),
            congestion: Congestion::new(mtu.current()),
            pacer: Pacer::new(),
            mtu,
            random,
            probes: 0,
            timeouts: 0,
            progress_at: None,
            paced_until: None,
            blocked_at: None,
            answer_due: None,
            put_off: None,
            marked: 0,
            app_limited: true,
            room: None,
            close: None,
            is_over: false,
        }
    }

    /// Its id.
    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    /// Whether a frame that is larger than a datagram is taken from the source and not sent whole.
    pub(crate) fn is_cutting(&self) -> bool {
        self.sending.is_cutting()
    }

    /// The system refused datagrams of this size. They count as lost, and no more are sent.
    pub(crate) fn handle_too_large(&mut self, now: Instant, bytes: usize) {
        if self.mtu.on_too_large(now, u16::try_from(bytes).unwrap_or(u16::MAX)) {
            self.congestion.on_mtu_change(self.mtu.current());
        }
    }

    /// Where the peer is.
    pub(crate) fn remote(&self) -> SocketAddr {
        self.path.remote()
    }

    /// Shows the peer that the session is there, before there is anything to send.
    pub(crate) fn greet(&mut self) {
        self.probes = self.probes.max(1);
    }

    /// Nothing more comes from the source.
    pub(crate) fn end(&mut self) {
        self.sending.end();
    }

    /// Whether the peer has everything that was sent, the end included.
    pub(crate) fn is_sent(&self) -> bool {
        self.sending.is_known() && !self.sent.has_frames()
    }

    /// How many packets with frames the peer has to work on, as far as this side knows.
    pub(crate) fn frames_under_way(&self) -> usize {
        self.sent.with_frames()
    }

    /// Whether everything that the peer sends has come, the end included.
    pub(crate) fn is_received(&self) -> bool {
        self.receiving.is_complete()
    }

    /// Ends the session at once; the peer is told, if the packet arrives.
    pub(crate) fn abort(&mut self) {
        self.settle();
        if !(self.is_over || self.is_sent() && self.is_received()) {
            self.close.get_or_insert(CloseCode::Abort);
        }
    }

    /// Whether the answer to one of our packets that this reset claims to be is one. The session
    /// stays as it is.
    pub(crate) fn accepts_reset(&self, reset: &Reset) -> bool {
        // r[impl reset.accept]
        let number = super::packet::expand(reset.pn32, self.sent.end());
        let is_under_way = self.sent.is_under_way(number) && !self.is_put_off(number);
        reset.id == self.id.0 && is_under_way
    }

    /// The server has said that there is no such session: nothing more is sent in it.
    pub(crate) fn forget(&mut self) {
        // r[impl reset.accept]
        self.is_over = true;
    }

    /// Time has passed: what is due is done.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Lost> {
        if self.is_over || self.close.is_some() {
            return Ok(());
        }
        self.settle();
        // r[impl loss.give-up]
        if self.give_up_at().is_some_and(|at| at <= now) {
            self.close = Some(CloseCode::Timeout);
            return Err(Lost::Silent);
        }
        if self.sent.loss_at().is_some_and(|at| at <= now) {
            self.detect_losses(now);
        } else if self.probe_at().is_some_and(|at| at <= now) {
            self.send_probes();
        }
        Ok(())
    }

    /// When [`handle_timeout`](Self::handle_timeout) and [`poll_transmit`](Self::poll_transmit) are
    /// to be called next, if nothing comes in.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        let loss = self.sent.loss_at().or_else(|| self.probe_at());
        let path = self.path.timeout(output::CHALLENGE_BYTES);
        let times = [loss, self.give_up_at(), self.acks.due(), self.paced_until, path];
        times.into_iter().flatten().min()
    }

    /// Whether there is nothing to send but what waits for the next [`poll_timeout`](Self::poll_timeout),
    /// and for new frames.
    pub(crate) fn is_quiet(&self) -> bool {
        let is_ending = self.is_over || self.close.is_some();
        !is_ending && !self.sending.has_own() && self.probes == 0 && self.answer_due.is_none()
    }

    /// Gives back the memory that an idle session doesn't need.
    pub(crate) fn shrink(&mut self) {
        self.sending.shrink();
        self.receiving.shrink();
        self.sent.shrink();
        self.acks.shrink();
        self.room = None;
    }

    fn give_up_at(&self) -> Option<Instant> {
        self.progress_at.filter(|_| self.sent.is_waiting()).map(|at| at + GIVE_UP)
    }

    /// When the peer has been silent for so long that it is asked again (RFC 9002, section 6.2).
    fn probe_at(&self) -> Option<Instant> {
        // r[impl loss.pto]
        // r[impl window.probe]
        let waiting = self.sent.last_asked().filter(|_| self.sent.is_waiting());
        let is_quiet = planted("probes-given-up") && self.timeouts > 3;
        let last = waiting.or(self.blocked_at).filter(|_| !is_quiet)?;
        let doubled =
            self.rtt.pto(self.their_delay()).saturating_mul(1 << self.timeouts.min(BACKOFF_MAX));
        Some(last + doubled.min(PROBE_EVERY_MAX))
    }

    /// The most that the peer delays an acknowledgement.
    fn their_delay(&self) -> Duration {
        Duration::from_millis(self.theirs.ack_delay_ms.into())
    }

    /// Sends the oldest frames that are under way again, or asks for a sign of life.
    fn send_probes(&mut self) {
        self.timeouts = self.timeouts.saturating_add(1);
        self.blocked_at = None;
        self.probes = PROBES;
        if self.sending.has_own() {
            return;
        }
        // One is enough: the packets after it may be copies of it, and the other probe finds out.
        if let Some((frames, fin)) = self.sent.oldest() {
            self.sending.resend(&frames, fin);
        }
    }
}

/// Packets that are sent when the peer has been silent (RFC 9002, section 6.2.4).
const PROBES: u8 = 2;

/// How often the time until the next probe is doubled.
const BACKOFF_MAX: u32 = 10;

/// The most time between two probes. RFC 8961 wants a minute for who goes on for ever; here it ends
/// with [`GIVE_UP`], and a call has ten seconds, in which a peer that comes back is to be found.
const PROBE_EVERY_MAX: Duration = Duration::from_secs(1);
