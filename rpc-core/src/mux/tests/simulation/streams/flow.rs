//! One stream of the simulation: what is to be sent, what was, and what its reader may get.

use super::*;
use crate::mux::{ITEM_COST, StreamEnd};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    NotYet,
    Open,
    Ended,
    Broken,
    /// Nobody wanted any more.
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    NotYet,
    Open,
    Dropped,
    Over(StreamEnd),
}

#[derive(Debug)]
pub(super) struct Flow {
    /// What its items are recognized by.
    mark: u64,
    sizes: Vec<usize>,
    /// Whether it breaks off in place of its end.
    pub(super) breaks: bool,
    /// Whether its source pauses now and then, and where it does so next.
    pub(super) pauses: bool,
    dry_at: usize,
    pub(super) sending: Sending,
    pub(super) sender: Arc<Flag>,
    sent: usize,
    staged: Vec<u8>,
    staged_items: usize,
    staged_cost: usize,
    pub(super) reading: Reading,
    pub(super) reader: Arc<Flag>,
    taken: usize,
}

impl Flow {
    pub(super) fn plan(random: &mut Chance, calm: bool) -> Self {
        let sizes = (0..random.below(30)).map(|_| {
            let most = match random.below(12) {
                0 => 300_000,
                1 => 20_000,
                2 => 2,
                _ => 200,
            };
            random.size(most)
        });
        let sizes = sizes.collect();
        Self {
            mark: random.next(),
            sizes,
            breaks: !calm && random.one_in(5),
            pauses: random.one_in(2),
            dry_at: random.size(8),
            sending: Sending::NotYet,
            sender: Flag::set(),
            sent: 0,
            staged: Vec::new(),
            staged_items: 0,
            staged_cost: 0,
            reading: Reading::NotYet,
            reader: Flag::set(),
            taken: 0,
        }
    }

    pub(super) fn begin_sending(&mut self) {
        self.sending = Sending::Open;
    }

    pub(super) fn begin_reading(&mut self) {
        assert_eq!(self.reading, Reading::NotYet);
        self.reading = Reading::Open;
    }

    /// An item that is like no other, unless it is short.
    fn item(&self, at: usize) -> Vec<u8> {
        let mark = self.mark.wrapping_add(at as u64).to_le_bytes();
        let mut item = vec![mark[0]; self.sizes[at]];
        item.iter_mut().zip(mark).for_each(|(byte, mark)| *byte = mark);
        item
    }

    // ---- the sender

    pub(super) fn cost(&self) -> usize {
        self.staged_cost
    }

    /// Whether the source has nothing at present.
    pub(super) fn is_dry(&self) -> bool {
        self.pauses && self.sent >= self.dry_at
    }

    /// What the sender needs next.
    pub(super) fn need(&self) -> Need {
        match self.sizes.get(self.sent) {
            _ if self.staged_items > 0 => Need::Staged(self.staged_cost),
            Some(size) if !self.is_dry() => Need::Item(*size),
            _ => Need::Nothing,
        }
    }

    /// Stages what fits the room.
    pub(super) fn stage(&mut self, random: &mut Chance, id: CallId, room: usize, most: usize) {
        for at in self.sent..self.sizes.len() {
            let size = self.sizes[at];
            let enough = self.staged_items > 0 && random.one_in(8);
            if size > most || self.staged_cost + size + ITEM_COST > room || enough {
                return;
            }
            let item = self.item(at);
            frame::framed(&mut self.staged, id.lane(), false, |out| {
                frame::encode_item_header(out, false);
                out.extend_from_slice(&item);
            });
            self.staged_cost += size + ITEM_COST;
            self.staged_items += 1;
        }
    }

    /// Sends what is staged, or one large item.
    pub(super) fn send(&mut self, mux: &mut Mux, now: Instant, id: CallId) {
        if self.staged_items == 0 {
            mux.send_large_item(now, id, self.item(self.sent).into());
            self.sent += 1;
        } else if mux.send_items(now, id, &self.staged, self.staged_cost) {
            self.sent += self.staged_items;
            self.staged.clear();
            (self.staged_items, self.staged_cost) = (0, 0);
        }
    }

    // ---- the reader

    pub(super) fn take(&mut self, item: &[u8]) {
        assert!(self.taken < self.sent, "an item that was never sent");
        assert!(item == self.item(self.taken), "another item than the one that is next");
        self.taken += 1;
    }

    pub(super) fn end(&mut self, end: StreamEnd) {
        if end == StreamEnd::Finished {
            assert_eq!(self.sending, Sending::Ended, "an end that nobody sent");
            assert_eq!(self.taken, self.sizes.len(), "the end before the last item");
        }
        self.reading = Reading::Over(end);
    }

    /// How it ended for the reader, if there was one.
    pub(super) fn outcome(&self) -> Option<String> {
        Some(match &self.reading {
            Reading::NotYet => return None,
            Reading::Open => panic!("it is still read"),
            Reading::Dropped => "Dropped".into(),
            Reading::Over(StreamEnd::Failed { kind, delivery, .. }) => {
                format!("{kind:?}, {delivery:?}")
            }
            Reading::Over(end) => format!("{end:?}"),
        })
    }
}

impl Entry {
    /// Sources that had paused go on.
    pub(super) fn refill(&mut self) {
        for flow in self.arguments.iter_mut().chain(&mut self.reply) {
            if flow.is_dry() {
                flow.dry_at = flow.sent + 3;
                Arc::clone(&flow.sender).wake();
            }
        }
    }
}
