//! ACK frames: which packets have arrived, and how far the peer may send; no bookkeeping.

use std::time::Duration;

use super::{Frames, Malformed, kind};
use crate::proto::packet::low32;

/// Bytes of an ACK with one range and without ECN.
pub(crate) const ACK_BYTES: usize = 14;

/// Bytes of each further range.
const RANGE_BYTES: usize = 4;

/// Bytes of the count of ECN marks.
const CE_BYTES: usize = 4;

/// Ranges beside the first. With more of them an ACK would cost more than the packets that it saves,
/// and all work for one is bounded. Spec: `r[ack.ranges]`.
const FURTHER_RANGES_MAX: usize = 31;

/// What delays are counted in. Spec: `r[ack.delay]`.
const DELAY_UNIT_MICROS: u64 = 8;

/// An ACK. Spec: `r[ack.layout]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack<'a> {
    /// How long the receiver had had the largest number when it sent this.
    pub(crate) delay: Duration,
    /// The low 32 bits of the largest number that has arrived.
    pub(crate) largest: u32,
    /// The low 32 bits of the number of the first lane frame that may not be sent yet.
    pub(crate) window: u32,
    /// How many packets have come with the mark for congestion, if the receiver can see it.
    pub(crate) ce: Option<u32>,
    /// How many numbers below `largest` are in its range.
    first: u16,
    /// Pairs of a gap and a length, 4 bytes each.
    further: &'a [u8],
}

impl<'a> Ack<'a> {
    pub(super) fn decode(frames: &mut Frames<'a>, ecn: bool) -> Result<Self, Malformed> {
        // r[impl ack.layout] r[impl ack.ranges]
        let [count, d0, d1] = frames.take()?;
        if usize::from(count) > FURTHER_RANGES_MAX {
            return Err(Malformed::BadValue);
        }
        Ok(Self {
            delay: delay_of(u16::from_le_bytes([d0, d1])),
            largest: frames.u32()?,
            window: frames.u32()?,
            first: u16::from_le_bytes(frames.take()?),
            further: frames.slice(usize::from(count).saturating_mul(RANGE_BYTES))?,
            ce: if ecn { Some(frames.u32()?) } else { None },
        })
    }

    /// The same in few bytes, if it has a single range and says nothing of congestion.
    pub(crate) fn plain(&self) -> Option<PlainAck> {
        let is_plain = self.further.is_empty() && self.ce.is_none();
        is_plain.then_some(PlainAck {
            delay: units_of(self.delay),
            first: self.first,
            largest: self.largest,
            window: self.window,
        })
    }

    /// The ranges, highest first, once the caller knows all 64 bits of the largest number.
    pub(crate) fn ranges(&self, largest: u64) -> Result<AckRanges<'a>, Malformed> {
        // r[impl ack.ranges]
        let below = self.further().fold(u64::from(self.first), |sum, (gap, len)| {
            sum.saturating_add(gap).saturating_add(len)
        });
        if below > largest {
            return Err(Malformed::BadValue);
        }
        let low = largest.saturating_sub(u64::from(self.first));
        Ok(AckRanges { next: Some((low, largest)), further: self.further })
    }

    /// How far below the range before it each further range begins, and how many numbers below
    /// that one are in it.
    fn further(&self) -> impl Iterator<Item = (u64, u64)> {
        AckRanges { next: None, further: self.further }.steps()
    }
}

/// An ACK with a single range, without ECN.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlainAck {
    delay: u16,
    first: u16,
    largest: u32,
    window: u32,
}

impl From<PlainAck> for Ack<'_> {
    fn from(plain: PlainAck) -> Self {
        let PlainAck { delay, first, largest, window } = plain;
        Self { delay: delay_of(delay), first, largest, window, ce: None, further: &[] }
    }
}

/// A delay as an ACK says it: a longer one is the longest.
fn units_of(delay: Duration) -> u16 {
    const UNIT: u128 = DELAY_UNIT_MICROS as u128;
    u16::try_from(delay.as_micros() / UNIT).unwrap_or(u16::MAX)
}

fn delay_of(units: u16) -> Duration {
    Duration::from_micros(u64::from(units).saturating_mul(DELAY_UNIT_MICROS))
}

/// Ranges of packet numbers, both ends included, as (lowest, highest); the highest range first.
#[derive(Debug, Clone)]
pub(crate) struct AckRanges<'a> {
    next: Option<(u64, u64)>,
    further: &'a [u8],
}

impl AckRanges<'_> {
    fn step(&mut self) -> Option<(u64, u64)> {
        let (&[g0, g1, l0, l1], rest) = self.further.split_first_chunk()?;
        self.further = rest;
        // A gap of 0 stands for one missing number, and the highest number of the range lies below
        // that.
        let gap = u64::from(u16::from_le_bytes([g0, g1])).saturating_add(2);
        Some((gap, u64::from(u16::from_le_bytes([l0, l1]))))
    }

    fn steps(mut self) -> impl Iterator<Item = (u64, u64)> {
        std::iter::from_fn(move || self.step())
    }
}

impl Iterator for AckRanges<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let current = self.next.take()?;
        // `Ack::ranges` has checked that none of them goes below 0.
        self.next = self.step().and_then(|(gap, len)| {
            let high = current.0.checked_sub(gap)?;
            Some((high.checked_sub(len)?, high))
        });
        Some(current)
    }
}

/// What an ACK says beside its ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AckHead {
    pub(crate) delay: Duration,
    /// The number of the first lane frame that the peer may not send yet.
    pub(crate) window: u64,
    /// How many packets have come with the mark for congestion, if this side can see it.
    pub(crate) ce: Option<u64>,
}

/// Writes an ACK for as many ranges as fit `room` bytes; tells whether there was room for any.
///
/// Ranges are (lowest, highest), both included, the highest range first, with a gap between any two.
/// What is not said of old packets does no harm: they were said before, or are sent again.
pub(crate) fn encode_ack(
    out: &mut Vec<u8>,
    head: AckHead,
    ranges: impl IntoIterator<Item = (u64, u64)>,
    room: usize,
) -> bool {
    // r[impl ack.layout] r[impl ack.delay]
    let fixed = if head.ce.is_some() { ACK_BYTES + CE_BYTES } else { ACK_BYTES };
    let Some(spare) = room.checked_sub(fixed) else { return false };
    let mut ranges = ranges.into_iter();
    let Some((low, high)) = ranges.next() else { return false };
    let first = length(low, high);
    let count_at = out.len().saturating_add(1);
    out.extend_from_slice(&[if head.ce.is_some() { kind::ACK_ECN } else { kind::ACK }, 0]);
    out.extend_from_slice(&units_of(head.delay).to_le_bytes());
    out.extend_from_slice(&low32(high).to_le_bytes());
    out.extend_from_slice(&low32(head.window).to_le_bytes());
    out.extend_from_slice(&first.to_le_bytes());
    let mut lowest = high.saturating_sub(first.into());
    let mut count = 0_u8;
    for (low, high) in ranges.take((spare / RANGE_BYTES).min(FURTHER_RANGES_MAX)) {
        let gap = lowest.checked_sub(high).and_then(|distance| distance.checked_sub(2));
        // A gap too wide for its field: all below it is long known.
        let Some(Ok(gap)) = gap.map(u16::try_from) else { break };
        let len = length(low, high);
        out.extend_from_slice(&gap.to_le_bytes());
        out.extend_from_slice(&len.to_le_bytes());
        lowest = high.saturating_sub(len.into());
        count = count.saturating_add(1);
    }
    if let Some(field) = out.get_mut(count_at) {
        *field = count;
    }
    if let Some(ce) = head.ce {
        out.extend_from_slice(&low32(ce).to_le_bytes());
    }
    true
}

/// How many numbers below `high` its range has, as far as the field goes.
fn length(low: u64, high: u64) -> u16 {
    debug_assert!(low <= high);
    u16::try_from(high.saturating_sub(low)).unwrap_or(u16::MAX)
}
