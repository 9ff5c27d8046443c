//! One direction between the two: what is being sent, what is under way, and what that costs.

use std::collections::{BTreeSet, VecDeque};

use super::*;
use crate::mux::input::bulk_cost;

/// A frame, and what its sender has paid for it.
#[derive(Debug)]
pub(super) struct Paid {
    frame: OutFrame,
    /// Where it ends in what is sent.
    end: u64,
    /// Of its stream's credit, and of the connection's.
    item: usize,
    bulk: usize,
}

#[derive(Debug, Default)]
pub(super) struct Link {
    /// Drawn, and not yet taken.
    pub(super) batch: VecDeque<Paid>,
    lanes: BTreeMap<Lane, VecDeque<Paid>>,
    hello_passed: bool,
    pub(super) finished: bool,
    /// How far the transport has taken what was drawn.
    pub(super) left: u64,
    /// Lanes on which an item is what goes on.
    items: BTreeSet<Lane>,
    /// Lanes that have begun, and those that have ended.
    begun: BTreeSet<Lane>,
    ended: BTreeSet<Lane>,
}

impl Link {
    /// What was drawn.
    pub(super) fn load(&mut self, batch: &mut Batch, limit: usize) {
        while let Some(frame) = batch.next_frame() {
            assert!(frame.payload.len() <= limit, "a frame over {limit}");
            assert!(!self.ended.contains(&frame.lane), "a frame after the last of its lane");
            self.begun.insert(frame.lane);
            if frame.end {
                self.ended.insert(frame.lane);
            }
            let decoded = decode(&frame);
            match decoded {
                Frame::Item { .. } => _ = self.items.insert(frame.lane),
                Frame::Data { .. } => {}
                _ => _ = self.items.remove(&frame.lane),
            }
            let bulk = bulk_cost(&decoded, decoded.body().len());
            let item = if self.items.contains(&frame.lane) { bulk } else { 0 };
            self.batch.push_back(Paid { end: batch.position(), item, bulk, frame });
        }
    }

    /// The transport takes one frame. Returns how far it has come.
    pub(super) fn take(&mut self, dead: bool) -> Option<u64> {
        let paid = self.batch.pop_front()?;
        self.left = paid.end;
        if !dead {
            self.lanes.entry(paid.frame.lane).or_default().push_back(paid);
        }
        Some(self.left)
    }

    /// The next frame of any lane.
    pub(super) fn pop(&mut self, random: &mut Chance) -> Option<OutFrame> {
        let lanes: Vec<_> = self.lanes.keys().copied().collect();
        let lane = if self.hello_passed { *random.pick(&lanes)? } else { Lane::CONTROL };
        let frames = self.lanes.get_mut(&lane)?;
        let paid = frames.pop_front()?;
        if frames.is_empty() {
            self.lanes.remove(&lane);
        }
        self.hello_passed = true;
        Some(paid.frame)
    }

    pub(super) fn cut(&mut self) {
        self.lanes.clear();
    }

    pub(super) fn is_over(&self) -> bool {
        self.finished && self.lanes.is_empty()
    }

    /// Lanes of which the end never came.
    pub(super) fn open_lanes(&self) -> Vec<Lane> {
        let open = self.begun.difference(&self.ended);
        open.copied().filter(|lane| *lane != Lane::CONTROL).collect()
    }

    /// What frames under way, with those in the outbox, have paid and grant, by lane. Lane 0 is the
    /// connection.
    pub(super) fn under_way(&self, mux: &Mux) -> BTreeMap<Lane, (usize, usize)> {
        let mut sums = BTreeMap::<Lane, (usize, usize)>::new();
        let mut count = |frame: &Frame<'_>, lane, item, bulk| {
            sums.entry(lane).or_default().0 += item;
            sums.entry(Lane::CONTROL).or_default().0 += bulk;
            if let Frame::Credit { lane, bytes } = frame {
                sums.entry(*lane).or_default().1 += *bytes as usize;
            }
        };
        for paid in self.batch.iter().chain(self.lanes.values().flatten()) {
            count(&decode(&paid.frame), paid.frame.lane, paid.item, paid.bulk);
        }
        let mut rest = mux.outbox.small_frames();
        while let Some((length, _, lane)) = frame::decode_prefix(rest) {
            let frame = Frame::decode(lane, &rest[PREFIX_BYTES..PREFIX_BYTES + length]).unwrap();
            let bulk = bulk_cost(&frame, frame.body().len());
            let item = if matches!(frame, Frame::Item { .. }) { bulk } else { 0 };
            count(&frame, lane, item, bulk);
            rest = &rest[PREFIX_BYTES + length..];
        }
        sums
    }
}
