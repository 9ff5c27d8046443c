//! Streams: items on the lanes of calls, in either direction, and the credit that bounds them.
//!
//! A stream belongs to a call, and has no state of its own on the wire but items and credit: it
//! begins with the request or the reply that announces it, and ends with its last item, with its
//! call, or with the connection. `reader` and `writer` are the two halves; `receiving` and `sending`
//! are what happens to them.

mod queue;
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
pub(crate) use writer::Need;
use writer::{Place, Writer};

use super::Mux;
use crate::{
    counters::count,
    error::{Delivery, ErrorKind, Ran},
    frame::CallId,
    planted::planted,
};

/// What an item costs beside its bytes, so that nobody can send empty ones without end. Spec:
/// `r[credit.cost]`.
pub(crate) const ITEM_COST: usize = 16;

/// What each stream may send before it is granted more. Spec: `r[credit.initial]`.
// r[impl credit.initial]
pub(crate) const WINDOW_BASE: usize = 64 * 1024;

/// What a stream may have under way at most, if its reader keeps up. Less what waits to be granted
/// again it is 10 Gbit/s for 1.2 ms: a path with a round trip of 1 ms stays full.
pub(super) const WINDOW_MAX: usize = 2 * 1024 * 1024;

/// What is granted again as soon as so much is used up, however large the window is.
const GRANT_BYTES: usize = 512 * 1024;

/// Staged items are taken while fewer bytes than this wait to be sent: what is queued behind them
/// waits for them.
const STAGE_BYTES: usize = 64 * 1024;

/// How many writers are woken at a time when there is room again. Each that finds some wakes another
/// one: a thousand that all want a share of 64 KiB would mostly wake in vain.
pub(super) const WAKE_MAX: usize = 32;

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct Streams {
    /// Boxed, so that few streams take little, and maps have one code.
    readers: BTreeMap<CallId, Box<Reader>>,
    writers: BTreeMap<CallId, Box<Writer>>,
    /// Readers that have outlived their calls: what has come is still theirs.
    outlived: BTreeMap<CallId, Box<Reader>>,
    /// Writers that wait for what all streams share, first come, first served, and how much of it
    /// each needs.
    queue: BTreeMap<u64, (CallId, usize)>,
    /// The number of the next one in the queue.
    next_place: u64,
    /// Streams of items that this side has begun among its arguments, and how often the peer has
    /// stopped one.
    begun: u64,
    stopped: u64,
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
    /// size that both sides accept.
    Bytes { cost: usize, item: usize },
    /// The item is above this limit, which is the peer's or this side's.
    TooLarge { limit: usize, whose: &'static str },
    /// Nobody wants any more.
    Gone,
}

impl Streams {
    pub(super) fn new(growth: usize) -> Self {
        Self {
            readers: BTreeMap::new(),
            writers: BTreeMap::new(),
            outlived: BTreeMap::new(),
            queue: BTreeMap::new(),
            next_place: 0,
            begun: 0,
            stopped: 0,
            due: BTreeSet::new(),
            growth,
            partial_bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.readers.is_empty() && self.writers.is_empty()
    }

    /// Streams of which anything is left.
    #[cfg(any(fuzzing, test, feature = "testing"))]
    pub(super) fn open(&self) -> usize {
        [self.readers.len(), self.writers.len(), self.outlived.len()].iter().sum()
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Changes the reader of a call that goes on, if there is one, and keeps the books.
    fn change<R>(&mut self, id: CallId, change: impl FnOnce(&mut Reader) -> R) -> Option<R> {
        let reader = self.readers.get_mut(&id)?;
        self.partial_bytes = self.partial_bytes.saturating_sub(reader.partial_bytes());
        let result = change(reader);
        self.partial_bytes = self.partial_bytes.saturating_add(reader.partial_bytes());
        if reader.is_due() {
            self.due.insert(id);
        }
        Some(result)
    }

    /// There will be no more items.
    fn finish(&mut self, id: CallId, end: StreamEnd, wakers: &mut Vec<Waker>) {
        wakers.extend(self.change(id, |reader| reader.finish(end)).flatten());
        if self.readers.get(&id).is_some_and(|reader| reader.is_abandoned()) {
            self.readers.remove(&id);
        }
    }

    /// The reply to a call is a stream too: from now on its items are what is waited for.
    pub(super) fn relax(&mut self, id: CallId) {
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.patience = None;
        }
    }

    /// Whether items of this call may still come.
    pub(super) fn reads(&self, id: CallId) -> bool {
        self.readers.get(&id).is_some_and(|reader| !reader.has_ended())
    }

    /// Items are going to come that nobody reads.
    pub(super) fn open_abandoned(&mut self, id: CallId) {
        self.readers.insert(id, Box::new(Reader::abandoned()));
    }

    pub(super) fn open_reader(&mut self, id: CallId, patience: Option<Duration>) {
        self.readers.insert(id, Box::new(Reader::new(patience)));
    }

    /// A call of this side's was opened. The peer may stop each stream among the arguments once.
    pub(super) fn note_begun(&mut self, stream: bool) {
        count(&mut self.begun, stream);
    }

    pub(super) fn open_writer(&mut self, id: CallId, patience: Option<Duration>, is_busy: bool) {
        self.writers.insert(id, Box::new(Writer::new(patience, is_busy)));
    }

    /// The last frame of a large message or item was drawn; of the latter's credit so much is left.
    pub(super) fn drawn_to_the_end(&mut self, id: CallId, credit: usize, wakers: &mut Vec<Waker>) {
        if let Some(writer) = self.writers.get_mut(&id) {
            writer.is_busy = false;
            writer.credit = writer.credit.saturating_add(credit);
            wakers.extend(writer.wake());
        }
    }

    /// Takes the next item of a call's stream, whether the call goes on or not.
    fn take_item(&mut self, id: CallId) -> Option<Vec<u8>> {
        let Some(reader) = self.outlived.get_mut(&id) else {
            return self.change(id, Reader::take).flatten();
        };
        self.partial_bytes = self.partial_bytes.saturating_sub(reader.partial_bytes());
        let item = reader.take();
        self.partial_bytes = self.partial_bytes.saturating_add(reader.partial_bytes());
        item
    }

    fn all_readers(&self) -> impl Iterator<Item = &Reader> {
        self.readers.values().chain(self.outlived.values()).map(AsRef::as_ref)
    }

    fn any_reader(&mut self, id: CallId) -> Option<&mut Reader> {
        self.readers.get_mut(&id).or_else(|| self.outlived.get_mut(&id)).map(AsMut::as_mut)
    }

    /// A call is over, and its reader may not be: it keeps what has come.
    fn outlive(&mut self, id: CallId, end: StreamEnd, wakers: &mut Vec<Waker>) {
        self.finish(id, end, wakers);
        self.due.remove(&id);
        if let Some(reader) = self.readers.remove(&id) {
            self.outlived.insert(id, reader);
        }
    }

    /// Forgets a reader that has outlived its call. `false` if there is none.
    fn forget_outlived(&mut self, id: CallId, discarded: &mut Vec<Waker>) -> bool {
        let Some(mut reader) = self.outlived.remove(&id) else { return false };
        self.partial_bytes = self.partial_bytes.saturating_sub(reader.partial_bytes());
        self.growth = self.growth.saturating_add(reader.grown());
        discarded.extend(reader.wake());
        true
    }

    /// Nobody reads a stream any more. Returns whether its items may still come, up to an end.
    fn abandon_reader(&mut self, id: CallId, discarded: &mut Vec<Waker>) -> bool {
        let Some(reader) = self.readers.get_mut(&id) else { return false };
        if !reader.is_abandoned() {
            self.partial_bytes = self.partial_bytes.saturating_sub(reader.partial_bytes());
            if !planted("window-not-given-back") {
                self.growth = self.growth.saturating_add(reader.grown());
            }
            self.due.remove(&id);
            discarded.extend(reader.abandon());
        }
        let comes = !reader.has_ended();
        if !comes {
            self.readers.remove(&id);
        }
        comes
    }

    /// Puts a writer into the queue, at the place that it has or at the end.
    fn enqueue(&mut self, id: CallId, cost: usize) {
        let Some(writer) = self.writers.get_mut(&id) else { return };
        let place = match writer.place {
            Place::Waiting(place) | Place::Called(place) => place,
            Place::None => {
                self.next_place = self.next_place.saturating_add(1);
                self.next_place
            }
        };
        writer.place = Place::Waiting(place);
        self.queue.insert(place, (id, cost));
    }

    /// Takes a writer out of the queue. Returns whether it may be another's turn: it had been called, or
    /// was the first, and waited for more room than the next one needs.
    fn dequeue(&mut self, id: CallId) -> bool {
        let Some(writer) = self.writers.get_mut(&id) else { return false };
        match writer.leave() {
            Place::None => false,
            Place::Waiting(place) => {
                self.queue.remove(&place);
                self.queue.first_key_value().is_some_and(|(next, _)| place < *next)
            }
            Place::Called(_) => true,
        }
    }

    /// The peer's limits are known, or nothing matters any more.
    pub(super) fn wake_all(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.writers.values_mut().filter_map(|writer| writer.wake()));
    }

    /// Wakes the writer whose turn it is.
    fn call_next(&mut self, wakers: &mut Vec<Waker>) {
        let Some((place, (id, _))) = self.queue.pop_first() else { return };
        if let Some(writer) = self.writers.get_mut(&id) {
            writer.place = Place::Called(place);
            wakers.extend(writer.wake());
        }
    }
}

// What the ends of calls and of the connection mean for streams.
impl Mux {
    /// A call of the peer's has its terminal frame: its streams are over.
    pub(super) fn end_request_streams(&mut self, id: CallId) {
        if self.streams.is_empty() {
            return;
        }
        let end = StreamEnd::Failed {
            kind: ErrorKind::Cancelled,
            delivery: Delivery::Unknown,
            detail: "its call has ended".into(),
        };
        self.streams.outlive(id, end, &mut self.output.wakers);
        if self.close_writer(id) {
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
        self.streams.readers.retain(|_, reader| !reader.is_abandoned());
        for reader in self.streams.readers.values_mut() {
            self.output.wakers.extend(reader.finish(StreamEnd::Lost));
        }
        self.streams.partial_bytes = self.streams.all_readers().map(Reader::partial_bytes).sum();
        self.streams.wake_all(&mut self.output.wakers);
        self.streams.writers.clear();
        self.streams.queue.clear();
    }
}

#[cfg(any(fuzzing, test))]
impl Streams {
    pub(super) fn credit_of(&self, id: CallId) -> usize {
        self.writers.get(&id).map_or(0, |writer| writer.credit)
    }

    /// What each reader allows the peer to send.
    pub(super) fn allowed(&self) -> impl Iterator<Item = (CallId, usize)> {
        self.readers.iter().filter_map(|(id, reader)| Some((*id, reader.allowed()?)))
    }

    pub(super) fn is_reader_ready(&mut self, id: CallId) -> bool {
        self.any_reader(id).is_none_or(|reader| reader.is_ready())
    }

    pub(super) fn has_writer(&self, id: CallId) -> bool {
        self.writers.contains_key(&id)
    }

    /// Every stream of which anything is left, and what that is.
    pub(super) fn open_streams(&self) -> Vec<(CallId, &'static str)> {
        let readers = self.readers.keys().map(|id| (*id, "reader"));
        let writers = self.writers.keys().map(|id| (*id, "writer"));
        let outlived = self.outlived.keys().map(|id| (*id, "outlived"));
        readers.chain(writers).chain(outlived).collect()
    }

    pub(super) fn waiting_writers(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn memory_of(&self, id: CallId) -> usize {
        self.readers.get(&id).map_or(0, |reader| reader.memory())
    }

    pub(super) fn growth(&self) -> usize {
        self.growth
    }

    pub(super) fn check_invariants(&self) {
        self.all_readers().for_each(Reader::check_invariants);
        let partial_bytes: usize = self.all_readers().map(Reader::partial_bytes).sum();
        assert_eq!(self.partial_bytes, partial_bytes);
        let places = self.writers.iter().map(|(id, writer)| (writer.place, *id));
        let waiting = places.filter_map(|(place, id)| match place {
            Place::Waiting(place) => Some((place, id)),
            Place::None | Place::Called(_) => None,
        });
        let waiting: BTreeMap<_, _> = waiting.collect();
        let queue: BTreeMap<_, _> = self.queue.iter().map(|(at, (id, _))| (*at, *id)).collect();
        assert_eq!(queue, waiting);
    }
}
