//! What goes out: packets filled with frames, many to a transmission, within what congestion allows.

use std::time::Instant;

use bytes::{Buf, Bytes};

use super::{Session, Side, Source, Transmit, sent::Packet};
use crate::proto::{
    frame::{self, AckHead},
    pacer::Pace,
    packet::{self, BASE_DATAGRAM_BYTES, DATAGRAM_BYTES_MIN, DataHeader},
};
use crate::spares::Spares;

/// The most bytes that one system call takes: what fits one IPv6 datagram, which is how the kernel
/// sees it.
const TRANSMIT_BYTES_MAX: usize = 65_487;

/// The datagram that asks a new address for a proof: the smallest there is.
pub(super) const CHALLENGE_BYTES: usize = DATAGRAM_BYTES_MIN;

/// Ranges of packet numbers above which an acknowledgement asks for one itself, so that old ranges
/// can be forgotten.
const RANGES_MANY: usize = 4;

/// What fills up a datagram.
const PADDING: u8 = 0;

/// Buffers of transmissions that a session keeps for the next ones while something is under way.
const SPARES_MAX: usize = 8;

/// What transmissions are put together in, and again the next ones.
#[derive(Debug, Default)]
pub(super) struct Room {
    drafts: Vec<Draft>,
    /// Buffers of transmissions all of which has arrived.
    spares: Spares,
}

impl Room {
    /// These frames have arrived. If they were the last of their transmission, nobody needs its
    /// buffer any more.
    pub(super) fn reclaim(&mut self, mut frames: Bytes) {
        if frames.is_unique() {
            // What is left would be moved to the front.
            frames.advance(frames.len());
            self.spares.keep(frames.into(), SPARES_MAX);
        }
    }
}

/// One packet of a transmission, until its bytes have found their place.
#[derive(Debug)]
struct Draft {
    number: u64,
    start: usize,
    /// Where its lane frames are in the transmission.
    frames: (usize, usize),
    fin: bool,
    asks: bool,
    acknowledged: Option<u64>,
}

impl Session {
    /// What is to be sent now, if anything. New frames come from `source`; at most `segments`
    /// datagrams are put into one transmission.
    ///
    /// The datagrams count as sent.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        source: &mut impl Source,
        segments: usize,
    ) -> Option<Transmit> {
        if self.is_over {
            return None;
        }
        if self.close.is_some() {
            return Some(self.transmit_close());
        }
        let urgent =
            self.transmit_challenge(now).or_else(|| self.transmit_frames(now, source, segments));
        if urgent.is_some() {
            return urgent;
        }
        // The acknowledgement that waited for those may allow more of them.
        if self.settle() {
            return self.poll_transmit(now, source, segments);
        }
        self.transmit_mtu_probe(now).or_else(|| self.transmit_acks(now))
    }

    /// The last packet of a session that is given up.
    fn transmit_close(&mut self) -> Transmit {
        let mut out = Vec::with_capacity(packet::HEADER_BYTES + packet::COOKIE_BYTES + 20);
        self.begin(&mut out);
        if let Some(code) = self.close {
            frame::encode_close(&mut out, code.into());
        }
        // r[impl session.close]
        self.is_over = true;
        self.sent.use_number();
        self.finish_single(out)
    }

    /// Asks a new address whether the peer is there.
    fn transmit_challenge(&mut self, now: Instant) -> Option<Transmit> {
        let (to, question) = self.path.poll_question(now, CHALLENGE_BYTES)?;
        let mut out = Vec::with_capacity(CHALLENGE_BYTES);
        self.begin(&mut out);
        frame::encode_challenge(&mut out, question);
        self.sent.use_number();
        Some(Transmit { to, ..self.finish_single(out) })
    }

    /// Frames, as many as are allowed.
    fn transmit_frames(
        &mut self,
        now: Instant,
        source: &mut impl Source,
        segments: usize,
    ) -> Option<Transmit> {
        if !self.has_more(source) && self.probes == 0 && self.answer_due.is_none() {
            if source.is_all() {
                self.app_limited = true;
                self.paced_until = None;
            }
            if source.peek().is_some() && !self.sent.is_waiting() {
                self.blocked_at.get_or_insert(now);
            }
            return None;
        }
        if !self.may_send(now, source) {
            return None;
        }
        let limit = self.segments_allowed(segments);
        let mut room = self.room.take().unwrap_or_default();
        let mut out = room.spares.take(self.capacity(source, limit));
        let segment_bytes = self.fill(now, source, limit, &mut out, &mut room.drafts);
        let transmit = if room.drafts.is_empty() {
            room.spares.keep(out, SPARES_MAX);
            None
        } else {
            if source.is_all() {
                self.app_limited = !self.has_more(source);
            }
            Some(self.dispatch(now, out, segment_bytes, &mut room.drafts))
        };
        self.room = Some(room);
        transmit
    }

    /// Whether congestion control and the pacer let anything go.
    fn may_send(&mut self, now: Instant, source: &impl Source) -> bool {
        self.paced_until = None;
        if self.probes > 0 {
            return true;
        }
        let mtu = self.datagram_bytes();
        // r[impl congestion.window]
        if self.sent.in_flight() + mtu as u64 > self.congestion.window() {
            self.app_limited = false;
            return false;
        }
        // r[impl congestion.pacing]
        // One datagram is all that there is. How many more there might be needs no count.
        let is_little = !self.sending.has_own() && 2 * source.remaining() <= mtu;
        if is_little && self.pacer.has(mtu) {
            return true;
        }
        let pace = self.pace();
        self.paced_until = self.pacer.delay(now, mtu, &pace);
        self.paced_until.is_none()
    }

    /// How many datagrams the next transmission may have, if it may be sent now.
    fn segments_allowed(&self, segments: usize) -> usize {
        if self.probes > 0 {
            return usize::from(self.probes).min(segments).max(1);
        }
        let mtu = self.datagram_bytes();
        let room = self.congestion.window().saturating_sub(self.sent.in_flight());
        let room = room.min(self.pacer.budget_bytes());
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        (room / mtu).min(TRANSMIT_BYTES_MAX / mtu).min(segments).max(1)
    }

    /// Room for what is likely to be sent: most transmissions are one small datagram.
    fn capacity(&self, source: &impl Source, segments: usize) -> usize {
        let most = segments * self.datagram_bytes();
        if self.sending.has_own() {
            return most;
        }
        let new = source.remaining();
        most.min(new + new / 2 + 2 * DATAGRAM_BYTES_MIN + packet::COOKIE_BYTES)
    }

    /// Fills up to `limit` datagrams. Returns how long each of them is, but perhaps the last.
    fn fill(
        &mut self,
        now: Instant,
        source: &mut impl Source,
        limit: usize,
        out: &mut Vec<u8>,
        drafts: &mut Vec<Draft>,
    ) -> usize {
        // A probe has to get through also when larger datagrams don't any more.
        let mut segment_bytes =
            if self.probes > 0 { BASE_DATAGRAM_BYTES } else { self.datagram_bytes() };
        while drafts.len() < limit {
            let start = out.len();
            let draft = self.draft(now, source, out, start + segment_bytes);
            let Some(draft) = draft else {
                out.truncate(start);
                break;
            };
            self.note_draft(now, &draft);
            drafts.push(draft);
            let bytes = out.len() - start;
            if drafts.len() == 1 {
                segment_bytes = bytes.max(DATAGRAM_BYTES_MIN);
            }
            // All but the last have to be of one length, and only the end of the transmission tells
            // which is the last: what is short is padded.
            out.resize(start + segment_bytes.max(DATAGRAM_BYTES_MIN), PADDING);
            let short = segment_bytes - bytes.min(segment_bytes);
            if short > segment_bytes / 4 || self.probes == 0 && !self.has_more(source) {
                // The last: its padding is worth nothing.
                out.truncate(start + bytes.max(DATAGRAM_BYTES_MIN));
                break;
            }
        }
        segment_bytes
    }

    fn has_more(&self, source: &impl Source) -> bool {
        self.sending.has_own() || self.sending.is_open() && source.peek().is_some()
    }

    /// One packet, up to `end`. `None` if there is nothing to put into it.
    fn draft(
        &mut self,
        now: Instant,
        source: &mut impl Source,
        out: &mut Vec<u8>,
        end: usize,
    ) -> Option<Draft> {
        let start = out.len();
        let number = self.begin(out);
        let acknowledged = self.write_ack(now, out, end);
        let before = out.len();
        // r[impl path.answer]
        if let Some(answer) = self.answer_due.take() {
            frame::encode_answer(out, answer);
        }
        let frames_start = out.len();
        // A base datagram takes any frame, so that it can be sent again when the path gets smaller.
        let fin = self.sending.fill(out, end, source);
        let frames_end = if fin { out.len() - frame::FIN_BYTES } else { out.len() };
        if out.len() == before && self.probes > 0 {
            frame::encode_ping(out);
        }
        let asks = out.len() > before;
        if !asks && acknowledged.is_none() {
            return None;
        }
        Some(Draft { number, start, frames: (frames_start, frames_end), fin, asks, acknowledged })
    }

    /// Counts a packet that will be sent.
    fn note_draft(&mut self, now: Instant, draft: &Draft) {
        self.sent.use_number();
        self.probes = self.probes.saturating_sub(1);
        if draft.acknowledged.is_some() {
            self.acks.note_sent();
        }
        if draft.asks && !self.sent.is_waiting() {
            self.progress_at = Some(now);
        }
    }

    /// Hands a transmission over: what is under way is known from here on.
    fn dispatch(
        &mut self,
        now: Instant,
        mut out: Vec<u8>,
        segment_bytes: usize,
        drafts: &mut Vec<Draft>,
    ) -> Transmit {
        for datagram in out.chunks_mut(segment_bytes) {
            packet::seal(datagram);
        }
        let bytes = Bytes::from(out);
        let pace = self.pace();
        for draft in drafts.drain(..) {
            let end = (draft.start + segment_bytes).min(bytes.len());
            let datagram_bytes = u16::try_from(end - draft.start).unwrap_or(u16::MAX);
            if !draft.asks {
                continue;
            }
            let (from, to) = draft.frames;
            self.congestion.on_sent(draft.number);
            self.pacer.on_sent(now, datagram_bytes.into(), &pace);
            let packet = Packet {
                at: now,
                bytes: datagram_bytes,
                frames: if from < to { bytes.slice(from..to) } else { Bytes::new() },
                fin: draft.fin,
                probes_mtu: false,
                acknowledged: draft.acknowledged,
            };
            self.sent.track(draft.number, packet);
        }
        Transmit { to: self.path.remote(), bytes, segment_bytes }
    }

    /// A packet that finds out whether the path takes larger datagrams.
    fn transmit_mtu_probe(&mut self, now: Instant) -> Option<Transmit> {
        // Only beside other traffic, and when the peer knows the session.
        if self.cookie.is_some() || !self.sent.is_waiting() || !self.rtt.has_sample() {
            return None;
        }
        let bytes = usize::from(self.mtu.poll_probe(now)?);
        // With a smaller window the probe would hold up the only datagram that it allows.
        let needed = self.sent.in_flight() + bytes as u64 + self.datagram_bytes() as u64;
        if needed > self.congestion.window() {
            return None;
        }
        let mut out = Vec::with_capacity(bytes);
        let number = self.begin(&mut out);
        frame::encode_ping(&mut out);
        out.resize(bytes, PADDING);
        let transmit = self.finish_single(out);
        self.sent.use_number();
        self.mtu.on_probe_sent(number);
        self.sent.track(number, Packet { probes_mtu: true, ..Packet::bare(now, &transmit.bytes) });
        Some(transmit)
    }

    /// An acknowledgement for which nothing else is there to go with.
    fn transmit_acks(&mut self, now: Instant) -> Option<Transmit> {
        if self.acks.due().is_none_or(|due| due > now) {
            return None;
        }
        let mut out = Vec::with_capacity(2 * DATAGRAM_BYTES_MIN + packet::COOKIE_BYTES);
        let number = self.begin(&mut out);
        let acknowledged = self.write_ack(now, &mut out, BASE_DATAGRAM_BYTES)?;
        self.acks.note_sent();
        self.sent.use_number();
        // r[impl ack.quiet]
        if self.acks.ranges() <= RANGES_MANY || self.sent.is_waiting() {
            return Some(self.finish_single(out));
        }
        frame::encode_ping(&mut out);
        let transmit = self.finish_single(out);
        self.progress_at = Some(now);
        let acknowledged = Some(acknowledged);
        self.sent.track(number, Packet { acknowledged, ..Packet::bare(now, &transmit.bytes) });
        Some(transmit)
    }

    /// The largest datagram that the path takes, as far as is known.
    fn datagram_bytes(&self) -> usize {
        self.mtu.current().into()
    }

    /// What the rate of sending follows from.
    fn pace(&self) -> Pace {
        Pace {
            window: self.congestion.window(),
            srtt: self.rtt.smoothed(),
            datagram_bytes: self.mtu.current(),
            slow_start: self.congestion.in_slow_start(),
        }
    }

    /// Begins a packet with the next number, which it returns.
    fn begin(&mut self, out: &mut Vec<u8>) -> u64 {
        let number = self.sent.next_number();
        let header = DataHeader {
            from_server: self.side == Side::Server,
            epoch: self.epoch,
            session: self.id,
            pn: number,
        };
        // r[impl cookie.echo] r[impl cookie.opaque]
        packet::begin_data(out, header, self.cookie.as_deref());
        number
    }

    /// Appends an acknowledgement if one is owed. Returns the highest number in it.
    fn write_ack(&mut self, now: Instant, out: &mut Vec<u8>, end: usize) -> Option<u64> {
        // r[impl ack.probe]
        // A probe says it again: the peer may wait for an acknowledgement that was lost, and ask for
        // it less and less often.
        if !self.acks.is_owed() && self.probes == 0 {
            return None;
        }
        let window = self.receiving.window_end();
        let (ranges, delay, marked) = self.acks.report(now)?;
        let ce = (marked > 0).then_some(marked.into());
        let room = end.saturating_sub(out.len());
        let written = frame::encode_ack(out, AckHead { delay, window, ce }, ranges, room);
        written.then(|| self.acks.expected().saturating_sub(1))
    }

    /// A transmission of one datagram.
    fn finish_single(&self, mut out: Vec<u8>) -> Transmit {
        if out.len() < DATAGRAM_BYTES_MIN {
            out.resize(DATAGRAM_BYTES_MIN, PADDING);
        }
        packet::seal(&mut out);
        let segment_bytes = out.len();
        Transmit { to: self.path.remote(), bytes: Bytes::from(out), segment_bytes }
    }
}
