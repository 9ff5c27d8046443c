//! Streams in the simulation: every kind of call at once, over a link whose lanes overtake, with
//! tasks that are polled only when they were woken; what each stream is held to is `flow`'s business.
//!
//! `RPC_SEEDS=n` tries so many seeds, `RPC_SEED=x` that one.

mod checks;
mod flow;
mod link;

use std::{collections::BTreeMap, hash::Hasher, sync::atomic::AtomicBool, task::Poll, thread};

use super::{Chance, number, *};
use crate::{
    mux::{Need, NextItem, Room},
    testing::checkout,
};
use flow::{Flow, Reading, Sending};
use link::Link;

#[test]
fn streams_deliver_every_item_in_order_and_leave_nothing() {
    if let Some(seed) = number("RPC_SEED") {
        Simulation::new(seed).run();
        return;
    }
    let mut seen = BTreeMap::new();
    let seeds = number("RPC_SEEDS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        for end in Simulation::new(seed).run() {
            *seen.entry(end).or_insert(0) += 1;
        }
    }
    eprintln!("FIGURE simulated.streams={}", seen.values().sum::<u64>());
    for end in EVERY_END {
        assert!(seeds < SEEDS || seen.contains_key(*end), "no stream ended so: {end}: {seen:#?}");
    }
}

/// The same, with an input for chance.
pub(in super::super) fn streams(chance: Chance) {
    Simulation::with(chance).run();
}

/// What a seed makes of the streams: their ends, and the frames that each side got.
pub(super) fn trace(seed: u64) -> (Vec<String>, [u64; 2]) {
    Simulation::new(seed).traced()
}

/// Takes some seconds in a debug build, and is enough for every way to end.
const SEEDS: u64 = 150;

/// Every way in which a stream can end for its reader.
const EVERY_END: &[&str] = &[
    "Finished",
    "Dropped",
    "Lost",
    "Cancelled, Unknown",
    "MalformedRequest, Unknown",
    "MalformedReply, Replied",
    "Overloaded, Replied",
    "TooLarge, Replied",
];

/// A task's waker: it is polled again only when this is set.
#[derive(Debug)]
struct Flag(AtomicBool);

impl Flag {
    fn set() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the ledger knows of one call.
struct Entry {
    by: usize,
    want: Want,
    stage: Stage,
    caller: Arc<Flag>,
    end: Option<End>,
    arguments: Option<Flow>,
    reply: Option<Flow>,
    handler: Handler,
    ran: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Waiting(Ticket),
    Open(CallId),
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handler {
    None,
    Running,
    /// Its reply is a stream, which has begun.
    Streaming,
    Over,
}

/// The two streams of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Arguments,
    Reply,
}

impl Entry {
    fn flow(&mut self, way: Way) -> Option<&mut Flow> {
        match way {
            Way::Arguments => self.arguments.as_mut(),
            Way::Reply => self.reply.as_mut(),
        }
    }

    /// Which side sends these items.
    fn sender(&self, way: Way) -> usize {
        if way == Way::Arguments { self.by } else { 1 - self.by }
    }
}

/// A task of the simulation.
#[derive(Debug, Clone, Copy)]
enum Task {
    Caller(usize),
    Send(usize, Way),
    Read(usize, Way),
}

struct Simulation {
    /// What it began with, if that wasn't an input.
    seed: Option<u64>,
    random: Chance,
    now: Instant,
    sides: [Side; 2],
    links: [Link; 2],
    ledger: Vec<Entry>,
    /// By the lane of the call.
    ids: BTreeMap<CallId, usize>,
    closing: [bool; 2],
    /// Nobody changes its mind, nothing breaks, and there is room enough.
    calm: bool,
    peaceful: bool,
    dead: bool,
    /// How often anything has happened.
    progress: u64,
}

impl Drop for Simulation {
    fn drop(&mut self) {
        if let Some(seed) = self.seed.filter(|_| thread::panicking()) {
            let test = "simulation::streams";
            let commit = checkout();
            eprintln!(
                "to see it again: RPC_SEED={seed} cargo test -p rpc-core --lib {test}{commit}"
            );
        }
    }
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut simulation = Self::with(Chance::seed(seed));
        simulation.seed = Some(seed);
        simulation
    }

    fn with(mut random: Chance) -> Self {
        let now = Instant::now();
        let calm = random.one_in(3);
        let mut side = |role| {
            let mut limits = Limits {
                calls: 1 + random.below32(40),
                message_bytes: 250_000 + random.below32(200_000),
                held_bytes: 300_000 + random.size(700_000),
                stream_bytes: random.size(500_000),
                frame_bytes: (16 * 1024) << random.below32(3),
                window_bytes: 200_000 + random.below32(300_000),
                ..Limits::default()
            };
            if calm {
                limits.message_bytes = 1_000_000;
                limits.held_bytes = 100_000_000;
            }
            let frame_bytes = 2000 << random.below32(6);
            let keepalive = None;
            let cautious = random.one_in(3);
            let instance = 1;
            Side::of(
                Mux::new(role, Settings { limits, keepalive, frame_bytes, instance, cautious }),
                now,
            )
        };
        let sides = [side(Role::Connector), side(Role::Acceptor)];
        Self {
            seed: None,
            random,
            now,
            sides,
            links: Default::default(),
            ledger: Vec::new(),
            ids: BTreeMap::new(),
            closing: [false; 2],
            calm,
            peaceful: true,
            dead: false,
            progress: 0,
        }
    }

    /// Returns how each stream ended for its reader.
    fn run(self) -> Vec<String> {
        self.traced().0
    }

    /// The same, and what the frames were that each side got.
    fn traced(mut self) -> (Vec<String>, [u64; 2]) {
        for _ in 0..100 + self.random.below(400) {
            self.event();
            self.drive();
            self.check_step();
            if self.closing == [true; 2] || self.random.is_spent() {
                break;
            }
        }
        self.wind_down();
        self.check_rest();
        self.sides.iter_mut().for_each(run_out);
        let flows = self.ledger.iter().flat_map(|e| e.arguments.iter().chain(&e.reply));
        let ends = flows.filter_map(Flow::outcome).collect();
        (ends, self.sides.each_ref().map(|side| side.trace.finish()))
    }

    fn event(&mut self) {
        let side = self.random.size(2);
        match self.random.below(1000) {
            0..100 => self.open(side),
            100..250 => self.send(side),
            250..450 => self.receive(side),
            450..800 => self.run_any(),
            800..850 => self.act_any(),
            850..870 => self.ledger.iter_mut().for_each(Entry::refill),
            _ if self.calm => {}
            870..920 => self.drop_any(),
            920..940 => self.stop_handler(side),
            940..980 => self.pass_time(),
            990 => self.sides[side].mux.go_away(),
            991 if self.random.one_in(3) => self.die(),
            992 if self.random.one_in(3) => {
                self.peaceful = false;
                self.sides[side].mux.close(CloseReason::ShuttingDown, "");
            }
            _ => {}
        }
    }

    // ---- callers

    fn open(&mut self, by: usize) {
        let number = self.ledger.len();
        let mut body = number.to_le_bytes().to_vec();
        let large = self.random.one_in(8);
        body.resize(8 + self.random.size(if large { 100_000 } else { 100 }), 7);
        let [arguments, reply] = [0, 1]
            .map(|_| (!self.random.one_in(3)).then(|| Flow::plan(&mut self.random, self.calm)));
        let timeout = !self.calm && self.random.one_in(4);
        let want = Want {
            body,
            timeout: timeout.then(|| ms(self.random.below(300))),
            stream: arguments.is_some(),
            ..Want::default()
        };
        self.ledger.push(Entry {
            by,
            want,
            stage: Stage::New,
            caller: Flag::set(),
            end: None,
            arguments,
            reply,
            handler: Handler::None,
            ran: 0,
        });
        self.poll_caller(number);
    }

    fn poll_caller(&mut self, number: usize) {
        let entry = &mut self.ledger[number];
        entry.caller.take();
        let side = &mut self.sides[entry.by];
        let ticket = match entry.stage {
            Stage::New => None,
            Stage::Waiting(ticket) => Some(ticket),
            Stage::Open(id) => {
                entry.end = side.end_of(id);
                match &entry.end {
                    Some(End::Stream) => entry.flow(Way::Reply).unwrap().begin_reading(),
                    Some(_) => self.end_sending(number),
                    None => return,
                }
                self.ledger[number].stage = Stage::Over;
                return;
            }
            Stage::Over => return,
        };
        let call = NewCall {
            now: self.now,
            method: METHOD,
            idempotent: false,
            oneway: false,
            timeout: entry.want.timeout,
            deadline: entry.want.timeout.map(|timeout| self.now + timeout),
            metadata: &entry.want.metadata,
            tail: None,
            stream: entry.want.stream,
        };
        let waker = Arc::clone(&entry.caller).into();
        entry.stage = match side.mux.open_call(&call, ticket, &mut entry.want.body.clone(), waker) {
            Opened::Call(id) => {
                self.ids.insert(id, number);
                if let Some(flow) = entry.flow(Way::Arguments) {
                    flow.begin_sending();
                }
                Stage::Open(id)
            }
            Opened::Wait(ticket) => Stage::Waiting(ticket),
            Opened::Gone => {
                entry.end = Some(End::Lost(Delivery::NotSent));
                Stage::Over
            }
            Opened::Refused { kind, .. } => {
                entry.end = Some(End::Failed(kind, Delivery::NotSent));
                Stage::Over
            }
        };
        self.sides[entry.by].settle();
    }

    fn id_of(&self, number: usize) -> CallId {
        *self.ids.iter().find(|(_, n)| **n == number).unwrap().0
    }

    /// The call is over for its caller, and with it the task that sends its arguments.
    fn end_sending(&mut self, number: usize) {
        let id = self.id_of(number);
        let entry = &mut self.ledger[number];
        let by = entry.by;
        if let Some(flow) = entry.flow(Way::Arguments)
            && flow.sending == Sending::Open
        {
            flow.sending = Sending::Gone;
            self.sides[by].mux.fail_arguments(id, ErrorKind::Cancelled, "stopped".into());
            self.sides[by].settle();
        }
    }

    // ---- tasks

    /// Those that aren't over, and that were woken unless `all` are meant.
    fn tasks(&self, all: bool) -> Vec<Task> {
        let mut tasks = Vec::new();
        for (number, entry) in self.ledger.iter().enumerate() {
            if entry.stage != Stage::Over && (all || entry.caller.is_set()) {
                tasks.push(Task::Caller(number));
            }
            for (way, flow) in [(Way::Arguments, &entry.arguments), (Way::Reply, &entry.reply)] {
                let Some(flow) = flow else { continue };
                if flow.sending == Sending::Open && (all || flow.sender.is_set()) {
                    tasks.push(Task::Send(number, way));
                }
                if flow.reading == Reading::Open && (all || flow.reader.is_set()) {
                    tasks.push(Task::Read(number, way));
                }
            }
        }
        tasks
    }

    fn run_any(&mut self) {
        let all = self.random.one_in(8);
        let tasks = self.tasks(all);
        if let Some(task) = self.random.pick(&tasks) {
            self.run_task(*task);
        }
    }

    fn run_task(&mut self, task: Task) {
        self.progress += 1;
        match task {
            Task::Caller(number) => self.poll_caller(number),
            Task::Send(number, way) => self.pump(number, way),
            Task::Read(number, way) => self.read(number, way),
        }
    }

    /// Sends some items, the way a pump does.
    fn pump(&mut self, number: usize, way: Way) {
        let id = self.id_of(number);
        let at = self.ledger[number].sender(way);
        let entry = &mut self.ledger[number];
        // The end of a reply ends the call: calm handlers read all of its arguments before.
        let reads = entry.arguments.as_ref().is_some_and(|flow| flow.reading == Reading::Open);
        let waits = self.calm && way == Way::Reply && reads;
        let flow = entry.flow(way).unwrap();
        flow.sender.take();
        let need = flow.need();
        let waker = Arc::clone(&flow.sender).into();
        let side = &mut self.sides[at];
        let room = side.mux.poll_room(id, need, &waker);
        match (room, need) {
            (Poll::Pending, _) => {}
            (Poll::Ready(Room::Gone), _) => flow.sending = Sending::Gone,
            (Poll::Ready(Room::TooLarge { .. }), _) => {
                assert!(!self.calm);
                self.break_off(number, way, ErrorKind::TooLarge);
            }
            (Poll::Ready(Room::Bytes { .. }), Need::Nothing) if flow.is_dry() || waits => {}
            (Poll::Ready(Room::Bytes { .. }), Need::Nothing) if flow.breaks => {
                let kind = match way {
                    Way::Arguments => ErrorKind::MalformedRequest,
                    Way::Reply => ErrorKind::MalformedReply,
                };
                self.break_off(number, way, kind);
            }
            (Poll::Ready(Room::Bytes { .. }), Need::Nothing) => {
                flow.sending = Sending::Ended;
                side.mux.end_writer(id);
                if way == Way::Reply {
                    self.ledger[number].handler = Handler::Over;
                }
            }
            (Poll::Ready(Room::Bytes { cost, item }), _) => {
                if need != Need::Staged(flow.cost()) {
                    flow.stage(&mut self.random, id, cost, item);
                }
                flow.send(&mut side.mux, self.now, id);
                Arc::clone(&flow.sender).wake();
            }
        }
        self.sides[at].settle();
    }

    fn break_off(&mut self, number: usize, way: Way, kind: ErrorKind) {
        let id = self.id_of(number);
        let entry = &mut self.ledger[number];
        let mux = &mut self.sides[entry.sender(way)].mux;
        entry.flow(way).unwrap().sending = Sending::Broken;
        if way == Way::Arguments {
            mux.fail_arguments(id, kind, "it broke".into());
        } else {
            if mux.finish(id) {
                mux.queue_error(id, kind, Ran::Ended, "it broke");
            }
            entry.handler = Handler::Over;
        }
    }

    /// Takes some items, and looks that they are the right ones.
    fn read(&mut self, number: usize, way: Way) {
        let id = self.id_of(number);
        let at = 1 - self.ledger[number].sender(way);
        for _ in 0..1 + self.random.size(5) {
            let mux = &mut self.sides[at].mux;
            let flow = self.ledger[number].flow(way).unwrap();
            flow.reader.take();
            match mux.poll_item(id) {
                Poll::Ready(NextItem::Item(item)) => flow.take(&item),
                Poll::Ready(NextItem::End(end)) => {
                    assert_eq!(mux.poll_item(id), Poll::Ready(NextItem::End(end.clone())));
                    flow.end(end);
                    return self.drop_reader(number, way);
                }
                Poll::Pending => {
                    mux.set_item_waker(id, Arc::clone(&flow.reader).into());
                    return self.sides[at].settle();
                }
            }
            self.sides[at].settle();
        }
        // It is slow.
        let flow = self.ledger[number].flow(way).unwrap();
        Arc::clone(&flow.reader).wake();
    }

    fn drop_reader(&mut self, number: usize, way: Way) {
        let id = self.id_of(number);
        let at = 1 - self.ledger[number].sender(way);
        let flow = self.ledger[number].flow(way).unwrap();
        if flow.reading == Reading::Open {
            flow.reading = Reading::Dropped;
        }
        self.sides[at].mux.drop_reader(id);
        self.sides[at].settle();
        match way {
            Way::Reply => self.end_sending(number),
            Way::Arguments => {
                if let Some(flow) = &self.ledger[number].reply {
                    Arc::clone(&flow.sender).wake();
                }
            }
        }
    }

    /// Somebody changes its mind: a caller, or a reader on either side.
    fn drop_any(&mut self) {
        let tasks = self.tasks(true);
        match self.random.pick(&tasks).copied() {
            Some(Task::Caller(number)) => {
                let entry = &mut self.ledger[number];
                let side = &mut self.sides[entry.by];
                let stage = std::mem::replace(&mut entry.stage, Stage::Over);
                match stage {
                    Stage::Waiting(ticket) => side.mux.leave_queue(ticket),
                    Stage::Open(id) => side.drop_call(id),
                    Stage::New | Stage::Over => {}
                }
                side.settle();
                if matches!(stage, Stage::Open(_)) {
                    self.end_sending(number);
                }
            }
            Some(Task::Read(number, way)) => self.drop_reader(number, way),
            Some(Task::Send(..)) | None => {}
        }
    }

    // ---- handlers

    fn start_handlers(&mut self, at: usize) {
        for accepted in std::mem::take(&mut self.sides[at].accepted) {
            self.progress += 1;
            let number = self.ids[&accepted.id];
            let entry = &mut self.ledger[number];
            assert_eq!(entry.want.body, accepted.body.as_slice(), "the request of call {number}");
            assert_eq!(accepted.stream, entry.want.stream);
            entry.ran += 1;
            entry.handler = Handler::Running;
            if let Some(flow) = &mut entry.arguments {
                flow.begin_reading();
            }
        }
    }

    fn act_any(&mut self) {
        if !self.ledger.is_empty() {
            let number = self.random.size(self.ledger.len());
            self.act(number, false);
        }
    }

    /// A handler returns: a stream, or a value when it has read what it wants to.
    fn act(&mut self, number: usize, last: bool) {
        let entry = &mut self.ledger[number];
        if entry.handler != Handler::Running {
            return;
        }
        let id = self.id_of(number);
        let at = 1 - self.ledger[number].by;
        let entry = &mut self.ledger[number];
        if let Some(flow) = &mut entry.reply {
            if self.sides[at].mux.begin_stream(id) {
                flow.begin_sending();
                entry.handler = Handler::Streaming;
                self.progress += 1;
            }
            return self.sides[at].settle();
        }
        let reads = entry.arguments.as_ref().is_some_and(|flow| flow.reading == Reading::Open);
        let early = !self.calm && !last && self.random.one_in(4);
        if reads && !early {
            return;
        }
        self.progress += 1;
        entry.handler = Handler::Over;
        // Its stream may be kept by somebody who outlives it.
        if reads && self.random.one_in(2) {
            self.drop_reader(number, Way::Arguments);
        }
        let most = if self.random.one_in(6) { 100_000 } else { 100 };
        let body = vec![7; self.random.size(most)];
        self.sides[at].reply(id, body);
    }

    fn stop_handler(&mut self, at: usize) {
        if let Some((id, why)) = self.sides[at].stopped.pop() {
            self.progress += 1;
            self.end_early(at, id, why);
        }
    }

    fn end_early(&mut self, at: usize, id: CallId, why: ErrorKind) {
        let number = self.ids[&id];
        let entry = &mut self.ledger[number];
        let reads = entry.arguments.as_ref().is_some_and(|flow| flow.reading == Reading::Open);
        if reads && self.random.one_in(2) {
            self.drop_reader(number, Way::Arguments);
        }
        let entry = &mut self.ledger[number];
        entry.handler = Handler::Over;
        if let Some(flow) = entry.reply.as_mut().filter(|flow| flow.sending == Sending::Open) {
            flow.sending = Sending::Gone;
        }
        self.sides[at].mux.note_stop(id, why);
        self.sides[at].mux.end_stopped(id, Ran::Maybe);
        self.sides[at].settle();
    }

    // ---- the link

    /// The transport takes some frames of the side's batch, or all.
    fn send(&mut self, from: usize) {
        let side = &mut self.sides[from];
        let link = &mut self.links[from];
        if link.batch.is_empty() && side.mux.has_frames() {
            side.mux.draw(&mut side.batch);
            side.settle();
            link.load(&mut side.batch, side.mux.frame_bytes());
        }
        for _ in 0..1 + self.random.below(30) {
            let Some(left) = link.take(self.dead) else { break };
            self.progress += 1;
            side.mux.handle_sent(left);
        }
        side.settle();
        let flushed = link.batch.is_empty() && !side.mux.has_frames();
        link.finished = self.closing[from] && flushed;
    }

    fn receive(&mut self, to: usize) {
        for _ in 0..1 + self.random.below(20) {
            let Some(frame) = self.links[1 - to].pop(&mut self.random) else { break };
            self.progress += 1;
            self.sides[to].take(&frame);
            if let Frame::Stop(id) = decode(&frame) {
                // r[verify stop.effect]
                assert!(!self.sides[to].mux.streams.has_writer(id), "it goes on after a stop");
            }
        }
        if self.links[1 - to].is_over() {
            self.lose(to);
        }
    }

    fn lose(&mut self, at: usize) {
        let closed = crate::mux::Closed::new(ErrorKind::ConnectionLost, "it was cut");
        self.sides[at].mux.handle_lost(closed, self.links[at].left, None);
        self.sides[at].settle();
    }

    fn pass_time(&mut self) {
        self.now += ms(self.random.below(100));
        self.sides.iter_mut().for_each(|side| side.set_time(self.now));
    }

    fn die(&mut self) {
        (self.peaceful, self.dead) = (false, true);
        (0..2).for_each(|at| self.lose(at));
        self.links.iter_mut().for_each(Link::cut);
    }

    /// What the drivers do after everything that happens.
    fn drive(&mut self) {
        for at in 0..2 {
            self.start_handlers(at);
            let sent = self.links[at].batch.is_empty() && !self.sides[at].mux.has_frames();
            if sent && self.sides[at].mux.is_drained() {
                self.sides[at].mux.close(CloseReason::Done, "");
            }
            let closed = matches!(self.sides[at].mux.phase(), Phase::Closed(_));
            if closed && !std::mem::replace(&mut self.closing[at], true) {
                self.progress += 1;
                self.sides[at].mux.handle_closing();
                let runs = |e: &Entry| matches!(e.handler, Handler::Running | Handler::Streaming);
                let running: Vec<_> = (0..self.ledger.len())
                    .filter(|n| self.ledger[*n].by != at && runs(&self.ledger[*n]))
                    .collect();
                for number in running {
                    self.end_early(at, self.id_of(number), ErrorKind::ShuttingDown);
                }
            }
            self.sides[at].settle();
        }
    }

    // ---- the end

    /// Lets everything that has begun come to its end. Tasks are polled when they were woken, and
    /// not otherwise.
    fn wind_down(&mut self) {
        self.ledger.iter_mut().for_each(|entry| {
            entry.refill();
            entry.arguments.iter_mut().chain(&mut entry.reply).for_each(|flow| flow.pauses = false);
        });
        let mut idle = 0;
        while idle < 3 {
            let before = self.progress;
            for side in 0..2 {
                self.send(side);
                self.receive(side);
                self.stop_handler(side);
                self.drive();
            }
            for task in self.tasks(false) {
                self.run_task(task);
                self.drive();
            }
            (0..self.ledger.len()).for_each(|number| self.act(number, true));
            self.drive();
            self.check_step();
            idle = if self.progress == before { idle + 1 } else { 0 };
        }
        let stuck = self.tasks(true);
        assert!(stuck.is_empty(), "these wait for ever: {stuck:?}");
    }
}
