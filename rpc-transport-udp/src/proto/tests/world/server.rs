//! The server of a world: its table and its sessions, wired as the driver does it.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{End, Parcel, Script, books::mix};
use crate::proto::{
    cookie::CookieKey,
    packet::{Epoch, Params, SessionId},
    session::{Agreed, Budget, Session, Side},
    table::{Beginning, COOKIE_LIFETIME, Decision, RETENTION, Table, TableConfig},
};

/// What all ends of these tests accept.
pub(crate) const PARAMS: Params =
    Params { datagram_bytes: 1452, ack_delay_ms: 5, window: 4096, features: 0 };

/// What one run of a server is set up with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    pub(crate) sessions: usize,
    pub(crate) budget_bytes: usize,
    pub(crate) frames_max: u64,
    pub(crate) bytes_max: usize,
    /// Frames that each side takes beyond those that have all come.
    pub(crate) window: u32,
}

impl Config {
    pub(crate) const DEFAULT: Self = Self {
        sessions: 1000,
        budget_bytes: 256 << 20,
        frames_max: 4,
        bytes_max: 1120,
        window: PARAMS.window,
    };

    pub(crate) fn params(&self) -> Params {
        Params { window: self.window, ..PARAMS }
    }

    /// What a server and a client send in a session.
    pub(crate) fn scripts(&self, session: SessionId) -> (Script, Script) {
        let Self { frames_max, bytes_max, .. } = *self;
        let script = |salt: u64| Script { tag: mix(session.0 ^ salt), frames_max, bytes_max };
        (script(1), script(2))
    }
}

/// Requests that ran, by session and lane, and how often. It outlives the server.
pub(crate) type Executed = HashMap<(SessionId, u64), u32>;

pub(crate) struct Server {
    config: Config,
    begun: Instant,
    pub(crate) table: Table<u64>,
    /// By session id, so that their order is always the same.
    pub(crate) sessions: BTreeMap<u64, End>,
    budget: Budget,
    random: fastrand::Rng,
    /// Sessions that were begun in all.
    pub(crate) begun_sessions: u64,
}

impl Server {
    pub(crate) fn new(now: Instant, config: Config, mut random: fastrand::Rng) -> Self {
        let mut material = [0; CookieKey::BYTES];
        random.fill(&mut material);
        let table = TableConfig {
            epoch: Epoch(random.u64(..)),
            params: config.params(),
            sessions: config.sessions,
            cookie_lifetime: COOKIE_LIFETIME,
            retention: RETENTION,
        };
        Self {
            config,
            begun: now,
            table: Table::new(table, CookieKey::new(&material)),
            sessions: BTreeMap::new(),
            budget: Budget::new(config.budget_bytes),
            random,
            begun_sessions: 0,
        }
    }

    /// Another process: another epoch, other keys, nothing known.
    pub(crate) fn restart(&mut self, now: Instant) {
        *self = Self::new(now, self.config, self.random.fork());
    }

    pub(crate) fn uptime_ms(&self, now: Instant) -> u64 {
        u64::try_from((now - self.begun).as_millis()).unwrap()
    }

    /// A datagram arrives. Returns what is to be sent back at once.
    pub(crate) fn handle_datagram(&mut self, now: Instant, parcel: Parcel) -> Option<Vec<u8>> {
        let uptime_ms = self.uptime_ms(now);
        // The driver delivers what is of a live session without asking for more.
        let live = self.table.live(&parcel.bytes).copied();
        let decision = self.table.handle_datagram(uptime_ms, parcel.from, &parcel.bytes);
        assert_eq!(live.is_some(), matches!(decision, Decision::Deliver(_)));
        match decision {
            Decision::Deliver(id) => {
                assert_eq!(live, Some(id));
                if let Some(end) = self.sessions.get_mut(&id) {
                    end.deliver(parcel);
                }
                None
            }
            Decision::Begin(begins) => {
                self.begin(now, begins, parcel);
                None
            }
            Decision::Answer(answer) => Some(answer),
            Decision::Drop => None,
        }
    }

    fn begin(&mut self, now: Instant, begins: Beginning, parcel: Parcel) {
        let Beginning { session, theirs, .. } = begins;
        let agreed = Agreed {
            side: Side::Server,
            id: session,
            epoch: self.table.epoch(),
            remote: parcel.from,
            ours: self.config.params(),
            theirs,
            cookie: None,
        };
        let (sends, receives) = self.config.scripts(session);
        let ours = Session::new(agreed, self.budget.share(), self.random.u64(..));
        let mut end = End::new(ours, sends, receives);
        end.deliver(parcel);
        self.table.insert(self.uptime_ms(now), begins, session.0);
        self.sessions.insert(session.0, end);
        self.begun_sessions += 1;
    }

    /// Lets every session do what it has to. Calls `out` with each datagram to send.
    pub(crate) fn turn(
        &mut self,
        now: Instant,
        executed: &mut Executed,
        mut out: impl FnMut(SocketAddr, &[u8]),
    ) {
        let mut over = Vec::new();
        for (id, end) in &mut self.sessions {
            end.receive(now);
            for lane in std::mem::take(&mut end.books.ended) {
                if lane != 0 {
                    *executed.entry((SessionId(*id), lane)).or_default() += 1;
                    end.queue.push_lane(&end.script, lane);
                }
            }
            if end.session.is_received() {
                end.end();
            }
            end.send(now, |transmit| {
                for datagram in transmit.bytes.chunks(transmit.segment_bytes) {
                    out(transmit.to, datagram);
                }
            });
            if end.lost.is_some() || end.is_complete() && end.session.inspect().is_at_rest() {
                over.push(*id);
            }
        }
        for id in over {
            self.close(now, id);
        }
    }

    /// Forgets a session that has ended.
    pub(crate) fn close(&mut self, now: Instant, id: u64) -> Option<End> {
        let uptime_ms = self.uptime_ms(now);
        self.table.end(uptime_ms, SessionId(id));
        self.sessions.remove(&id)
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.sessions.values().filter_map(End::next_at).min()
    }

    /// As long as this after the last session has ended, the table is empty.
    pub(crate) const MEMORY: Duration = Duration::from_secs(61);
}
