//! What comes in: packets, their frames, and what they say about the packets that were sent.

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rpc_core::transport::Inbox;

use super::{
    GIVE_UP, Lost, Session, Side, Violation, acks::Acks, output::Room, receiving::Taken,
    sending::Sending, sent::Packet,
};
use crate::proto::{
    congestion::Congestion,
    frame::{Ack, Frame, Frames},
    mtu::Mtu,
    pacer::Pacer,
    packet::{Data, decode_data, expand},
    rtt::Rtt,
};

/// A datagram that came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) bytes: &'a [u8],
    /// Whether a router on its way was congested.
    pub(crate) marked: bool,
}

/// What a datagram was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Something new was in it.
    New,
    /// It has come before, or isn't of this session, or is damaged.
    Nothing,
}

/// What the frames of a packet came to.
#[derive(Debug, Default)]
struct Contents {
    /// Whether it asks for an acknowledgement.
    asks: bool,
    /// Whether there are frames of lanes, to which the peer perhaps waits for an answer.
    leads: bool,
    /// Whether it is to be acknowledged at once.
    hurry: bool,
    /// Whether some of it couldn't be taken, so that all of it has to come again.
    refused: bool,
}

impl Session {
    /// Takes one datagram, and hands out the frames that this makes complete.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        arrived: Arrived<'_>,
        inbox: &mut impl Inbox,
    ) -> Result<Worth, Lost> {
        let elsewhere = arrived.from != self.path.remote();
        // r[impl path.client]
        let from_stranger = elsewhere && self.side == Side::Client;
        let data = decode_data(arrived.bytes).filter(|data| self.is_ours(data) && !from_stranger);
        let Some(data) = data else { return Ok(Worth::Nothing) };
        let number = expand(data.pn32, self.acks.expected());
        // r[impl datagram.once]
        if self.is_over || self.close.is_some() || self.acks.has_seen(number) {
            return Ok(Worth::Nothing);
        }
        // r[impl cookie.echo]
        self.cookie = None;
        let newest = number >= self.acks.expected();
        // r[impl path.challenge]
        if newest && elsewhere {
            let bytes = arrived.bytes.len();
            let random = &mut self.random;
            self.path.note_elsewhere(now, arrived.from, bytes, || random.u64(..).to_le_bytes());
        }
        let contents = match self.handle_frames(now, arrived.from, data.frames, inbox) {
            Ok(contents) => contents,
            Err(lost) => return Err(self.lose(lost)),
        };
        if !contents.leads {
            self.settle();
        // r[impl lane-frame.late]
        } else if self.receiving.note_gap(now) > GIVE_UP {
            let late = Violation::Limit("a frame has not come for 30 s, and those behind it have");
            return Err(self.lose(late.into()));
        }
        if !contents.refused {
            self.acks.note(now, number, contents.asks, arrived.marked);
            if contents.hurry {
                self.acks.hurry(now);
            }
        }
        Ok(Worth::New)
    }

    /// Whether the packet is of this session, and from its other side.
    fn is_ours(&self, data: &Data<'_>) -> bool {
        // r[impl session.epoch]
        data.session == self.id
            && data.epoch16 == self.epoch.low16()
            && data.from_server == (self.side == Side::Client)
    }

    /// The session is over because of what the peer did; it is told why.
    fn lose(&mut self, lost: Lost) -> Lost {
        match lost {
            Lost::Closed(_) => self.is_over = true,
            Lost::Violation(violation) => self.close = Some(violation.into()),
            Lost::Silent => {}
        }
        lost
    }

    fn handle_frames(
        &mut self,
        now: Instant,
        from: SocketAddr,
        frames: &[u8],
        inbox: &mut impl Inbox,
    ) -> Result<Contents, Lost> {
        let mut contents = Contents::default();
        for frame in Frames::new(frames) {
            let frame = frame.map_err(|_| Violation::Protocol("a malformed packet"))?;
            contents.asks |= !matches!(frame, Frame::Ack(_) | Frame::Close { .. });
            match frame {
                Frame::Ping => {}
                Frame::Data(frame) => {
                    contents.leads = true;
                    let taken = self.receiving.handle_frame(&frame, inbox)?;
                    contents.refused |= taken == Taken::NoRoom;
                }
                Frame::Ack(ack) => self.handle_ack(now, ack)?,
                Frame::Challenge(question) => self.answer_due = Some(question),
                Frame::Answer(answer) => self.handle_answer(from, answer),
                Frame::Fin { total } => {
                    self.receiving.handle_fin(total)?;
                    contents.hurry = true;
                }
                Frame::Close { code } => return Err(Lost::Closed(code.into())),
            }
        }
        Ok(contents)
    }

    /// An address has proved that the peer is there.
    fn handle_answer(&mut self, from: SocketAddr, answer: [u8; 8]) {
        self.settle();
        // r[impl path.switch]
        if let Some(is_other_host) = self.path.handle_answer(from, answer) {
            self.timeouts = 0;
            if is_other_host {
                // Nothing is known about the way there (RFC 9000, section 9.4).
                self.mtu = Mtu::new(self.theirs.datagram_bytes);
                self.congestion = Congestion::new(self.mtu.current());
                self.pacer = Pacer::new();
                self.rtt = Rtt::new();
            }
        }
    }

    /// Checks an acknowledgement, and takes it, at once or after what the peer waits for was sent.
    fn handle_ack(&mut self, now: Instant, ack: Ack<'_>) -> Result<(), Violation> {
        self.settle();
        let largest = expand(ack.largest, self.sent.end());
        let ranges = ack.ranges(largest).map_err(|_| Violation::Protocol("malformed ranges"))?;
        for (first, last) in ranges {
            self.sent.check(first, last)?;
        }
        self.sending.allow(ack.window);
        if self.sending.is_open() {
            self.blocked_at = None;
        }
        // Whoever closes waits to hear that the peer has everything, and for nothing that is to be sent.
        let may_wait = self.sent.is_alone() && !self.sending.is_ending();
        match ack.plain().filter(|_| may_wait) {
            Some(ack) => self.put_off = Some((now, ack)),
            None => self.acknowledge(now, &ack),
        }
        Ok(())
    }

    /// Takes the acknowledgement that was put off. Returns whether there was one.
    // Out of line: where it is called there is rarely one, and a reply has to get past it.
    #[inline(never)]
    pub(super) fn settle(&mut self) -> bool {
        let Some((at, ack)) = self.put_off.take() else { return false };
        self.acknowledge(at, &ack.into());
        true
    }

    /// Whether the acknowledgement that was put off is one of this packet.
    pub(super) fn is_put_off(&self, number: u64) -> bool {
        let Some((_, ack)) = self.put_off else { return false };
        let ack = Ack::from(ack);
        let ranges = ack.ranges(expand(ack.largest, self.sent.end()));
        ranges.into_iter().flatten().any(|(first, last)| (first..=last).contains(&number))
    }

    /// Takes an acknowledgement that was checked, and came at `now`.
    fn acknowledge(&mut self, now: Instant, ack: &Ack<'_>) {
        let largest = expand(ack.largest, self.sent.end());
        let newest = self.sent.largest_acked().is_none_or(|before| largest > before);
        let Self { sent, sending, acks, congestion, mtu, room, .. } = self;
        let mut told = Told { sending, acks, congestion, mtu, room };
        // The last that was sent of those that this acknowledges first.
        let mut latest: Option<(u64, Instant)> = None;
        for (first, last) in ack.ranges(largest).into_iter().flatten() {
            sent.acknowledge(first, last, |number, packet| {
                if latest.is_none_or(|(before, _)| before < number) {
                    latest = Some((number, packet.at));
                }
                told.note_acked(now, number, packet);
            });
        }
        let Some((number, sent_at)) = latest else { return };
        let sample = (newest && number == largest).then(|| now.saturating_duration_since(sent_at));
        if let Some(sample) = sample {
            self.rtt.update(sample, ack.delay.min(self.their_delay()), now);
        }
        self.progress_at = Some(now);
        self.timeouts = 0;
        self.handle_marks(now, ack, newest, sent_at);
        self.detect_losses(now);
        let smoothed = self.rtt.smoothed();
        self.congestion.on_ack_end(now, largest, sample, smoothed, self.app_limited);
    }

    /// Routers on the way were congested: once in a round trip that counts like a loss.
    fn handle_marks(&mut self, now: Instant, ack: &Ack<'_>, newest: bool, sent_at: Instant) {
        // r[impl congestion.ecn]
        let marked = ack.ce.unwrap_or_default();
        if newest && marked > self.marked {
            self.marked = marked;
            self.congestion.on_congestion(now, sent_at);
        }
    }

    /// Finds what was lost, and has it sent again.
    pub(super) fn detect_losses(&mut self, now: Instant) {
        let mut lost = Vec::new();
        self.sent.detect(now, self.rtt.loss_delay(), |number, packet| lost.push((number, packet)));
        let mut span = Span::default();
        let mut newest = None;
        for (number, packet) in lost {
            // r[impl loss.again]
            self.sending.resend(&packet.frames, packet.fin);
            if packet.probes_mtu {
                // r[impl mtu.probe]
                self.mtu.on_probe_lost(now, number);
                continue;
            }
            if self.rtt.first_sample().is_some_and(|first| first < packet.at) {
                span.add(number, packet.at);
            }
            newest = Some(packet.at);
            self.mtu.on_packet_lost(number, packet.bytes);
        }
        let Some(newest) = newest else { return };
        if self.mtu.on_losses_end(now) {
            self.congestion.on_mtu_change(self.mtu.current());
        }
        self.congestion.on_congestion(now, newest);
        // r[impl congestion.window]
        if span.longest > self.rtt.pto(self.their_delay()).saturating_mul(PERSISTENT) {
            self.congestion.on_persistent_congestion(now);
            self.rtt.on_persistent_congestion();
        }
    }
}

/// Who has to know that the peer has a packet.
struct Told<'a> {
    sending: &'a mut Sending,
    acks: &'a mut Acks,
    congestion: &'a mut Congestion,
    mtu: &'a mut Mtu,
    room: &'a mut Option<Box<Room>>,
}

impl Told<'_> {
    fn note_acked(&mut self, now: Instant, number: u64, packet: Packet) {
        if !packet.probes_mtu {
            self.mtu.on_packet_acked(number, packet.bytes);
        } else if self.mtu.on_probe_acked(now, number) {
            self.congestion.on_mtu_change(self.mtu.current());
        }
        self.congestion.on_acked(packet.at, packet.bytes.into());
        if packet.fin {
            self.sending.note_fin_known();
        }
        if let Some(acknowledged) = packet.acknowledged {
            self.acks.forget_below(acknowledged);
        }
        if let Some(room) = self.room {
            room.reclaim(packet.frames);
        }
    }
}

/// How many probe times long an unbroken row of losses is to be to count as persistent congestion
/// (RFC 9002, section 7.6.1).
const PERSISTENT: u32 = 3;

/// The longest time over which every packet was lost.
#[derive(Debug, Default)]
struct Span {
    run: Option<(u64, Instant)>,
    last: u64,
    longest: Duration,
}

impl Span {
    fn add(&mut self, number: u64, at: Instant) {
        let (_, since) = match self.run {
            Some(run) if number == self.last.saturating_add(1) => run,
            _ => *self.run.insert((number, at)),
        };
        self.last = number;
        self.longest = self.longest.max(at.saturating_duration_since(since));
    }
}
