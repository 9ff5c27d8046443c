//! Streams: items on the lanes of calls, in either direction, and the credit that bounds them.
//!
//! A stream belongs to a call, and has no state of its own on the wire but items and credit: it
//! begins with the request or the reply that announces it, and ends with its last item, with its
//! call, or with the connection. `reader` and `writer` are the two halves; `receiving` and `sending`
//! are what happens to them.

mod reader;
mod receiving;
mod sending;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    task::Waker,
    time::Duration,
};

pub(crate) use reader::StreamEnd;
use reader::{OverCredit, Reader};
use writer::Writer;

use super::Mux;
use crate::{
    error::{ErrorKind, Ran},
    frame::CallId,
};

/// What an item costs beside its bytes, so that nobody can send empty ones without end. Spec:
/// `r[credit.cost]`.
pub(crate) const ITEM_COST: usize = 16;

/// What each stream may send before it is granted more. Spec: `r[credit.initial]`.
// r[impl credit.initial]
pub(crate) const WINDOW_BASE: usize = 64 * 1024;

/// What a stream may have under way at most, if its reader keeps up: 10 Gbit/s for 1.6 ms.
pub(super) const WINDOW_MAX: usize = 2 * 1024 * 1024;

/// Staged items are taken while fewer bytes than this wait to be sent: what is queued behind them
/// waits for them.
const STAGE_BYTES: usize = 64 * 1024;

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct Streams {
    readers: BTreeMap<CallId, Reader>,
    writers: BTreeMap<CallId, Writer>,
    /// Those that are to be granted credit.
    due: BTreeSet<CallId>,
    /// How much all windows together may still grow.
    growth: usize,
    /// Bytes of items that are incomplete, or that no stream's window accounts for.
    pub(super) partial_bytes: usize,
}

/// What there is for a reader.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextItem {
    Item(Vec<u8>),
    End(StreamEnd),
}

/// What a writer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Send items that cost so much at most, each of at most so many bytes; or a single one of any
    /// size.
    Bytes { cost: usize, item: usize },
    /// Nobody wants any more.
    Gone,
}

impl Streams {
    pub(super) fn new(growth: usize) -> Self {
        Self {
            readers: BTreeMap::new(),
            writers: BTreeMap::new(),
            due: BTreeSet::new(),
            growth,
            partial_bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.readers.is_empty() && self.writers.is_empty()
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Changes a reader, if there is one, and keeps the books.
    fn change<R>(&mut self, id: CallId, change: impl FnOnce(&mut Reader) -> R) -> Option<R> {
        let reader = self.readers.get_mut(&id)?;
        self.partial_bytes -= reader.partial_bytes();
        let result = change(reader);
        self.partial_bytes += reader.partial_bytes();
        if reader.is_due() {
            self.due.insert(id);
        }
        Some(result)
    }

    /// There will be no more items.
    fn finish(&mut self, id: CallId, end: StreamEnd, wakers: &mut Vec<Waker>) {
        wakers.extend(self.change(id, |reader| reader.finish(end)).flatten());
        if self.readers.get(&id).is_some_and(Reader::is_abandoned) {
            self.readers.remove(&id);
        }
    }

    /// The reply to a call is a stream too: from now on its items are what is waited for.
    pub(super) fn relax(&mut self, id: CallId) {
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.patience = None;
        }
    }

    /// Items are going to come that nobody reads.
    pub(super) fn open_abandoned(&mut self, id: CallId) {
        self.readers.insert(id, Reader::abandoned());
    }

    pub(super) fn open_reader(&mut self, id: CallId, patience: Option<Duration>) {
        self.readers.insert(id, Reader::new(patience));
    }

    pub(super) fn open_writer(&mut self, id: CallId, patience: Option<Duration>, is_busy: bool) {
        self.writers.insert(id, Writer::new(patience, is_busy));
    }

    /// The last frame of a large message or item was drawn; of the latter's credit so much is left.
    pub(super) fn drawn_to_the_end(&mut self, id: CallId, credit: usize) {
        if let Some(writer) = self.writers.get_mut(&id) {
            writer.is_busy = false;
            writer.credit += credit;
        }
    }

    /// Forgets the reader of a call that is over.
    fn close_reader(&mut self, id: CallId, discarded: &mut Vec<Waker>) {
        self.abandon_reader(id, discarded);
        self.readers.remove(&id);
    }

    /// Nobody reads a stream any more. Returns whether its items may still come, up to an end.
    fn abandon_reader(&mut self, id: CallId, discarded: &mut Vec<Waker>) -> bool {
        let Some(reader) = self.readers.get_mut(&id) else { return false };
        if !reader.is_abandoned() {
            self.partial_bytes -= reader.partial_bytes();
            self.growth += reader.grown();
            self.due.remove(&id);
            discarded.extend(reader.abandon());
        }
        let comes = !reader.has_ended();
        if !comes {
            self.readers.remove(&id);
        }
        comes
    }

    /// Forgets the writer of a call, and wakes whoever waits to send.
    fn close_writer(&mut self, id: CallId, wakers: &mut Vec<Waker>) -> bool {
        let Some(mut writer) = self.writers.remove(&id) else { return false };
        wakers.extend(writer.wake());
        true
    }
}

// What the ends of calls and of the connection mean for streams.
impl Mux {
    /// A call of the peer's has its terminal frame: its streams are over.
    pub(super) fn end_request_streams(&mut self, id: CallId) {
        if self.streams.is_empty() {
            return;
        }
        self.streams.close_reader(id, &mut self.output.discarded);
        if self.streams.close_writer(id, &mut self.output.wakers) {
            self.outbox.drop_bulk_of(id);
        }
    }

    /// A call of this side's failed after its stream had begun.
    pub(super) fn fail_call_stream(&mut self, id: CallId, kind: ErrorKind, ran: Ran, text: &str) {
        let end = StreamEnd::Failed { kind, delivery: ran.delivery(), detail: text.to_owned() };
        self.streams.finish(id, end, &mut self.output.wakers);
    }

    /// The connection is over, and with it every stream.
    pub(super) fn lose_streams(&mut self) {
        self.streams.due.clear();
        for reader in self.streams.readers.values_mut() {
            self.output.wakers.extend(reader.finish(StreamEnd::Lost));
        }
        self.streams.partial_bytes = self.streams.readers.values().map(Reader::partial_bytes).sum();
        for writer in self.streams.writers.values_mut() {
            self.output.wakers.extend(writer.wake());
        }
        self.streams.writers.clear();
    }
}

#[cfg(test)]
impl Streams {
    pub(super) fn credit_of(&self, id: CallId) -> usize {
        self.writers.get(&id).map_or(0, |writer| writer.credit)
    }

    pub(super) fn growth(&self) -> usize {
        self.growth
    }

    pub(super) fn check_invariants(&self) {
        self.readers.values().for_each(Reader::check_invariants);
        let partial_bytes: usize = self.readers.values().map(Reader::partial_bytes).sum();
        assert_eq!(self.partial_bytes, partial_bytes);
    }
}
