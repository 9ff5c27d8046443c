//! A thousand streams in both directions over a pipe of 16 bytes: each item is echoed, and everybody
//! gets to the end, although tasks run only when they were woken.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Mutex,
    task::Poll,
};

use bytes::Buf;

use super::{Chance, number, *};
use crate::{
    mux::{ITEM_COST, Need, NextItem, Room, StreamEnd},
    testing::checkout,
};

const STREAMS: usize = 1000;
const PIPE_BYTES: usize = 16;

#[test]
fn a_thousand_streams_get_through_a_pipe_of_16_bytes() {
    // Each takes a hundred times as long as one of the others.
    let seeds = number("RPC_SEEDS").map_or(1, |seeds| seeds.div_ceil(100));
    let seeds = number("RPC_SEED").map_or(0..seeds, |seed| seed..seed + 1);
    for seed in seeds {
        let test = "simulation::pipe";
        let commit = checkout();
        eprintln!("to see it again: RPC_SEED={seed} cargo test -p rpc-core --lib {test}{commit}");
        Echo::new(seed).run();
    }
}

/// Tasks that were woken, in their order.
type Woken = Arc<Mutex<(VecDeque<Task>, BTreeSet<Task>)>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Send(usize),
    Receive(usize),
    Serve(usize),
}

struct Wakes(Task, Woken);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        let mut woken = self.1.lock().unwrap();
        if woken.1.insert(self.0) {
            woken.0.push_back(self.0);
        }
    }
}

/// One stream of each direction.
struct Both {
    id: CallId,
    items: Vec<Vec<u8>>,
    sent: usize,
    /// What the server has taken and not sent back.
    in_hand: Option<Vec<u8>>,
    is_accepted: bool,
    echoed: usize,
}

struct Echo {
    random: Chance,
    sides: [Side; 2],
    /// What has left each side and is no whole frame yet.
    heard: [Vec<u8>; 2],
    streams: Vec<Both>,
    woken: Woken,
    over: BTreeSet<Task>,
    now: Instant,
}

impl Echo {
    fn new(seed: u64) -> Self {
        let Pair { a, b, now } = Pair::new();
        let random = Chance::seed(seed);
        let mut echo = Self {
            random,
            sides: [a, b],
            heard: Default::default(),
            streams: Vec::new(),
            woken: Woken::default(),
            over: BTreeSet::new(),
            now,
        };
        (0..STREAMS).for_each(|number| echo.open(number));
        echo
    }

    fn open(&mut self, number: usize) {
        let items = (0..self.random.below(5)).map(|at| {
            let most = if self.random.one_in(200) { 20_000 } else { 40 };
            let size = self.random.size(most);
            let mut item = vec![at.to_le_bytes()[0]; size];
            item.extend(number.to_le_bytes());
            item
        });
        let items = items.collect();
        let want = Want { body: number.to_le_bytes().to_vec(), stream: true, ..Want::default() };
        let id = self.sides[0].call_with(&want);
        self.sides[0].mux.set_waker(id, self.waker(Task::Receive(number)));
        let both = Both { id, items, sent: 0, in_hand: None, is_accepted: false, echoed: 0 };
        self.streams.push(both);
        self.waker(Task::Send(number)).wake();
    }

    fn waker(&self, task: Task) -> Waker {
        Arc::new(Wakes(task, Arc::clone(&self.woken))).into()
    }

    fn run(mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for from in 0..2 {
                moved |= self.carry(from);
            }
            for _ in 0..1 + self.random.size(4) {
                let next = self.woken.lock().unwrap().0.pop_front();
                let Some(task) = next else { break };
                self.woken.lock().unwrap().1.remove(&task);
                moved = true;
                self.run_task(task);
            }
        }
        assert_eq!(3 * STREAMS - self.over.len(), 0, "tasks wait for ever");
        for side in &mut self.sides {
            assert!(side.at_rest() && !side.mux.has_frames());
            assert_eq!(side.mux.strays, 0);
        }
        let [a, b] = &self.sides;
        assert_eq!(a.mux.outbox.bulk_credit(), b.mux.bulk_in.window_of_peer());
        assert_eq!(b.mux.outbox.bulk_credit(), a.mux.bulk_in.window_of_peer());
    }

    /// The pipe takes what it has room for, and the other side hears it.
    fn carry(&mut self, from: usize) -> bool {
        let side = &mut self.sides[from];
        if side.batch.is_empty() {
            if !side.mux.has_frames() {
                return false;
            }
            side.mux.draw(&mut side.batch);
            side.settle();
        }
        let mut room = 1 + self.random.size(PIPE_BYTES);
        while room > 0 && side.batch.has_remaining() {
            let piece = side.batch.chunk();
            let taken = piece.len().min(room);
            self.heard[from].extend_from_slice(&piece[..taken]);
            side.batch.advance(taken);
            room -= taken;
        }
        let heard = &self.heard[from];
        let Some((length, end, lane)) = frame::decode_prefix(heard) else { return true };
        if heard.len() < PREFIX_BYTES + length {
            return true;
        }
        let mut payload = Bytes::from(std::mem::take(&mut self.heard[from]));
        payload.advance(PREFIX_BYTES);
        self.heard[from] = payload.split_off(length).to_vec();
        self.sides[1 - from].take(&OutFrame { lane, end, payload });
        self.start_handlers();
        true
    }

    fn start_handlers(&mut self) {
        for accepted in std::mem::take(&mut self.sides[1].accepted) {
            let number = usize::from_le_bytes(accepted.body.as_slice().try_into().unwrap());
            self.sides[1].accept_with_stream(accepted.id);
            self.waker(Task::Serve(number)).wake();
        }
    }

    fn run_task(&mut self, task: Task) {
        match task {
            // Woken at its end, as a task would be.
            _ if self.over.contains(&task) => {}
            Task::Send(number) => _ = self.send(number, task),
            Task::Receive(number) => _ = self.receive(number, task),
            Task::Serve(number) => _ = self.serve(number, task),
        }
    }

    /// Sends one item, or the end.
    fn poll_send(&mut self, at: usize, id: CallId, item: Option<&[u8]>, task: Task) -> Poll<()> {
        let need = item.map_or(Need::Nothing, |item| Need::Item(item.len()));
        let waker = self.waker(task);
        let side = &mut self.sides[at];
        let room = match side.mux.poll_room(id, need, &waker) {
            Poll::Ready(Room::Bytes { cost, item }) => (cost, item),
            Poll::Ready(other) => panic!("{other:?}"),
            Poll::Pending => return Poll::Pending,
        };
        match item {
            None => side.mux.end_writer(id),
            Some(item) if item.len() > room.1 || item.len() + ITEM_COST > room.0 => {
                side.mux.send_large_item(self.now, id, Bytes::copy_from_slice(item));
            }
            Some(item) => {
                let mut staged = Vec::new();
                frame::framed(&mut staged, id.lane(), false, |out| {
                    frame::encode_item_header(out, false);
                    out.extend_from_slice(item);
                });
                assert!(side.mux.send_items(self.now, id, &staged, item.len() + ITEM_COST));
            }
        }
        side.settle();
        Poll::Ready(())
    }

    fn poll_next(&mut self, at: usize, id: CallId, task: Task) -> Poll<NextItem> {
        let next = self.sides[at].mux.poll_item(id);
        if next.is_pending() {
            let waker = self.waker(task);
            self.sides[at].mux.set_item_waker(id, waker);
        }
        next
    }

    fn send(&mut self, number: usize, task: Task) -> Poll<()> {
        loop {
            let both = &self.streams[number];
            let item = both.items.get(both.sent).cloned();
            if self.poll_send(0, both.id, item.as_deref(), task).is_pending() {
                return Poll::Pending;
            }
            self.streams[number].sent += 1;
            if item.is_none() {
                self.over.insert(task);
                return Poll::Ready(());
            }
        }
    }

    fn serve(&mut self, number: usize, task: Task) -> Poll<()> {
        let id = self.streams[number].id;
        loop {
            if let Some(item) = self.streams[number].in_hand.take()
                && self.poll_send(1, id, Some(&item), task).is_pending()
            {
                self.streams[number].in_hand = Some(item);
                return Poll::Pending;
            }
            match self.poll_next(1, id, task) {
                Poll::Ready(NextItem::Item(item)) => self.streams[number].in_hand = Some(item),
                Poll::Ready(NextItem::End(end)) => {
                    assert_eq!(end, StreamEnd::Finished);
                    if self.poll_send(1, id, None, task).is_ready() {
                        self.sides[1].drop_reader(id);
                        self.over.insert(task);
                    }
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn receive(&mut self, number: usize, task: Task) -> Poll<()> {
        let id = self.streams[number].id;
        if !self.streams[number].is_accepted {
            assert_eq!(self.sides[0].end_of(id), Some(End::Stream));
            self.streams[number].is_accepted = true;
        }
        loop {
            let next = self.poll_next(0, id, task);
            let both = &mut self.streams[number];
            match next {
                Poll::Ready(NextItem::Item(item)) => {
                    assert!(item == both.items[both.echoed], "item {} of {number}", both.echoed);
                    both.echoed += 1;
                }
                Poll::Ready(NextItem::End(end)) => {
                    assert_eq!((end, both.echoed), (StreamEnd::Finished, both.items.len()));
                    self.over.insert(task);
                    self.sides[0].drop_reader(id);
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
