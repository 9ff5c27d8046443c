//! Everything at once: two sides that call each other over a link whose lanes overtake, with callers
//! that leave, deadlines, large messages, go-aways and deaths, and a ledger of what ran.
//!
//! `RPC_SEEDS=n` tries so many seeds, `RPC_SEED=x` that one.

mod pipe;
mod same;
mod streams;

use std::{collections::BTreeMap, env, hash::Hasher, thread};

use super::{
    link::{Chance, Lanes},
    *,
};
use crate::testing::checkout;

#[test]
fn whatever_happens_the_ledger_agrees() {
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
    eprintln!("FIGURE simulated.calls={}", seen.values().sum::<u64>());
    // What never happened proves nothing.
    for end in EVERY_END {
        assert!(seeds < SEEDS || seen.contains_key(*end), "no call ended with {end}: {seen:#?}");
    }
}

/// The same, with an input for chance.
pub(super) fn calls(chance: Chance) {
    Simulation::with(chance).run();
}

pub(super) use streams::streams;

/// Takes some seconds in a debug build, and is enough for every way to end.
const SEEDS: u64 = 300;

/// Every way in which a call can end here.
const EVERY_END: &[&str] = &[
    "Reply",
    "Dropped",
    "Failed(DeadlineExceeded, NotSent)",
    "Failed(DeadlineExceeded, Rejected)",
    "Failed(DeadlineExceeded, Unknown)",
    "Failed(Overloaded, NotSent)",
    "Failed(Overloaded, Rejected)",
    "Failed(Overloaded, Replied)",
    "Failed(TooLarge, NotSent)",
    "Failed(TooLarge, Rejected)",
    "Failed(TooLarge, Replied)",
    "Failed(UnknownMethod, Rejected)",
    "Lost(NotSent)",
    "Lost(Unknown)",
    "Left",
];

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// What the ledger knows of one call.
struct Entry {
    by: usize,
    want: Want,
    stage: Stage,
    /// How often its handler was started.
    ran: u32,
    /// What the handler answered with.
    reply: Option<Vec<u8>>,
    /// Whether the transport has taken all of its request.
    taken: bool,
    /// Whether its caller has gone when it had ended as a one-way call does.
    left_unseen: bool,
    end: Option<End>,
}

impl Entry {
    fn has_left(&self) -> bool {
        self.left_unseen || self.end == Some(End::Left)
    }
}

enum Stage {
    Waiting(Ticket),
    Open(CallId),
    /// It ended, or its caller has gone.
    Over,
}

struct Simulation {
    /// What it began with, if that wasn't an input.
    seed: Option<u64>,
    random: Chance,
    now: Instant,
    sides: [Side; 2],
    /// `links[n]` carries what side `n` sends.
    links: [Lanes; 2],
    /// Handlers that run on each side.
    running: [Vec<(CallId, usize)>; 2],
    /// Whether each side has told its callers that the connection is closed.
    closing: [bool; 2],
    ledger: Vec<Entry>,
    /// Nothing but a drain has ended the connection, if anything has.
    peaceful: bool,
    dead: bool,
    /// Only one side calls, so that the other has nothing of its own to wait for when it drains.
    one_sided: bool,
}

impl Drop for Simulation {
    fn drop(&mut self) {
        if let Some(seed) = self.seed.filter(|_| thread::panicking()) {
            let test = "simulation";
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
        simulation.one_sided = seed % 4 == 3;
        simulation
    }

    fn with(mut random: Chance) -> Self {
        let now = Instant::now();
        let mut side = |role| {
            let limits = Limits {
                calls: 1 + random.below32(90),
                waiting_calls: random.size(10),
                message_bytes: 60_000 + random.below32(200_000),
                held_bytes: 100_000 + random.size(400_000),
                outbox_bytes: 10_000 + random.size(300_000),
                frame_bytes: (16 * 1024) << random.below32(3),
                window_bytes: 200_000 + random.below32(300_000),
                ..Limits::default()
            };
            let frame_bytes = 2000 << random.below32(6);
            let settings = Settings {
                limits,
                keepalive: random.one_in(2).then(Keepalive::default),
                frame_bytes,
                instance: 1,
                cautious: random.one_in(3),
            };
            Side::of(Mux::new(role, settings), now)
        };
        let sides = [side(Role::Connector), side(Role::Acceptor)];
        Self {
            seed: None,
            random,
            now,
            sides,
            links: Default::default(),
            running: Default::default(),
            closing: [false; 2],
            ledger: Vec::new(),
            peaceful: true,
            dead: false,
            one_sided: false,
        }
    }

    /// Returns how each call ended.
    fn run(self) -> Vec<String> {
        self.traced().0
    }

    /// The same, and what the frames were that each side got.
    fn traced(mut self) -> (Vec<String>, [u64; 2]) {
        for _ in 0..100 + self.random.below(500) {
            self.event();
            self.drive();
            if self.closing == [true; 2] || self.random.is_spent() {
                break;
            }
        }
        self.wind_down();
        self.check();
        self.sides.iter_mut().for_each(run_out);
        let ends = self.ledger.iter().map(|entry| match &entry.end {
            Some(End::Reply(_)) => "Reply".to_owned(),
            Some(end) => format!("{end:?}"),
            None => "Dropped".to_owned(),
        });
        (ends.collect(), self.sides.each_ref().map(|side| side.trace.finish()))
    }

    /// Something happens.
    fn event(&mut self) {
        let side = self.random.size(2);
        match self.random.below(1000) {
            0..250 => self.open(if self.one_sided { 0 } else { side }),
            250..350 => self.send(side),
            350..650 => self.receive(side),
            650..750 => self.end_handler(side),
            750..800 => self.stop_handler(side),
            800..890 => self.poll_any(),
            890..950 => self.drop_any(),
            950..990 => self.pass_time(),
            990 => self.sides[side].mux.go_away(),
            993.. if self.one_sided => self.sides[side].mux.go_away(),
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
        let want = Want {
            tail: None,
            body: self.message(number),
            timeout: self.random.one_in(3).then(|| ms(self.random.below(300))),
            idempotent: self.random.one_in(2),
            oneway: self.random.one_in(4),
            stream: false,
            ..Want::default()
        };
        let opened = self.sides[by].open(&want, None);
        self.ledger.push(Entry {
            by,
            want,
            stage: Stage::Over,
            ran: 0,
            reply: None,
            taken: false,
            left_unseen: false,
            end: None,
        });
        self.opened(number, opened);
    }

    /// A body that names its call.
    fn message(&mut self, number: usize) -> Vec<u8> {
        let bytes = if self.random.one_in(6) { 200_000 } else { 100 };
        let mut body = number.to_le_bytes().to_vec();
        body.resize(8 + self.random.size(bytes), number.to_le_bytes()[0]);
        body
    }

    fn opened(&mut self, number: usize, opened: Opened) {
        let entry = &mut self.ledger[number];
        entry.stage = match opened {
            Opened::Call(id) => Stage::Open(id),
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
    }

    fn poll(&mut self, number: usize) {
        let entry = &mut self.ledger[number];
        let side = &mut self.sides[entry.by];
        match entry.stage {
            Stage::Waiting(ticket) => {
                let opened = side.open(&entry.want, Some(ticket));
                self.opened(number, opened);
            }
            Stage::Open(id) => {
                entry.end = side.end_of(id);
                if entry.end.is_some() {
                    entry.stage = Stage::Over;
                }
            }
            Stage::Over => {}
        }
    }

    fn live(&self) -> Vec<usize> {
        let over = |entry: &Entry| matches!(entry.stage, Stage::Over);
        (0..self.ledger.len()).filter(|n| !over(&self.ledger[*n])).collect()
    }

    fn poll_any(&mut self) {
        let live = self.live();
        if let Some(number) = self.random.pick(&live) {
            self.poll(*number);
        }
    }

    fn drop_any(&mut self) {
        let live = self.live();
        let Some(number) = self.random.pick(&live) else { return };
        let entry = &mut self.ledger[*number];
        match entry.stage {
            Stage::Waiting(ticket) => self.sides[entry.by].mux.leave_queue(ticket),
            Stage::Open(id) => {
                let side = &mut self.sides[entry.by];
                entry.left_unseen = side.mux.calls.has_left(id);
                side.drop_call(id);
            }
            Stage::Over => {}
        }
        entry.stage = Stage::Over;
    }

    // ---- handlers

    /// Starts handlers, and notes that they ran. Some requests are refused unseen, as those for an
    /// unknown method are.
    fn start_handlers(&mut self, side: usize) {
        for accepted in std::mem::take(&mut self.sides[side].accepted) {
            let body = accepted.body.as_slice();
            let number = usize::from_le_bytes(body[..8].try_into().unwrap());
            let entry = &mut self.ledger[number];
            assert_eq!(entry.want.body, body, "the request of call {number}");
            assert_ne!(entry.by, side);
            if self.random.one_in(10) {
                let mux = &mut self.sides[side].mux;
                if mux.finish(accepted.id) {
                    mux.queue_error(accepted.id, ErrorKind::UnknownMethod, Ran::Never, "");
                }
            } else {
                entry.ran += 1;
                assert_eq!(entry.ran, 1, "call {number} runs twice");
                self.running[side].push((accepted.id, number));
            }
        }
    }

    fn end_handler(&mut self, side: usize) {
        if self.running[side].is_empty() {
            return;
        }
        let at = self.random.size(self.running[side].len());
        let (id, number) = self.running[side].swap_remove(at);
        let mut body = Vec::new();
        if !self.ledger[number].want.oneway {
            body = self.message(number);
            body[..8].copy_from_slice(&(!number).to_le_bytes());
        }
        let mux = &mut self.sides[side].mux;
        if body.len() > mux.reply_limits().message_bytes {
            if mux.finish(id) {
                mux.queue_error(id, ErrorKind::TooLarge, Ran::Ended, "");
            }
            return;
        }
        self.ledger[number].reply = Some(body.clone());
        self.sides[side].reply(id, body);
    }

    fn stop_handler(&mut self, side: usize) {
        if let Some((id, why)) = self.sides[side].stopped.pop() {
            self.end_early(side, id, why);
        }
    }

    fn end_early(&mut self, side: usize, id: CallId, why: ErrorKind) {
        let mux = &mut self.sides[side].mux;
        mux.note_stop(id, why);
        mux.end_stopped(id, Ran::Maybe);
        self.running[side].retain(|(other, _)| *other != id);
    }

    // ---- the link

    /// The transport takes some frames of the side's batch, or all.
    fn send(&mut self, from: usize) {
        let side = &mut self.sides[from];
        if side.batch.is_empty() && side.mux.has_frames() {
            side.mux.draw(&mut side.batch);
        }
        for _ in 0..1 + self.random.below(20) {
            let Some(frame) = side.batch.next_frame() else { break };
            let is = |entry: &&mut Entry| {
                entry.by == from
                    && matches!(entry.stage, Stage::Open(id) if id.lane() == frame.lane)
            };
            if frame.end
                && let Some(entry) = self.ledger.iter_mut().find(is)
            {
                entry.taken = true;
            }
            if !self.dead {
                self.links[from].push(frame);
            }
        }
        side.sent();
        let flushed = side.batch.is_empty() && !side.mux.has_frames();
        self.links[from].finished = self.closing[from] && flushed;
    }

    fn receive(&mut self, to: usize) {
        let link = &mut self.links[1 - to];
        for _ in 0..1 + self.random.below(10) {
            let Some(frame) = link.pop(&mut self.random) else { break };
            self.sides[to].take(&frame);
        }
        if link.finished && link.lanes.is_empty() {
            self.sides[to].lose();
        }
    }

    fn pass_time(&mut self) {
        self.now += ms(self.random.below(100));
        self.sides.iter_mut().for_each(|side| side.set_time(self.now));
    }

    fn die(&mut self) {
        (self.peaceful, self.dead) = (false, true);
        self.sides.iter_mut().for_each(Side::lose);
        self.links = Default::default();
    }

    /// What the drivers do after everything that happens.
    fn drive(&mut self) {
        for n in 0..2 {
            self.start_handlers(n);
            self.check_slots(n);
            let sent = self.sides[n].batch.is_empty() && !self.sides[n].mux.has_frames();
            if sent && self.sides[n].mux.is_drained() {
                self.sides[n].mux.close(CloseReason::Done, "");
            }
            let closed = matches!(self.sides[n].mux.phase(), Phase::Closed(_));
            if closed && !std::mem::replace(&mut self.closing[n], true) {
                self.sides[n].mux.handle_closing();
                for (id, _) in self.running[n].clone() {
                    self.end_early(n, id, ErrorKind::ShuttingDown);
                }
            }
            self.sides[n].settle();
        }
    }

    // ---- the end

    /// Lets everything that has begun come to its end.
    fn wind_down(&mut self) {
        for _ in 0..20_000 {
            for side in 0..2 {
                self.send(side);
                self.receive(side);
                // What comes in one read is started before any of it is stopped.
                self.start_handlers(side);
                self.stop_handler(side);
                self.end_handler(side);
                self.drive();
            }
            self.live().into_iter().for_each(|number| self.poll(number));
            self.drive();
            let idle = |n: usize| {
                let side = &self.sides[n];
                let sent = side.batch.is_empty() && !side.mux.has_frames();
                let received = self.links[1 - n].lanes.is_empty();
                sent && received && self.running[n].is_empty() && side.stopped.is_empty()
            };
            // A drain that has begun comes to its end, on both sides.
            let open = self.sides.each_ref().map(|side| *side.mux.phase() == Phase::Open);
            let closed =
                self.sides.each_ref().map(|side| matches!(side.mux.phase(), Phase::Closed(_)));
            let settled = open == [true; 2] || closed == [true; 2];
            if idle(0) && idle(1) && settled && self.live().is_empty() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn check(&self) {
        for (number, entry) in self.ledger.iter().enumerate() {
            let what = || format!("call {number} ran {} times: {:?}", entry.ran, entry.end);
            assert!(entry.ran <= 1, "{}", what());
            match &entry.end {
                Some(End::Reply(body)) => {
                    assert_eq!((entry.ran, Some(body)), (1, entry.reply.as_ref()), "{}", what());
                }
                Some(End::AppError(_) | End::Stream) => panic!("{}", what()),
                Some(End::Failed(_, delivery) | End::Lost(delivery)) => match delivery {
                    Delivery::NotSent | Delivery::Rejected => {
                        assert_eq!(entry.ran, 0, "{}", what());
                    }
                    Delivery::Replied => assert_eq!(entry.ran, 1, "{}", what()),
                    Delivery::Unknown => {}
                },
                Some(End::Left) => assert!(entry.taken && entry.want.oneway, "{}", what()),
                None => {}
            }
            let lost = matches!(entry.end, Some(End::Lost(Delivery::Unknown)));
            assert!(!(lost && self.peaceful), "a drain loses no call: {}", what());
        }
        (0..2).for_each(|by| self.check_counters(by));
        if self.sides.iter().all(|side| *side.mux.phase() == Phase::Open) {
            (0..2).for_each(|by| self.check_account(by));
        }
        for side in &self.sides {
            let mux = &side.mux;
            assert!(!mux.is_busy(), "a call is open");
            assert_eq!(mux.waiters.held(), 0, "somebody waits");
            assert_eq!(mux.strays, 0, "honest peers send no strays");
            assert!(mux.outbox.is_empty(), "something isn't sent");
            if !self.dead
                && self.peaceful
                && self.sides.iter().all(|s| *s.mux.phase() == Phase::Open)
            {
                assert!(mux.requests.at_rest(), "a slot is in use");
                assert_eq!(mux.requests.partial_bytes + mux.calls.partial_bytes, 0);
            }
        }
    }

    /// A slot is free only when the work is gone.
    // r[verify reply.handler-gone]
    fn check_slots(&self, at: usize) {
        let mux = &self.sides[at].mux;
        let is_open = !matches!(mux.phase(), Phase::Closed(_));
        for (id, number) in &self.running[at] {
            assert!(!is_open || mux.is_running(*id), "call {number} has no slot, and runs");
        }
    }

    /// Nothing is under way: what may still be sent is what the other side thinks.
    // r[verify credit.initial] r[verify hello.window] r[verify message.account]
    fn check_account(&self, by: usize) {
        let allowed = self.sides[by].mux.outbox.bulk_credit();
        assert_eq!(allowed, self.sides[1 - by].mux.bulk_in.window_of_peer(), "credit was lost");
    }

    /// Whatever becomes of one-way calls that had left, it is counted.
    fn check_counters(&self, by: usize) {
        let count = |is: fn(&Entry) -> bool| {
            self.ledger.iter().filter(|entry| entry.by == by && is(entry)).count() as u64
        };
        let calls = &self.sides[by].mux.calls;
        let unanswered = count(|entry| entry.has_left() && entry.reply.is_none());
        assert!((unanswered..=count(Entry::has_left)).contains(&calls.oneways_failed));
        if self.peaceful {
            assert_eq!(calls.oneways_failed, unanswered);
            let refused = count(|e| matches!(e.end, Some(End::Failed(_, Delivery::Rejected))));
            let never_ran = count(|entry| entry.has_left() && entry.ran == 0);
            assert!(calls.rejected >= refused + never_ran, "a drain loses no call");
        }
    }
}

/// Nothing waits for time any more, but what had been due when a call was still open: it is looked at once.
#[track_caller]
fn run_out(side: &mut Side) {
    for _ in 0..2 {
        let Some(at) = side.mux.next_timeout() else { break };
        side.set_time(at.max(side.now));
    }
    assert_eq!(side.mux.next_timeout(), None, "a timer is left");
}
