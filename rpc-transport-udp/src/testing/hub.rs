//! What the sockets of a network have in common: who is where, and what is on its way; no timers.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    task::{Context, Waker},
    time::{Duration, Instant},
};

use super::{
    Counts, Faults,
    meter::Meter,
    path::{Passed, Path, Refusal},
    trace::describe,
};
use crate::proto::session::Transmit;

/// How much may be on its way to one address. What is more is lost, as in a socket's buffer.
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The first port that nobody asked for.
const FREE_PORTS: u16 = 20_000;

/// Datagrams that one receive call hands out at most, and bytes of one piece.
const RECEIVED_MAX: usize = 32;
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Which way a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToServers,
    ToClients,
}

/// Whose socket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Server,
    /// A client's, which receives only from its server.
    Client(SocketAddr),
}

/// The network.
#[derive(Debug)]
pub(super) struct Hub {
    to_servers: Path,
    to_clients: Path,
    counts: Counts,
    pub(super) is_silent: bool,
    pub(super) is_traced: bool,
    /// How long the machines of clients have slept.
    pub(super) slept: Duration,
    /// What servers and sessions draw, apart from what happens to datagrams.
    secrets: fastrand::Rng,
    whims: fastrand::Rng,
    ports: BTreeMap<u64, PortState>,
    /// Where a socket can be reached now.
    places: HashMap<SocketAddr, Place>,
    next_id: u64,
    next_port: u16,
    next_host: u16,
    /// One number for everything on its way, so that what arrives at the same time has an order.
    sequence: u64,
    cut_until: Option<Instant>,
    meter: Meter,
    began: Option<Instant>,
    fingerprint: u32,
}

/// One socket.
#[derive(Debug)]
struct PortState {
    kind: Kind,
    /// Where others see it.
    address: SocketAddr,
    /// Its process was killed.
    is_dead: bool,
    blocked_until: Option<Instant>,
    /// Who waits to receive, and until when.
    waker: Option<Waker>,
    armed: Option<Instant>,
}

/// An address, and what is on its way to it.
#[derive(Debug, Default)]
struct Place {
    port: Option<u64>,
    queue: BinaryHeap<Reverse<UnderWay>>,
    bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct UnderWay {
    at: Instant,
    sequence: u64,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Datagram {
        from: SocketAddr,
        marked: bool,
        bytes: Vec<u8>,
    },
    /// Nobody is where something was sent.
    Refused,
}

/// What a receive call finds.
#[derive(Debug)]
pub(super) enum Arrival {
    Chunks(Vec<Chunk>),
    Error(io::Error),
    /// Something will arrive then.
    At(Instant),
    Nothing,
}

/// Datagrams from one address, one behind the other.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) from: SocketAddr,
    pub(super) marked: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) stride: usize,
}

impl Hub {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            to_servers: Path::new(Faults::none(), random.fork()),
            to_clients: Path::new(Faults::none(), random.fork()),
            counts: Counts::default(),
            is_silent: false,
            is_traced: false,
            slept: Duration::ZERO,
            secrets: random.fork(),
            whims: random.fork(),
            ports: BTreeMap::new(),
            places: HashMap::new(),
            next_id: 0,
            next_port: FREE_PORTS,
            next_host: 0,
            sequence: 0,
            cut_until: None,
            meter: Meter::default(),
            began: None,
            fingerprint: 0,
        }
    }

    pub(super) fn path(&mut self, direction: Direction) -> &mut Path {
        match direction {
            Direction::ToServers => &mut self.to_servers,
            Direction::ToClients => &mut self.to_clients,
        }
    }

    pub(super) fn secret(&mut self) -> u64 {
        self.secrets.u64(..)
    }

    /// Some systems send many datagrams with one call.
    pub(super) fn segments_max(&mut self) -> usize {
        if self.whims.bool() { 1 } else { 64 }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn violation(&self) -> Option<String> {
        self.meter.violation().map(str::to_owned)
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.sequence << 32 | u64::from(self.fingerprint)
    }

    pub(super) fn under_way(&self) -> usize {
        self.places.values().map(|place| place.queue.len()).sum()
    }

    pub(super) fn sockets(&self) -> usize {
        self.ports.len()
    }

    pub(super) fn partition(&mut self, until: Instant) {
        self.cut_until = Some(self.cut_until.map_or(until, |before| before.max(until)));
    }

    pub(super) fn bind_server(
        &mut self,
        now: Instant,
        mut address: SocketAddr,
    ) -> io::Result<(u64, SocketAddr, Kind)> {
        if address.port() == 0 {
            address.set_port(self.free_port());
        }
        if self.places.get(&address).is_some_and(|place| place.port.is_some()) {
            let text = format!("something listens at {address} in this network already");
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        // What came while nobody was there is gone. What is still on its way comes: a new server
        // gets what was for the old one.
        if let Some(place) = self.places.get_mut(&address) {
            place.queue.retain(|Reverse(item)| item.at > now);
            place.bytes = place.queue.iter().map(|Reverse(item)| item.what.bytes()).sum();
        }
        Ok((self.bind(Kind::Server, address), address, Kind::Server))
    }

    pub(super) fn bind_client(&mut self, server: SocketAddr) -> (u64, SocketAddr, Kind) {
        let kind = Kind::Client(server);
        let address = SocketAddr::new(host(server.is_ipv6(), 0), self.free_port());
        (self.bind(kind, address), address, kind)
    }

    fn bind(&mut self, kind: Kind, address: SocketAddr) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        let state = PortState {
            kind,
            address,
            is_dead: false,
            blocked_until: None,
            waker: None,
            armed: None,
        };
        self.ports.insert(id, state);
        self.places.entry(address).or_default().port = Some(id);
        id
    }

    pub(super) fn unbind(&mut self, id: u64) {
        if let Some(port) = self.ports.remove(&id) {
            self.vacate(id, port.kind, port.address);
        }
    }

    /// Whoever is at the address is gone from there. Another server may come to where one was; a
    /// client's address is never used again.
    fn vacate(&mut self, id: u64, kind: Kind, address: SocketAddr) {
        let place = self.places.get_mut(&address).filter(|place| place.port == Some(id));
        let Some(place) = place else { return };
        place.port = None;
        if kind != Kind::Server || place.queue.is_empty() {
            self.places.remove(&address);
        }
    }

    pub(super) fn kill(&mut self, address: SocketAddr) {
        let Some(id) = self.places.get(&address).and_then(|place| place.port) else { return };
        let Some(port) = self.ports.get_mut(&id) else { return };
        port.is_dead = true;
        let kind = port.kind;
        self.vacate(id, kind, address);
    }

    pub(super) fn rebind_all(&mut self) {
        let clients = self.ports.iter().filter(|(_, port)| port.kind != Kind::Server);
        for id in clients.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.rebind(id);
        }
    }

    fn rebind(&mut self, id: u64) {
        let other_host = if self.whims.bool() {
            self.next_host = self.next_host.wrapping_add(1);
            self.next_host
        } else {
            0
        };
        let Some((old, kind)) = self.ports.get(&id).map(|port| (port.address, port.kind)) else {
            return;
        };
        let ip = if other_host > 0 { host(old.is_ipv6(), other_host) } else { old.ip() };
        let address = SocketAddr::new(ip, self.free_port());
        self.vacate(id, kind, old);
        self.places.entry(address).or_default().port = Some(id);
        if let Some(port) = self.ports.get_mut(&id) {
            port.address = address;
        }
    }

    fn free_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FREE_PORTS);
        port
    }

    pub(super) fn blocked_until(&self, id: u64) -> Option<Instant> {
        self.ports.get(&id)?.blocked_until
    }

    /// Sends datagrams. Those whom they wake go into `wakers`.
    pub(super) fn send(
        &mut self,
        now: Instant,
        id: u64,
        transmit: &Transmit,
        wakers: &mut Vec<Waker>,
    ) -> io::Result<()> {
        let Some(port) = self.ports.get_mut(&id).filter(|port| !port.is_dead) else {
            return Ok(());
        };
        if port.blocked_until.is_some_and(|until| until > now) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        port.blocked_until = None;
        let is_server = port.kind == Kind::Server;
        let path = if is_server { &mut self.to_clients } else { &mut self.to_servers };
        let are_several = transmit.bytes.len() > transmit.segment_bytes;
        if let Some(refusal) = path.refuse(transmit.segment_bytes, are_several) {
            self.counts.refused += 1;
            if let Refusal::Blocks(time) = refusal {
                port.blocked_until = Some(now + time);
            }
            return Err(error_of(refusal));
        }
        for datagram in transmit.bytes.chunks(transmit.segment_bytes.max(1)) {
            self.send_one(now, id, is_server, transmit.to, datagram, wakers);
        }
        Ok(())
    }

    fn send_one(
        &mut self,
        now: Instant,
        id: u64,
        is_server: bool,
        to: SocketAddr,
        datagram: &[u8],
        wakers: &mut Vec<Waker>,
    ) {
        if is_server {
            self.meter.note_went(id, to, datagram);
        } else if self.to_servers.rebinds() {
            self.rebind(id);
        }
        let Some(from) = self.ports.get(&id).map(|port| port.address) else { return };
        self.note(now, from, to, datagram);
        let path = if is_server { &mut self.to_clients } else { &mut self.to_servers };
        let mut passed = path.pass(now, datagram, &mut self.counts);
        if !passed.is_empty() && self.cut_until.is_some_and(|until| until > now) {
            self.counts.lost += 1;
            passed.clear();
        }
        let nobody = self.places.get(&to).is_none_or(|place| place.port.is_none());
        let told = path.refuses_falsely() || nobody && !self.is_silent && !passed.is_empty();
        if told {
            let at = now + path.delay() + path.delay();
            self.put(from, at, What::Refused, wakers);
        }
        for Passed { at, marked, bytes } in passed {
            self.put(to, at, What::Datagram { from, marked, bytes }, wakers);
        }
    }

    /// Sends something on its way. To where nobody ever was, nothing goes.
    fn put(&mut self, to: SocketAddr, at: Instant, what: What, wakers: &mut Vec<Waker>) {
        let Some(place) = self.places.get_mut(&to) else { return };
        let bytes = what.bytes();
        if place.bytes + bytes > QUEUE_BYTES_MAX {
            self.counts.lost += 1;
            return;
        }
        self.sequence += 1;
        place.bytes += bytes;
        place.queue.push(Reverse(UnderWay { at, sequence: self.sequence, what }));
        let Some(port) = place.port.and_then(|id| self.ports.get_mut(&id)) else { return };
        if port.armed.is_none_or(|armed| at < armed) {
            wakers.extend(port.waker.take());
        }
    }

    /// Takes what has arrived. When that is nothing, the waker is kept.
    pub(super) fn receive(&mut self, now: Instant, id: u64, cx: &Context<'_>) -> Arrival {
        let Some(port) = self.ports.get_mut(&id) else { return Arrival::Nothing };
        port.waker = Some(cx.waker().clone());
        port.armed = None;
        let (kind, address) = (port.kind, port.address);
        let place = self.places.get_mut(&address).filter(|place| place.port == Some(id));
        let Some(place) = place else { return Arrival::Nothing };
        let merges = self.whims.bool();
        let most = self.whims.usize(1..=RECEIVED_MAX);
        let mut chunks: Vec<Chunk> = Vec::new();
        for _ in 0..most {
            let due = place.queue.peek().is_some_and(|Reverse(first)| first.at <= now);
            if !due || !chunks.is_empty() && place.is_error_next() {
                break;
            }
            let Some(Reverse(UnderWay { what, .. })) = place.queue.pop() else { break };
            place.bytes -= what.bytes();
            match what {
                What::Refused => return Arrival::Error(io::ErrorKind::ConnectionRefused.into()),
                What::Datagram { from, marked, bytes } => {
                    if kind == Kind::Server {
                        self.meter.note_came(id, from, &bytes);
                    } else if kind != Kind::Client(from) {
                        continue;
                    }
                    add(&mut chunks, from, marked, bytes, merges);
                }
            }
        }
        if !chunks.is_empty() {
            return Arrival::Chunks(chunks);
        }
        let next = place.queue.peek().map(|Reverse(first)| first.at);
        port.armed = next;
        next.map_or(Arrival::Nothing, Arrival::At)
    }

    fn note(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let began = *self.began.get_or_insert(now);
        let time = now.saturating_duration_since(began);
        if self.is_traced {
            eprintln!("{time:?} {from} -> {to}: {}", describe(datagram));
        }
        let time = time.as_nanos();
        let mut print = crc32c::crc32c_append(self.fingerprint, &time.to_le_bytes());
        for address in [from, to] {
            print = crc32c::crc32c_append(print, address.to_string().as_bytes());
        }
        self.fingerprint = crc32c::crc32c_append(print, datagram);
    }
}

impl Place {
    fn is_error_next(&self) -> bool {
        self.queue.peek().is_some_and(|Reverse(first)| first.what == What::Refused)
    }
}

impl What {
    fn bytes(&self) -> usize {
        match self {
            Self::Datagram { bytes, .. } => bytes.len(),
            Self::Refused => 0,
        }
    }
}

impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Adds a datagram, to the last piece where a system could have put it together with that.
fn add(chunks: &mut Vec<Chunk>, from: SocketAddr, marked: bool, bytes: Vec<u8>, merges: bool) {
    let last = chunks.last_mut().filter(|last| {
        let whole = last.stride > 0 && last.bytes.len() % last.stride == 0;
        let alike = last.from == from && last.marked == marked;
        let fits = last.bytes.len() + bytes.len() <= PIECE_BYTES_MAX;
        merges && whole && alike && fits && !bytes.is_empty() && bytes.len() <= last.stride
    });
    match last {
        Some(last) => last.bytes.extend_from_slice(&bytes),
        None => chunks.push(Chunk { from, marked, stride: bytes.len(), bytes }),
    }
}

/// The address of a client's host.
fn host(is_ipv6: bool, number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    if is_ipv6 {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number).into()
    } else {
        Ipv4Addr::new(10, 0, high, low).into()
    }
}

fn error_of(refusal: Refusal) -> io::Error {
    let (linux, bsd, windows) = match refusal {
        Refusal::Blocks(_) => return io::ErrorKind::WouldBlock.into(),
        Refusal::TooLarge => (90, 40, 10_040),
        Refusal::NoBuffers => (105, 55, 10_055),
        Refusal::NotPermitted => (1, 1, 10_013),
        Refusal::Several => (5, 5, 10_022),
    };
    io::Error::from_raw_os_error(if cfg!(any(target_os = "linux", target_os = "android")) {
        linux
    } else if cfg!(windows) {
        windows
    } else {
        bsd
    })
}
