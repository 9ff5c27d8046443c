//! All that may happen between one client, the network and a server's processes, one step at a time;
//! what the client concludes is in `client`, what the server decides in `server`.

use std::collections::HashMap;

use super::{
    Bounds, Mutant,
    client::{Client, Phase, Told},
    net::{Names, Nets, Offer, Offered, Packet, Place},
    search,
    server::{Outcome, Process, Server},
};
use crate::proto::{
    packet::SessionId,
    table::{Welcome, snapshot::Snapshot},
};

/// The requests of the model, at most.
pub(super) const REQUESTS: usize = 2;

/// Everything, at one moment. Numbers stand for what [`World`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// In ticks.
    pub(super) now: u8,
    pub(super) client: Client,
    pub(super) net: u32,
    pub(super) server: u32,
    /// The process before, while it still reads from the port.
    pub(super) leftover: Option<u32>,
    /// How often the server has become full or had room again.
    pub(super) crowded: u8,
    /// How often each request was executed.
    pub(super) executed: [u8; REQUESTS],
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Tick,
    /// Time passes that the client's steady clock doesn't count.
    TickAsleep,
    Restart,
    /// A session of the server's process, or of the one before it, ends.
    End {
        session: SessionId,
        in_leftover: bool,
    },
    /// The server gives up the oldest session that it remembers.
    Evict,
    /// The server welcomes fewer than before: those who were offered a session, then nobody.
    Leave,
    StopLeaving,
    /// The server becomes full, or has room again.
    Crowd,
    /// The client's address changes.
    Move,
    Connect,
    Send(usize),
    SendAgain(usize),
    GiveUp,
    Retry(usize),
    Arrive {
        packet: u32,
        at_leftover: bool,
    },
}

/// Everything that is the same in all states, and what was computed.
#[derive(Debug)]
pub(super) struct World {
    pub(super) server: Server,
    pub(super) packets: Names<Packet>,
    pub(super) offers: Names<Offered>,
    pub(super) nets: Nets,
    processes: Names<Process>,
    /// What packets led to, by process, time, packet, and whether it was full.
    outcomes: HashMap<(u32, u8, u32, bool), Known>,
    /// What ends of sessions led to.
    ends: HashMap<(u32, u8, SessionId), u32>,
    /// What answers to INITs meant, by packet and nonce.
    pub(super) answers: HashMap<(u32, u64), Answer>,
}

/// What an answer to an INIT means to a client.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Offer(Offer),
    Refusal,
    Nothing,
}

#[derive(Debug, Clone)]
struct Known {
    process: u32,
    executed: Option<u8>,
    answers: Vec<u32>,
}

impl World {
    pub(super) fn new(bounds: Bounds, mutant: Option<Mutant>) -> Self {
        Self {
            server: Server { bounds, mutant },
            packets: Names::new(),
            offers: Names::new(),
            nets: Nets::new(),
            processes: Names::new(),
            outcomes: HashMap::new(),
            ends: HashMap::new(),
            answers: HashMap::new(),
        }
    }

    pub(super) fn is(&self, mutant: Mutant) -> bool {
        self.server.is(mutant)
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.server.bounds
    }

    /// A packet is on its way.
    pub(super) fn send(&mut self, net: u32, packet: Packet) -> u32 {
        let packet = self.packets.name(packet);
        self.nets.with(net, packet)
    }

    fn time(&mut self, state: &State, into: &mut Vec<(Step, State)>) {
        if state.now >= self.bounds().ticks {
            return;
        }
        let mut next = State { now: state.now + 1, ..*state };
        let begun = self.processes.value(state.server).begun;
        if next.now > begun + self.bounds().overlap {
            next.leftover = None;
        }
        if self.is(Mutant::SteadyClock) {
            into.push((Step::TickAsleep, next));
        }
        next.client.clock += 1;
        into.push((Step::Tick, next));
    }

    /// What happens to the server.
    fn server(&mut self, state: &State, into: &mut Vec<(Step, State)>) {
        let bounds = *self.bounds();
        for (session, server) in self.ends(state.server, state.now) {
            let step = Step::End { session, in_leftover: false };
            into.push((step, State { server, ..*state }));
        }
        for (session, ended) in state.leftover.map_or(vec![], |it| self.ends(it, state.now)) {
            let step = Step::End { session, in_leftover: true };
            into.push((step, State { leftover: Some(ended), ..*state }));
        }
        if state.crowded < bounds.crowds {
            into.push((Step::Crowd, State { crowded: state.crowded + 1, ..*state }));
        }
        let process = self.processes.value(state.server);
        if bounds.restarts && process.run == 0 {
            let server = self.processes.name(Process::new(1, state.now));
            let leftover = (bounds.overlap > 0).then_some(state.server);
            into.push((Step::Restart, State { server, leftover, ..*state }));
        }
        let welcome = self.processes.value(state.server).table.welcome;
        let less = match welcome {
            Welcome::Everybody => Some(Welcome::Offered),
            Welcome::Offered => Some(Welcome::Nobody),
            Welcome::Nobody => None,
        };
        if let Some(less) = less.filter(|_| bounds.leaves) {
            into.push((Step::Leave, self.with(state, |it| it.welcome = less)));
        }
        if self.is(Mutant::LeavingCalledOff) && welcome == Welcome::Nobody {
            let more = Welcome::Offered;
            into.push((Step::StopLeaving, self.with(state, |it| it.welcome = more)));
        }
        if self.is(Mutant::EvictedUnderPressure) {
            into.push((
                Step::Evict,
                self.with(state, |it| it.ended = it.ended.split_off(1.min(it.ended.len()))),
            ));
        }
    }

    fn with(&mut self, state: &State, change: impl Fn(&mut Snapshot<u8>)) -> State {
        let mut process = self.processes.value(state.server).clone();
        change(&mut process.table);
        State { server: self.processes.name(process), ..*state }
    }

    /// What a process becomes when any of its sessions ends.
    fn ends(&mut self, process: u32, now: u8) -> Vec<(SessionId, u32)> {
        let live = self.processes.value(process).table.live.clone();
        let ends = live.into_iter().map(|(session, _)| {
            let ended = self.ends.get(&(process, now, session)).copied().unwrap_or_else(|| {
                let ended = self.server.end(self.processes.value(process), now, session);
                self.processes.name(ended)
            });
            self.ends.insert((process, now, session), ended);
            (session, ended)
        });
        ends.collect()
    }

    /// Packets arrive. They stay under way: they may come again.
    fn arrivals(&mut self, state: &State, into: &mut Vec<(Step, State)>) {
        for packet in self.nets.packets(state.net).to_vec() {
            let is_from_server = self.packets.value(packet).is_from_server();
            if is_from_server {
                let step = Step::Arrive { packet, at_leftover: false };
                into.push((step, self.arrive_at_client(state, packet)));
                continue;
            }
            let (server, next) = self.arrive_at_server(state, state.server, packet, false);
            let step = Step::Arrive { packet, at_leftover: false };
            into.push((step, State { server, ..next }));
            if let Some(leftover) = state.leftover {
                let (leftover, next) = self.arrive_at_server(state, leftover, packet, true);
                let step = Step::Arrive { packet, at_leftover: true };
                into.push((step, State { leftover: Some(leftover), ..next }));
            }
        }
    }

    fn arrive_at_server(
        &mut self,
        state: &State,
        process: u32,
        packet: u32,
        is_leftover: bool,
    ) -> (u32, State) {
        let is_full = state.crowded % 2 == 1;
        let key = (process, state.now, packet, is_full);
        if !self.outcomes.contains_key(&key) {
            let from = self.processes.value(process);
            let datagram = self.packets.value(packet);
            let outcome = self.server.handle(from, state.now, datagram, is_full, &self.offers);
            let Outcome { process, executed, answers } = outcome;
            let known = Known {
                process: self.processes.name(process),
                executed,
                answers: answers.into_iter().map(|it| self.packets.name(it)).collect(),
            };
            self.outcomes.insert(key, known);
        }
        let Known { process, executed, answers } = self.outcomes[&key].clone();
        let mut next = *state;
        if let Some(request) = executed {
            next.executed[usize::from(request)] += 1;
        }
        // Where the new process has the port to itself, the one before has read what came earlier, and
        // so resets no session of the new one.
        let is_withheld = is_leftover && !self.is(Mutant::PortShared)
            || state.leftover.is_some() && self.is(Mutant::PortSharedResetsWithheld);
        for answer in answers {
            let is_reset = matches!(self.packets.value(answer), Packet::Reset { .. });
            if self.matters(&next.client, answer) && !(is_reset && is_withheld) {
                next.net = self.nets.with(next.net, answer);
            }
        }
        (process, next)
    }
}

impl search::World for World {
    type State = State;
    type Step = Step;

    fn first(&mut self) -> State {
        State {
            now: 0,
            client: Client::new(self.bounds().requests),
            net: 0,
            server: self.processes.name(Process::new(0, 0)),
            leftover: None,
            crowded: 0,
            executed: [0; REQUESTS],
        }
    }

    fn next(&mut self, state: &State, into: &mut Vec<(Step, State)>) {
        self.time(state, into);
        self.server(state, into);
        self.client(state, into);
        self.arrivals(state, into);
    }

    fn fault(&self, state: &State) -> Option<&'static str> {
        let told = state.client.requests.iter().map(|it| it.told);
        told.zip(state.executed).find_map(|(told, executed)| match (told, executed) {
            (_, 2..) => Some("executed twice"),
            (Told::Ok, 0) => Some("told that it was executed, and it wasn't"),
            (Told::NotSent | Told::NeverRan, 1..) => {
                Some("told that it never ran, and it was executed")
            }
            _ => None,
        })
    }

    fn describe(&self, step: Step) -> String {
        match step {
            Step::Arrive { packet, at_leftover } => {
                let at = if at_leftover { " at the process before" } else { "" };
                match self.packets.value(packet) {
                    Packet::Answer { nonce, bytes } => {
                        let is_refusal = super::server::is_refusal(bytes);
                        let what = if is_refusal { "refusal" } else { "INIT_ACK" };
                        format!("{what} for {nonce} arrives")
                    }
                    other => format!("{other:?} arrives{at}"),
                }
            }
            step => format!("{step:?}"),
        }
    }
}

impl World {
    /// Whether it makes a difference to the client when a packet of the server arrives. Those that
    /// don't are taken off the network, which leaves fewer states.
    pub(super) fn matters(&self, client: &Client, packet: u32) -> bool {
        let current = match client.phase {
            Phase::Session(session) => Some(session),
            _ => None,
        };
        match self.packets.value(packet) {
            Packet::Init { nonce, .. } | Packet::Answer { nonce, .. } => {
                let is_waited_for = client.phase == Phase::SettingUp && client.nonce == *nonce;
                let is_any = self.is(Mutant::CookieRefreshed) || self.is(Mutant::AckOfAnyNonce);
                is_waited_for || is_any
            }
            Packet::Reply { session, .. } => {
                current == Some(*session) || self.is(Mutant::NonceReused)
            }
            Packet::Reset { session, .. } => {
                current == Some(*session)
                    || self.is(Mutant::ResetOfAnySession)
                    || self.is(Mutant::NonceReused)
            }
            Packet::Data { .. } => true,
        }
    }

    /// The client's place, for what it sends.
    pub(super) fn place(client: &Client) -> Place {
        if client.has_moved { Place::Second } else { Place::First }
    }
}
