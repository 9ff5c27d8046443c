//! A server, its clients and the paths between them, in virtual time; what happens when is up to who
//! runs it.
//!
//! `link` is a path, `books` what has to arrive, `end` one end of a session, `server` and `client` are
//! the two sides, `meter` watches what goes to strangers.

mod books;
mod client;
mod end;
mod link;
mod meter;
mod server;

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

pub(crate) use books::{Books, Queue, Script, mix};
pub(crate) use client::{Client, Habits, Outcome, Phase};
pub(crate) use end::End;
pub(crate) use link::{Faults, Link, Parcel};
pub(crate) use meter::Meter;
pub(crate) use server::{Config, Executed, PARAMS, Server};

/// Steps without any passing of time that are a livelock.
const STEPS_MAX: u32 = 10_000;

pub(crate) struct World {
    pub(crate) begin: Instant,
    pub(crate) now: Instant,
    config: Config,
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) clients: Vec<Client>,
    pub(crate) executed: Executed,
    pub(crate) meter: Meter,
    /// Until then the server's machine does nothing, or there is no server at all.
    pub(crate) server_stands_until: Option<Instant>,
    pub(crate) server_is_gone: bool,
    standing: Vec<Parcel>,
    /// How long the server's clock stands still of that, and how far it is behind the world's.
    server_sleep: Duration,
    server_slept: Duration,
    pub(crate) random: fastrand::Rng,
    /// What happened, as one number.
    pub(crate) trace: u64,
    /// Datagrams that were sent.
    pub(crate) datagrams: u64,
    steps: u32,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("elapsed", &self.elapsed())
            .field("clients", &self.clients)
            .field("sessions", &self.server.sessions)
            .finish_non_exhaustive()
    }
}

impl World {
    pub(crate) fn new(seed: u64, config: Config) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let now = Instant::now();
        Self {
            begin: now,
            now,
            config,
            server: Server::new(now, config, random.fork()),
            address: "192.0.2.1:7000".parse().unwrap(),
            clients: Vec::new(),
            executed: Executed::new(),
            meter: Meter::default(),
            server_stands_until: None,
            server_is_gone: false,
            standing: Vec::new(),
            server_sleep: Duration::ZERO,
            server_slept: Duration::ZERO,
            random,
            trace: 0,
            datagrams: 0,
            steps: 0,
        }
    }

    /// One more client, behind its own paths.
    pub(crate) fn add_client(&mut self, up: Faults, down: Faults, habits: Habits) -> usize {
        let index = self.clients.len();
        let outer = SocketAddr::from(([198, 51, 100, u8::try_from(index).unwrap()], 40_000));
        let random = &mut self.random;
        let links = (Link::new(up, random.fork()), Link::new(down, random.fork()));
        let addresses = (outer, self.address);
        let client =
            Client::new(self.now, addresses, self.config, habits, links, self.random.fork());
        self.clients.push(client);
        index
    }

    /// A new process takes the server's place, after `down`.
    pub(crate) fn restart_server(&mut self, down: Duration) {
        self.server.restart(self.server_now());
        self.server_sleep = Duration::ZERO;
        self.meter = Meter::default();
        self.standing.clear();
        self.server_is_gone = true;
        self.server_stands_until = Some(self.now + down);
    }

    /// The server's machine does nothing for so long, and if it `sleeps` its clock stands still meanwhile.
    pub(crate) fn freeze_server(&mut self, lasts: Duration, sleeps: bool) {
        if self.server_stands_until.is_none() {
            self.server_stands_until = Some(self.now + lasts);
            self.server_sleep = if sleeps { lasts } else { Duration::ZERO };
        }
    }

    /// The server's time, which is the world's unless it has slept.
    pub(crate) fn server_now(&self) -> Instant {
        self.now - self.server_slept
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.begin
    }

    fn note(&mut self, what: u64, bytes: &[u8]) {
        let nanos = u64::try_from(self.elapsed().as_nanos()).unwrap();
        self.trace = mix(self.trace ^ mix(nanos ^ what << 60 ^ (bytes.len() as u64) << 40));
        self.trace = mix(self.trace ^ u64::from(crc32c::crc32c(bytes)));
        self.datagrams += 1;
    }

    /// Does all that is to be done at this instant.
    pub(crate) fn turn(&mut self) {
        let now = self.now;
        for index in 0..self.clients.len() {
            while let Some(parcel) = self.clients[index].up.receive(now) {
                self.arrive(parcel);
            }
        }
        if self.server_stands_until.is_none_or(|until| until <= now) {
            if self.server_stands_until.take().is_some() && self.server_is_gone {
                self.server_is_gone = false;
                self.server.restart(self.server_now());
            }
            self.server_slept += std::mem::take(&mut self.server_sleep);
            for parcel in std::mem::take(&mut self.standing) {
                self.reach(parcel);
            }
            self.turn_server();
        }
        for client in &mut self.clients {
            client.turn(now);
        }
    }

    /// A datagram arrives at the server's machine.
    pub(crate) fn arrive(&mut self, parcel: Parcel) {
        if self.server_stands_until.is_none() {
            self.reach(parcel);
        } else if !self.server_is_gone && self.standing.len() < 1000 {
            self.standing.push(parcel);
        }
    }

    fn reach(&mut self, parcel: Parcel) {
        self.note(1, &parcel.bytes);
        self.meter.note_arrival(parcel.from, &parcel.bytes);
        let from = parcel.from;
        if let Some(answer) = self.server.handle_datagram(self.server_now(), parcel) {
            self.send_down(from, &answer);
        }
    }

    fn turn_server(&mut self) {
        let (mut out, now) = (Vec::new(), self.server_now());
        let executed = &mut self.executed;
        self.server.turn(now, executed, |to, datagram| out.push((to, datagram.to_vec())));
        for (to, datagram) in out {
            self.send_down(to, &datagram);
        }
    }

    /// A datagram from the server goes to whoever has the address now.
    fn send_down(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.note(2, datagram);
        self.meter.note_sent(to, datagram);
        let (now, from) = (self.now, self.address);
        if let Some(client) = self.clients.iter_mut().find(|client| client.outer == to) {
            client.down.send(now, from, datagram);
        }
    }

    /// When something happens next.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let clients = self.clients.iter().flat_map(|it| [it.next_at(), it.up.next_at()]).flatten();
        let own = || self.server.next_at().map(|at| at + self.server_slept);
        let server = self.server_stands_until.or_else(own);
        clients.chain(server).min()
    }

    /// Goes on to what happens next, but not beyond `limit`. False if there is nothing.
    pub(crate) fn step(&mut self, limit: Instant) -> bool {
        self.turn();
        let next = self.next_at();
        let Some(next) = next.filter(|next| *next <= limit) else {
            self.now = self.now.max(limit);
            return false;
        };
        if next > self.now {
            self.now = next;
            self.steps = 0;
        } else {
            self.steps += 1;
            assert!(self.steps < STEPS_MAX, "time stands still: {:?}", self.clients);
        }
        true
    }

    /// Lets so much time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let limit = self.now + time;
        while self.step(limit) {}
    }

    /// Goes on until this holds, or `limit` has passed, or nothing happens any more. Tells whether it
    /// holds.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let limit = self.now + limit;
        while !done(self) {
            if !self.step(limit) {
                return done(self);
            }
        }
        true
    }

    /// Lets clients end their sessions, and sees that nothing is left.
    pub(crate) fn finish(&mut self) {
        for client in &mut self.clients {
            client.is_leaving = true;
        }
        let is_done =
            |world: &Self| world.clients.iter().all(|client| matches!(client.phase, Phase::Done));
        assert!(self.run_until(Duration::from_secs(120), is_done), "sessions don't end: {self:?}");
        self.pass(Duration::from_secs(60));
    }

    /// Every call has one outcome, and that is no lie.
    pub(crate) fn check_calls(&self) {
        for call in self.clients.iter().flat_map(|client| &client.calls) {
            let ran = self.executed.get(&(call.session, call.lane)).copied().unwrap_or(0);
            let (least, most) = match call.outcome {
                Some(Outcome::Done) => (1, 1),
                Some(Outcome::NotSent | Outcome::NeverRan) => (0, 0),
                Some(Outcome::Unknown) => (0, 1),
                None => panic!("a call without an outcome: {call:?}"),
            };
            assert!((least..=most).contains(&ran), "{call:?} ran {ran} times");
        }
    }
}
