//! A server's sessions: which datagram belongs to which, who gets a new one, who is turned away; no
//! session's own state, no sockets.
//!
//! These rules are what makes calls run at most once (`spec/datagram.md`, chapter *At most once*):
//! a known id is found before a cookie is looked at; a session that has ended is remembered until its
//! cookie has expired, and for as long as clients draw conclusions from a reset; when there is no
//! room, new sessions are refused and no old one is forgotten; a server that has said that it takes
//! no session any more takes none.

mod offers;
#[cfg(any(fuzzing, test))]
pub(crate) mod snapshot;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use self::offers::Offers;
use super::{
    cookie::{CookieKey, Verified},
    packet::{
        self, Epoch, Init, InitAck, Kind, Params, Peek, RESET_BYTES, Reset, ResetReason, SessionId,
        VERSION, Versions,
    },
};
use crate::planted::planted;

/// How long a cookie may be used to begin a session. Long enough for the round trip and for some
/// losses on it.
pub(crate) const COOKIE_LIFETIME: Duration = Duration::from_secs(15);

/// How long a session that has ended is remembered. Requests that are younger than this when its
/// client is told that nobody knows it certainly never ran.
pub(crate) const RETENTION: Duration = Duration::from_secs(60);

/// Resets a second: enough for a server that comes back to its clients, little for who makes them up.
const RESETS_PER_SECOND: u32 = 1000;

/// What the table is set up with.
#[derive(Debug, Clone)]
pub(crate) struct TableConfig {
    /// This process: another number than that of every other one.
    pub(crate) epoch: Epoch,
    /// What this side accepts of each session.
    pub(crate) params: Params,
    /// How many sessions there may be, with those that have ended and are remembered.
    pub(crate) sessions: usize,
    /// How long a cookie may be used: [`COOKIE_LIFETIME`], except in tests.
    pub(crate) cookie_lifetime: Duration,
    /// How long a session that has ended is remembered, if not longer: [`RETENTION`], except in
    /// tests.
    pub(crate) retention: Duration,
}

/// The sessions of one server. `H` is what it knows a session by, and cheap to clone.
#[derive(Debug)]
pub(crate) struct Table<H> {
    config: TableConfig,
    key: CookieKey,
    sessions: HashMap<SessionId, Entry<H>>,
    /// Sessions that have ended, with the time to forget them.
    ended: VecDeque<(u64, SessionId)>,
    welcome: Welcome,
    offers: Offers,
    resets: Allowance,
    counts: Counts,
}

#[derive(Debug)]
enum Entry<H> {
    Live(H),
    /// It has ended: its packets are answered with a reset, until it is forgotten.
    Ended,
}

/// Who gets a session. It only ever goes on to the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Welcome {
    #[default]
    Everybody,
    /// Those to whom one was offered, who count on it and have perhaps sent requests.
    Offered,
    Nobody,
}

/// A session that may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beginning {
    pub(crate) session: SessionId,
    /// What its client accepts.
    pub(crate) theirs: Params,
    /// When it was offered.
    pub(crate) issued_ms: u64,
}

/// What became of datagrams that belong to no session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Not ours, damaged, or of no use.
    pub(crate) dropped: u64,
    /// New sessions that were refused.
    pub(crate) refused: u64,
    /// Resets that were sent, and those that were too many to be.
    pub(crate) resets: u64,
    pub(crate) resets_withheld: u64,
}

/// What is to be done with a datagram.
#[derive(Debug)]
pub(crate) enum Decision<H> {
    /// It belongs to this session.
    Deliver(H),
    /// It begins a session, and is the first of its packets. [`Table::insert`] it.
    Begin(Beginning),
    /// This is to be sent back to where it came from.
    Answer(Vec<u8>),
    /// Nothing.
    Drop,
}

impl<H: Clone> Table<H> {
    pub(crate) fn new(config: TableConfig, key: CookieKey) -> Self {
        Self {
            config,
            key,
            sessions: HashMap::new(),
            ended: VecDeque::new(),
            welcome: Welcome::default(),
            offers: Offers::default(),
            resets: Allowance::default(),
            counts: Counts::default(),
        }
    }

    /// What has become of datagrams so far.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// This process' number.
    pub(crate) fn epoch(&self) -> Epoch {
        self.config.epoch
    }

    /// What this side accepts of each session.
    pub(crate) fn params(&self) -> Params {
        self.config.params
    }

    /// How many sessions there are, with those that are remembered.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// What a session that has ended takes, until it is forgotten.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn ended_bytes() -> usize {
        size_of::<(SessionId, Entry<H>)>() + size_of::<(u64, SessionId)>()
    }

    /// The sessions that haven't ended.
    pub(crate) fn handles(&self) -> impl Iterator<Item = &H> {
        self.sessions.values().filter_map(|entry| match entry {
            Entry::Live(handle) => Some(handle),
            Entry::Ended => None,
        })
    }

    /// From now on no session is offered. Those that were may still begin.
    pub(crate) fn offer_no_more(&mut self) {
        self.welcome = self.welcome.max(Welcome::Offered);
    }

    /// Until when to wait for sessions that were offered lately and haven't begun, in milliseconds
    /// after the server began. `None` if there are none.
    pub(crate) fn awaited_until_ms(&mut self, uptime_ms: u64) -> Option<u64> {
        self.offers.awaited_until_ms(uptime_ms)
    }

    /// From now on no session begins.
    pub(crate) fn leave(&mut self) {
        self.welcome = Welcome::Nobody;
    }

    /// Decides about a datagram. `uptime_ms` is the time since the server began. It may stand still
    /// while the machine sleeps: then sessions are remembered for longer.
    pub(crate) fn handle_datagram(
        &mut self,
        uptime_ms: u64,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Decision<H> {
        self.forget(uptime_ms);
        let peeked = packet::peek(datagram);
        let peeked = peeked.filter(|_| is_somebody(from) || self.live(datagram).is_some());
        let answer = match peeked {
            Some(Peek::Data { session, from_server: false, .. }) => {
                return self.handle_data(uptime_ms, from, session, datagram);
            }
            Some(Peek::Setup { kind: Kind::Init, version: VERSION }) => {
                self.handle_init(uptime_ms, from, datagram)
            }
            Some(Peek::Setup { kind: Kind::Init, .. }) => name_versions(datagram),
            // r[impl datagram.direction]
            _ => None,
        };
        answer.map_or_else(
            || {
                self.counts.dropped += 1;
                Decision::Drop
            },
            Decision::Answer,
        )
    }

    /// Whose a datagram is, if that session is there: what most datagrams need, and no time for it.
    pub(crate) fn live(&self, datagram: &[u8]) -> Option<&H> {
        let peeked = packet::peek(datagram)?;
        let Peek::Data { session, from_server: false, .. } = peeked else { return None };
        // r[impl session.lookup]
        match self.sessions.get(&session) {
            // The session checks it for damage: nothing comes of a wrong id.
            Some(Entry::Live(handle)) => Some(handle),
            _ => None,
        }
    }

    /// A session has begun.
    pub(crate) fn insert(&mut self, uptime_ms: u64, begun: Beginning, handle: H) {
        self.offers.take(uptime_ms, begun.issued_ms);
        self.sessions.insert(begun.session, Entry::Live(handle));
    }

    /// A session has ended. It is remembered for a while.
    pub(crate) fn end(&mut self, uptime_ms: u64, session: SessionId) {
        // r[impl session.remember]
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        if matches!(entry, Entry::Live(_)) {
            *entry = Entry::Ended;
            let keep = self.config.retention.max(self.config.cookie_lifetime);
            let keep = if planted("session-forgotten") { Duration::from_secs(5) } else { keep };
            self.ended.push_back((uptime_ms.saturating_add(millis(keep)), session));
        }
    }

    /// A packet of a client.
    fn handle_data(
        &mut self,
        uptime_ms: u64,
        from: SocketAddr,
        session: SessionId,
        datagram: &[u8],
    ) -> Decision<H> {
        // r[impl session.lookup]
        let reason = match self.sessions.get(&session) {
            Some(Entry::Live(handle)) => return Decision::Deliver(handle.clone()),
            Some(Entry::Ended) if !planted("ended-session-begins-again") => ResetReason::Closed,
            None | Some(Entry::Ended) => match self.admit(uptime_ms, from, datagram) {
                Ok(Verified { params: theirs, issued_ms }) => {
                    return Decision::Begin(Beginning { session, theirs, issued_ms });
                }
                Err(reason) => reason,
            },
        };
        self.reset(uptime_ms, reason, datagram)
    }

    /// Whether a packet of an unknown session may begin one.
    fn admit(
        &mut self,
        uptime_ms: u64,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<Verified, ResetReason> {
        let data = packet::decode_data(datagram).ok_or(ResetReason::Unknown)?;
        let cookie = data.cookie.ok_or(ResetReason::Unknown)?;
        let epoch = self.config.epoch;
        // r[impl session.epoch]
        if data.epoch16 != epoch.low16() {
            return Err(ResetReason::Unknown);
        }
        let lifetime = millis(self.config.cookie_lifetime);
        let verdict = self.key.verify(cookie, epoch, data.session, from, uptime_ms, lifetime);
        // r[impl session.lookup]
        let verified = verdict.map_err(|_| ResetReason::Cookie)?;
        // r[impl reset.refused]
        if self.welcome == Welcome::Nobody {
            self.counts.refused += 1;
            return Err(ResetReason::Leaving);
        }
        if self.sessions.len() >= self.config.sessions {
            self.counts.refused += 1;
            return Err(ResetReason::Full);
        }
        Ok(verified)
    }

    /// Tells a client that there is no such session, if that isn't told too often.
    fn reset(&mut self, uptime_ms: u64, reason: ResetReason, datagram: &[u8]) -> Decision<H> {
        // r[impl reset.when]
        let whole = packet::decode_data(datagram).filter(|_| datagram.len() >= RESET_BYTES);
        let Some(data) = whole else {
            self.counts.dropped += 1;
            return Decision::Drop;
        };
        // r[impl reset.when]
        if !self.resets.take(uptime_ms) {
            self.counts.resets_withheld += 1;
            return Decision::Drop;
        }
        self.counts.resets += 1;
        let reset = Reset {
            id: data.session.0,
            epoch: self.config.epoch,
            uptime_ms,
            pn32: data.pn32,
            reason,
        };
        let mut out = Vec::with_capacity(RESET_BYTES);
        reset.encode(&mut out);
        Decision::Answer(out)
    }

    /// Somebody wants a session. Nothing but a count is kept of it until the cookie comes back.
    fn handle_init(
        &mut self,
        uptime_ms: u64,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Option<Vec<u8>> {
        // r[impl setup.stateless]
        let Init { nonce, params } = Init::decode(datagram)?;
        let mut out = Vec::new();
        // r[impl setup.last]
        let is_leaving = self.welcome != Welcome::Everybody;
        if is_leaving || self.sessions.len() >= self.config.sessions {
            // r[impl reset.when]
            if !self.resets.take(uptime_ms) {
                self.counts.resets_withheld += 1;
                return None;
            }
            self.counts.refused += 1;
            let reason = if is_leaving { ResetReason::Leaving } else { ResetReason::Full };
            let epoch = self.config.epoch;
            Reset { id: nonce.0, epoch, uptime_ms, pn32: 0, reason }.encode(&mut out);
            return Some(out);
        }
        let epoch = self.config.epoch;
        let session = self.key.session_id(nonce, uptime_ms, from);
        let cookie = self.key.make(nonce, uptime_ms, &params, epoch, session, from);
        let ack = InitAck {
            nonce,
            epoch,
            session,
            params: self.config.params,
            retention_ms: u32::try_from(self.config.retention.as_millis()).unwrap_or(u32::MAX),
            cookie,
        };
        ack.encode(&mut out);
        self.offers.make(uptime_ms);
        Some(out)
    }

    /// Forgets sessions that ended long ago.
    fn forget(&mut self, uptime_ms: u64) {
        // r[impl session.idle]
        // Only sessions that have ended get into the list.
        while let Some((at, session)) = self.ended.front().copied() {
            // Not at that very moment: a cookie as old as it may be still counts then.
            if at >= uptime_ms {
                return;
            }
            self.ended.pop_front();
            self.sessions.remove(&session);
        }
    }
}

/// Whether an answer goes to one host, where it has a port to go to.
fn is_somebody(from: SocketAddr) -> bool {
    // r[impl datagram.source]
    let is_many = match from.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    };
    !is_many && from.port() != 0
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Tells a client of another version which ones this side speaks.
fn name_versions(datagram: &[u8]) -> Option<Vec<u8>> {
    let nonce = Init::decode_other_version(datagram)?;
    let mut out = Vec::new();
    Versions { nonce, versions: vec![VERSION] }.encode(&mut out);
    Some(out)
}

/// How many resets are left of this second's.
#[derive(Debug, Default)]
struct Allowance {
    second: u64,
    used: u32,
}

impl Allowance {
    fn take(&mut self, uptime_ms: u64) -> bool {
        let second = uptime_ms / 1000;
        if second != self.second {
            *self = Self { second, used: 0 };
        }
        self.used += 1;
        self.used <= RESETS_PER_SECOND
    }
}
