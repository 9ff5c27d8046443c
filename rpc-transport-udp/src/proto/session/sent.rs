//! The packets that were sent: which are under way, acknowledged, lost; no frames, no congestion.
//!
//! Loss detection is that of RFC 9002, section 6, with one space of packet numbers.

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

use std::{
    collections::VecDeque,
    num::NonZeroU64,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::Violation;
use crate::planted::planted;

/// How many later packets have to be acknowledged until one counts as lost (RFC 9002, 6.1.1).
const REORDERING: u64 = 3;

/// One packet number in so many is skipped, on average, so that a peer that acknowledges what it
/// hasn't received is found out (RFC 9000, 21.4).
const SKIP_EVERY: u64 = 512;

/// A packet that is under way: it asks for an acknowledgement, and counts for congestion.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) at: Instant,
    /// Bytes of the datagram.
    pub(super) bytes: u16,
    /// Its lane frames, as they lie in the datagram; empty if it has none.
    pub(super) frames: Bytes,
    pub(super) fin: bool,
    /// It only tries whether the path takes a datagram of its size.
    pub(super) probes_mtu: bool,
    /// The highest packet number that it acknowledged.
    pub(super) acknowledged: Option<u64>,
}

impl Packet {
    /// A packet without frames of lanes.
    pub(super) fn bare(at: Instant, datagram: &[u8]) -> Self {
        Self {
            at,
            bytes: u16::try_from(datagram.len()).unwrap_or(u16::MAX),
            frames: Bytes::new(),
            fin: false,
            probes_mtu: false,
            acknowledged: None,
        }
    }
}

/// All packets from the oldest that is under way on.
#[derive(Debug)]
pub(super) struct Sent {
    /// Those that ask for acknowledgements, by their numbers; empty are those that are acknowledged
    /// or lost before the oldest is. Of others nothing is kept: how many there are is up to the peer.
    packets: VecDeque<(u64, Option<Packet>)>,
    /// The number of the next packet.
    next: u64,
    /// The number that was never used last, and the next one that won't be. The first always is.
    skipped: Option<NonZeroU64>,
    skip_at: u64,
    random: fastrand::Rng,
    /// The highest number that was acknowledged.
    largest_acked: Option<u64>,
    /// Bytes of the datagrams under way.
    in_flight: u64,
    /// How many those are, and how many of them have lane frames.
    under_way: u32,
    with_frames: u32,
    /// When the last of them was sent.
    last_asked: Option<Instant>,
    /// When the oldest packet counts as lost, if packets after it were acknowledged.
    loss_at: Option<Instant>,
}

impl Sent {
    pub(super) fn new(mut random: fastrand::Rng) -> Self {
        let skip_at = random.u64(1..2 * SKIP_EVERY);
        Self {
            packets: VecDeque::new(),
            next: 0,
            skipped: None,
            skip_at,
            random,
            largest_acked: None,
            in_flight: 0,
            under_way: 0,
            with_frames: 0,
            last_asked: None,
            loss_at: None,
        }
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Whether any packet waits for an acknowledgement.
    pub(super) fn is_waiting(&self) -> bool {
        self.under_way > 0
    }

    /// Whether a single packet waits for an acknowledgement.
    pub(super) fn is_alone(&self) -> bool {
        self.under_way == 1
    }

    pub(super) fn last_asked(&self) -> Option<Instant> {
        self.last_asked
    }

    pub(super) fn loss_at(&self) -> Option<Instant> {
        self.loss_at
    }

    pub(super) fn largest_acked(&self) -> Option<u64> {
        self.largest_acked
    }

    /// The number of the next packet. Some are skipped.
    pub(super) fn next_number(&mut self) -> u64 {
        // r[impl datagram.pn]
        if self.next == self.skip_at {
            self.next = self.next.saturating_add(1);
            self.skipped = NonZeroU64::new(self.skip_at);
            self.skip_at = self.next.saturating_add(self.random.u64(1..2 * SKIP_EVERY));
        }
        self.next
    }

    /// Uses up the [`next_number`](Self::next_number). A packet that asks for no acknowledgement
    /// isn't looked after any further: nobody may ever acknowledge it.
    pub(super) fn use_number(&mut self) {
        self.next = self.next.saturating_add(1);
    }

    /// Looks after the packet, whose number was used after that of every other one here.
    pub(super) fn track(&mut self, number: u64, packet: Packet) {
        self.in_flight = self.in_flight.saturating_add(packet.bytes.into());
        self.last_asked = Some(packet.at);
        self.under_way = self.under_way.saturating_add(1);
        let with_frames = u32::from(!packet.frames.is_empty());
        self.with_frames = self.with_frames.saturating_add(with_frames);
        self.packets.push_back((number, Some(packet)));
    }

    /// Whether the packet whose number ends in these bits is under way.
    pub(super) fn is_under_way(&self, number: u64) -> bool {
        let at = self.reaching(number);
        matches!(self.packets.get(at), Some((found, Some(_))) if *found == number)
    }

    /// The number after the last one.
    pub(super) fn end(&self) -> u64 {
        self.next
    }

    /// Whether the peer can have received the packets of this range.
    pub(super) fn check(&self, first: u64, last: u64) -> Result<(), Violation> {
        // r[impl ack.unsent]
        if last >= self.end() {
            return Err(Violation::Protocol("an acknowledgement of what was never sent"));
        }
        if self.skipped.is_some_and(|skipped| (first..=last).contains(&skipped.get())) {
            return Err(Violation::Protocol("an acknowledgement of a skipped packet"));
        }
        Ok(())
    }

    /// The peer has received the packets of this range. Calls `acked` for those of which that is
    /// news.
    pub(super) fn acknowledge(
        &mut self,
        first: u64,
        last: u64,
        mut acked: impl FnMut(u64, Packet),
    ) {
        for at in self.reaching(first).. {
            let Some(number) = self.number(at).filter(|number| *number <= last) else { break };
            if let Some(packet) = self.take(at) {
                acked(number, packet);
            }
        }
        self.largest_acked = self.largest_acked.max(Some(last));
        self.forget_oldest();
    }

    /// Takes the packet at a place out, if it is under way.
    fn take(&mut self, at: usize) -> Option<Packet> {
        let packet = self.packets.get_mut(at)?.1.take()?;
        if !(planted("bytes-in-flight-kept") && packet.probes_mtu) {
            self.in_flight = self.in_flight.saturating_sub(u64::from(packet.bytes));
        }
        self.under_way = self.under_way.saturating_sub(1);
        let with_frames = u32::from(!packet.frames.is_empty());
        self.with_frames = self.with_frames.saturating_sub(with_frames);
        Some(packet)
    }

    /// Finds packets that are lost, because of those that were acknowledged after them. `delay` is
    /// how long a packet may be late.
    pub(super) fn detect(
        &mut self,
        now: Instant,
        delay: Duration,
        mut lost: impl FnMut(u64, Packet),
    ) {
        self.loss_at = None;
        let Some(largest) = self.largest_acked else { return };
        for at in 0.. {
            let Some((number, packet)) = self.packets.get(at) else { break };
            let number = *number;
            let Some(later @ 1..) = largest.checked_sub(number) else { break };
            let Some(packet) = packet else { continue };
            let late_at = packet.at.checked_add(delay).unwrap_or(packet.at);
            // r[impl loss.detect]
            if later < REORDERING && late_at > now {
                self.loss_at = Some(late_at);
                break;
            }
            let is_missed = planted("late-packet-not-lost") && later < REORDERING;
            if let Some(packet) = self.take(at).filter(|_| !is_missed) {
                lost(number, packet);
            }
        }
        self.forget_oldest();
    }

    /// The lane frames of the oldest packet that is under way, and whether the end is in it.
    pub(super) fn oldest(&self) -> Option<(Bytes, bool)> {
        let mut under_way = self.packets.iter().filter_map(|(_, packet)| packet.as_ref());
        let oldest = under_way.find(|packet| !packet.probes_mtu)?;
        Some((oldest.frames.clone(), oldest.fin))
    }

    /// How many packets with lane frames are under way.
    pub(super) fn with_frames(&self) -> usize {
        self.with_frames as usize
    }

    /// Whether any lane frames are under way.
    pub(super) fn has_frames(&self) -> bool {
        self.with_frames > 0
    }

    /// What it keeps.
    #[cfg(any(fuzzing, test))]
    pub(super) fn entries(&self) -> usize {
        self.packets.len()
    }

    /// As if so many packets had been sent, and all acknowledged.
    #[cfg(any(fuzzing, test))]
    pub(super) fn begin_at(&mut self, number: u64) {
        self.skip_at += number;
        self.next = number;
    }

    /// Gives back the memory that nothing needs while nothing is under way.
    pub(super) fn shrink(&mut self) {
        if self.packets.is_empty() {
            self.packets = VecDeque::new();
        }
    }

    fn forget_oldest(&mut self) {
        while let Some((_, None)) = self.packets.front() {
            self.packets.pop_front();
        }
    }

    fn number(&self, at: usize) -> Option<u64> {
        self.packets.get(at).map(|(number, _)| *number)
    }

    /// Where the first packet is with this number or a higher one.
    fn reaching(&self, number: u64) -> usize {
        self.packets.partition_point(|(before, _)| *before < number)
    }
}
